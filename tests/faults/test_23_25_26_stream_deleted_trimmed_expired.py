"""Rows 23, 25, 26: an iterator expires, records are trimmed unread, the stream is deleted.

The test controls when MiniStack trims and how long an iterator is valid. One service goes through rows 25 and 23.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

from consumer.limits.sample import Sample
from tests.faults.conftest import Note
from tests.support.driven.leases import leases, lost, owed
from tests.support.driven.scenario import Stage, endless, poison, until_equal
from tests.support.driven.service import Service, consumer, environment, service
from tests.support.driven.trial import Trial
from tests.support.driven.waiting import until
from tests.support.emulators.aws import EMULATORS, Emulator, ministack
from tests.support.faults.tunnel import tunnel

SHARDS = 2
ITERATOR_SECONDS = 5
TRIMMING = EMULATORS / "trimming_ministack.py"
EXPIRED = "ExpiredIteratorException"
GONE = "shard end reported but not confirmed; not checkpointing: the stream is gone"


@dataclass(frozen=True)
class TrimmingKinesis:
    """The emulator, and the file with the time until which it trims."""

    emulator: Emulator
    trimmed_until: Path

    @property
    def expired(self) -> int:
        return self.emulator.log.read_text().count(EXPIRED)

    def trim(self) -> None:
        """Trims all records that have arrived so far."""
        moment = time.time()
        until(lambda: time.time() > moment + 0.01, "a later moment")
        self.trimmed_until.write_text(str(moment + 0.005))


@pytest.fixture(scope="module")
def trimming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrimmingKinesis]:
    until_when = tmp_path_factory.mktemp("trimming") / "trimmed-until"
    settings = {"TEST_ITERATOR_SECONDS": str(ITERATOR_SECONDS), "TEST_TRIMMED_UNTIL": str(until_when)}
    with ministack(settings, ["-P", str(TRIMMING)]) as emulator:
        yield TrimmingKinesis(emulator, until_when)


def staged(trimming: TrimmingKinesis, name: str, directory: Path) -> Stage:
    variables = environment(name, directory, AWS_ENDPOINT_URL=trimming.emulator.endpoint)
    consumer(variables, "provision", "--stream", str(SHARDS))
    return Stage(variables)


def test_26_iterator_expired(trimming: TrimmingKinesis, seed: int, tmp_path: Path, note: Note) -> None:
    """Kinesis is unreachable for longer than an iterator is valid: KCL gets a new one at the same position."""
    stage = staged(trimming, "expired", tmp_path)
    with tunnel(trimming.emulator.endpoint) as line:
        variables = {**stage.variables, "AWS_ENDPOINT_URL_KINESIS": line.endpoint}
        with service(variables, tmp_path / "log") as running:
            trial = Trial(stage, running, endless(seed))
            trial.put(300)
            trial.until_settled()
            processes, before = trial.processes(), trimming.expired
            line.stop()
            stopped = time.monotonic()
            trial.put(300)
            until(lambda: time.monotonic() > stopped + 2 * ITERATOR_SECONDS, "the iterators to expire")
            line.heal()
            healed = time.monotonic()
            trial.put(300)
            trial.until_settled()
            note(f"{trimming.expired - before} iterators expired; all settled {time.monotonic() - healed:.1f} s later")
            assert trimming.expired - before >= SHARDS
            assert trial.delivered() == len(trial.made), "no record came twice"
            assert trial.processes() == processes
            assert running.stop() == 0


@dataclass(frozen=True)
class Resumed:
    """A service that resumed after records were trimmed, and the records before and after."""

    stage: Stage
    running: Service
    made: list[Sample]


@pytest.fixture(scope="module")
def resumed(trimming: TrimmingKinesis, seed: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resumed]:
    directory = tmp_path_factory.mktemp("trimmed")
    stage, source = staged(trimming, "trimmed", directory), endless(seed)
    with service(stage.variables, directory / "before.log") as running:
        trial = Trial(stage, running, source)
        trial.put(300)
        trial.until_settled()
        assert trial.metric("consumer_trimmed_starts_total") == 0
        assert running.stop() == 0
    stage.put(islice(source, 200))
    trimming.trim()
    trial.put(200)
    with service({**stage.variables, "CONSUMER_RESTARTS": "1"}, directory / "after.log") as running:
        yield Resumed(stage, running, trial.made)


def test_25_trimmed_before_read(resumed: Resumed) -> None:
    """It continues with the oldest record, and logs the checkpoint and the oldest record of each shard."""
    stage = resumed.stage
    until_equal(stage, resumed.made)
    until(lambda: owed(stage) == 0, "the last checkpoints")
    assert stage.quarantined() == poison(resumed.made)
    assert lost(stage) == []
    trial = Trial(stage, resumed.running, iter(()))
    reported = trial.logged("records may have been trimmed before they were read")
    assert {line["shard"]: line["oldest"] for line in reported} == oldest(stage)
    assert all(line["checkpoint"] < line["oldest"] and line["level"] == "ERROR" for line in reported)
    assert trial.metric("consumer_trimmed_starts_total") == SHARDS


def test_23_stream_deleted(resumed: Resumed, note: Note) -> None:
    """KCL reports the end of each shard: it is not confirmed and not checkpointed, and the worker exits with 1."""
    stage, running = resumed.stage, resumed.running
    until(lambda: running.get("/readyz")[0] == 200, "the worker to be ready")
    before = {shard: lease.checkpoint for shard, lease in leases(stage).items()}
    start = time.monotonic()
    stage.kinesis().delete_stream(StreamName=stage.variables["CONSUMER_STREAM_NAME"])
    assert running.process.wait(180) == 1
    note(f"gave up {time.monotonic() - start:.0f} s after the stream was deleted, with one restart")
    trial = Trial(stage, running, iter(()))
    assert {line["level"] for line in trial.logged(GONE)} == {"ERROR"}
    (last,) = trial.logged("giving up: the daemon exited more often than allowed")
    assert last["cause"].endswith(f"EndNotConfirmed: the stream is gone: {stage.variables['CONSUMER_STREAM_NAME']}")
    assert {shard: lease.checkpoint for shard, lease in leases(stage).items()} == before


def oldest(stage: Stage) -> dict[str, str]:
    """The sequence number of the oldest record of each shard."""
    kinesis, stream = stage.kinesis(), stage.variables["CONSUMER_STREAM_NAME"]
    found = {}
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        place = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        page = kinesis.get_records(ShardIterator=place["ShardIterator"], Limit=1)
        found[shard["ShardId"]] = page["Records"][0]["SequenceNumber"]
    return found
