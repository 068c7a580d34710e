"""Rows 12, 13, 16, 19: duplicates, broken order, poison records; record processors whose clocks are wrong by a day.

One service with a clock a day ahead consumes the stream; another one, a day behind, then reads it again.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consumer.admin.put import Outgoing, outgoing, put
from consumer.engine.quarantine import Quarantined
from consumer.limits.sample import Sample
from consumer.limits.view import view
from tests.faults.conftest import Note
from tests.support.driven.scenario import NOW, Stage, endless, expected, samples
from tests.support.driven.service import Service, consumer, environment, service
from tests.support.driven.shifted_child import executable
from tests.support.driven.trial import Trial
from tests.support.emulators.aws import ROOT, Emulator
from tests.support.generators import corpus
from tests.support.generators.corpus import Entry, Form
from tests.support.generators.kpl import MAGIC, PARTITION_KEY
from tests.support.simulation.core import Core, memory

DAY = timedelta(days=1)
CORPUS = corpus.load()
POISON = [entry for entry in CORPUS if all(each.reason for each in entry.expected)]
WRITES = "consumer_state_writes_total"


@contextmanager
def on_its_clock(variables: Mapping[str, str], log: Path, ahead: timedelta) -> Iterator[Service]:
    """A service whose record processors' clock is ahead. It must shut down gracefully."""
    command = ("tests.support.driven.worker", *executable(ahead.total_seconds()).split())
    with service({**variables, "PYTHONPATH": str(ROOT)}, log, command) as running:
        yield running
        assert {round((reported - true) / DAY) for true, reported in _clocks(running)} == {ahead // DAY}


def _clocks(running: Service) -> list[tuple[datetime, datetime]]:
    """How long ago each record processor last logged, in seconds, according to the time it logged."""
    reported = {line["shard"]: line["time"] for line in running.lines() if line["message"] == "batch"}
    assert len(reported) == 2, "both shards were read"
    return [(datetime.now(UTC), datetime.fromisoformat(time)) for time in reported.values()]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd")


@pytest.fixture(scope="module")
def stage(aws: Emulator, directory: Path) -> Stage:
    variables = environment("odd", directory, AWS_ENDPOINT_URL=aws.endpoint)
    consumer(variables, "provision", "--stream", "2")
    return Stage(variables)


@pytest.fixture(scope="module")
def trial(stage: Stage, directory: Path, seed: int) -> Iterator[Trial]:
    with on_its_clock(stage.variables, directory / "ahead.log", DAY) as running:
        started = Trial(stage, running, endless(seed))
        started.put(400)
        started.until_settled()
        yield started


@pytest.fixture(scope="module")
def replay(trial: Trial, directory: Path) -> Iterator[Trial]:
    """After the first service has stopped, another application reads the stream from its beginning."""
    assert trial.running.stop() == 0
    variables = {**trial.stage.variables, "CONSUMER_APPLICATION_NAME": "odd-again"}
    consumer(variables, "provision")
    with on_its_clock(variables, directory / "behind.log", -DAY) as running:
        yield Trial(Stage(variables), running, trial.source, list(trial.made))
        assert running.stop() == 0


def stored(trial: Trial) -> list[dict[str, Any]]:
    """The stored table, byte for byte."""
    return sorted(trial.stage.items(trial.stage.variables["AWS_TABLE_NAME"]), key=str)


def set_aside(trial: Trial) -> list[Quarantined]:
    return list(trial.stage.quarantine().entries())


def test_12_producer_retries(trial: Trial) -> None:
    """Every event again, with new Kinesis sequence numbers."""
    before, writes, applied = stored(trial), trial.metric(WRITES), trial.running.outcomes()["applied"]
    trial.put_these(list(trial.made))
    trial.until_settled()
    assert stored(trial) == before
    assert (trial.metric(WRITES), trial.running.outcomes()["applied"]) == (writes, applied)


def test_13_order_broken_within_a_shard(trial: Trial, seed: int) -> None:
    made = list(islice(trial.source, 600))
    Random(seed).shuffle(made)
    assert late_creations(made) > 5
    trial.put_these(made)
    trial.until_settled()


def late_creations(made: Sequence[Sample]) -> int:
    """How many limits have a CREATED that arrives after a later PROGRESS_CHANGED."""
    seen: dict[str, int] = {}
    late: set[str] = set()
    for event in (sample.event for sample in made if sample.event):
        limit = event["payload"].get("userLimitId")
        if event["type"] == "USER_LIMIT_PROGRESS_CHANGED":
            seen[limit] = max(seen.get(limit, 0), event["sequenceNumber"])
        elif event["type"] == "USER_LIMIT_CREATED" and seen.get(limit, 0) > event["sequenceNumber"]:
            late.add(limit)
    return len(late)


def test_16_poison_first_in_the_middle_last(seed: int) -> None:
    """Each record of the corpus that can never be applied. Runs in this process, as the daemon does not matter here."""
    good = samples(seed, 40, users=3)
    for entry in POISON:
        kept = memory()
        core = Core(kept)
        before = [each for each in CORPUS if each.file == entry.after]
        core.deliver(*(each.record() for each in before))
        spoilt, put = entry.record(10**6), [sample.data for sample in good]
        for batch in ([spoilt, *put[:10]], [*put[10:20], spoilt, *put[20:30]], [*put[30:], spoilt]):
            delivered = core.deliver(*batch)
            assert delivered.unsettled is None
            assert spoilt.position in [each.record.position for each in delivered.quarantined]
        wanted = [*good, *(sample for each in before for sample in inside(each))]
        assert {
            (state.user_id, state.user_limit_id): view(state, NOW).to_json() for state in kept.states()
        } == expected(wanted)


def test_16_nothing_but_poison() -> None:
    kept = memory()
    core = Core(kept)
    alone = [entry for entry in POISON if not entry.after]
    delivered = core.deliver(*(entry.record(number) for number, entry in enumerate(alone)))
    assert delivered.unsettled is None
    assert delivered.outcomes == {"quarantined": len(alone)}
    assert [entry.record.data for entry in delivered.quarantined] == [entry.parts[0][0] for entry in alone]
    assert kept.states() == []


def test_16_poison(trial: Trial, note: Note) -> None:
    """The whole corpus among valid events, with corpus records first and last."""
    entries = [entry for entry in CORPUS if entry.form is Form.BYTES]
    good = list(islice(trial.source, len(entries) // 2))
    put(trial.stage.kinesis(), trial.stage.variables["CONSUMER_STREAM_NAME"], mixed(entries, good), lambda _: None)
    trial.made += [*good, *(sample for entry in entries for sample in inside(entry))]
    trial.until_settled()
    wanted = Counter((data, each.reason) for entry in entries for data, each in entry.parts if each.reason)
    found = Counter((entry.record.data, entry.reason) for entry in set_aside(trial))
    assert wanted <= found
    reasons = Counter(str(reason) for _, reason in wanted.elements())
    note(f"{len(entries)} records of the corpus; quarantined: {dict(reasons)}")


def mixed(entries: Sequence[Entry], good: Sequence[Sample]) -> Iterator[Outgoing]:
    """Poison records, half of them followed by a valid event. An aggregate has the key of its records."""
    left = iter(good)
    for number, entry in enumerate(entries):
        is_aggregate = entry.content.startswith(MAGIC)
        yield Outgoing(PARTITION_KEY, entry.content) if is_aggregate else outgoing(entry.content)
        if number % 2 and (sample := next(left, None)):
            yield outgoing(sample.data)
    yield from (outgoing(sample.data) for sample in left)


def inside(entry: Entry) -> Iterator[Sample]:
    events = iter(entry.events)
    for data, each in entry.parts:
        yield Sample("", data, next(events) if each.outcome in corpus.KEPT else None, each.reason)


def test_12_replay_of_the_whole_stream(trial: Trial, replay: Trial, note: Note) -> None:
    before, quarantined = stored(trial), set_aside(trial)
    replay.until_settled()
    assert stored(trial) == before
    assert set_aside(trial) == quarantined
    assert replay.metric(WRITES) == 0
    assert replay.running.outcomes()["applied"] == 0
    note(f"{replay.running.received()} records again: {dict(replay.running.outcomes())}, no write")


def test_19_clock_off_by_a_day(replay: Trial) -> None:
    """A newer event wins, although it is written with a clock that is two days behind that of the older one."""
    before = stored(replay)
    replay.put(400)
    replay.until_settled()
    assert stored(replay) != before
