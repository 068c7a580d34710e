"""The corpus through every entry point: each record has the outcome of the index and does not affect others."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TextIO, cast

import pytest

from consumer.engine.aggregation import deaggregate
from consumer.engine.checkpoints import CheckpointPolicy
from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome
from consumer.engine.records import Record
from consumer.engine.stream import BelievedStream
from consumer.kcl.pipes import Pipes
from consumer.kcl.record_processor import ShardConsumer, ShardRules, serve
from consumer.kcl.retry import Runtime
from consumer.limits import event_types
from consumer.monitoring import metrics
from tests.support.driven.daemon import INITIALIZE, Daemon, Message, batch, delivered, raw
from tests.support.driven.invocations import SUCCESS, Function, LambdaEvent, entry
from tests.support.generators import corpus, oracle
from tests.support.generators.corpus import Entry, Form
from tests.support.generators.events import START, Event, created, position, progress_changed, record
from tests.support.simulation.core import Core

CORPUS = corpus.load()
NEIGHBOUR = "u-neighbour"


@dataclass(frozen=True)
class Observed:
    """The metrics of a batch: outcomes, reason codes, kinds of warning."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)

    def measure(self, metric: metrics.Metric, value: float, *labels: str) -> None:
        self.add(metric.name, value, labels[-1] if labels else "")

    def add(self, metric: str, value: float, label: str) -> None:
        places = {
            metrics.RECORDS.name: self.outcomes,
            metrics.QUARANTINED.name: self.reasons,
            metrics.WARNINGS.name: self.warnings,
        }
        if metric in places:
            places[metric][str(label)] += int(value)


class Way(Protocol):
    """An entry point of the service. `deliver` takes the data of records: bytes, or a value that is not base64."""

    core: Core

    def deliver(self, *data: object) -> Observed: ...


class Numbered:
    """The common part of the entry points: a core, and sequence numbers for its records."""

    def __init__(self) -> None:
        self.core = Core()
        self.numbers = count(1)


class ByProcessor(Numbered):
    def deliver(self, *data: object) -> Observed:
        result = self.core.deliver(*(_record(each, number) for each, number in zip(data, self.numbers, strict=False)))
        observed = Observed()
        for measured in metrics.of_batch(result, 0.0, now=0.0):
            observed.measure(measured.metric, measured.value, *measured.labels)
        assert result.unsettled is None
        return observed


class ByDaemon(Numbered):
    """The record processor, driven by the daemon's messages."""

    def lines(self, data: object) -> list[Message]:
        """The record as the daemon delivers it."""
        number = next(self.numbers)
        return [delivered(number, data) if isinstance(data, bytes) else raw(number, data)]

    def deliver(self, *data: object) -> Observed:
        observed = Observed()
        runtime = Runtime(lambda: 0.0, lambda: 0.0, _never, lambda: 0.0, lambda: False, _never)
        consumer = ShardConsumer(
            self.core.processor,
            BelievedStream("limits"),
            ShardRules(CheckpointPolicy(60, 1), 5),
            observed.measure,
            runtime,
        )
        lines = [line for each in data for line in self.lines(each)]
        daemon = Daemon([INITIALIZE, batch(*lines)])
        pipe = cast("TextIO", daemon)
        serve(consumer, Pipes(pipe, pipe, daemon.is_readable))
        assert daemon.made == [(lines[-1]["sequenceNumber"], lines[-1]["subSequenceNumber"])]
        return observed


class ByDaemonThatTakesApart(ByDaemon):
    """A daemon that delivers the records of an aggregate one by one, as KCL does by default."""

    def lines(self, data: object) -> list[Message]:
        if not isinstance(data, bytes):
            return super().lines(data)
        number = next(self.numbers)
        return [delivered(number, part.data, sub) for sub, part in enumerate(deaggregate(record(data)))]


class ByLambda(Numbered):
    """The function, invoked by a mapping."""

    def deliver(self, *data: object) -> Observed:
        function = Function(self.core.processor)
        assert function.invoke({"Records": [self._entry(each) for each in data]}) == SUCCESS
        return _of_lines(function.lines)

    def _entry(self, data: object) -> LambdaEvent:
        if isinstance(data, bytes):
            return entry(record(data, next(self.numbers)))
        made = entry(record(b"", next(self.numbers)))
        made["kinesis"]["data"] = data
        return made


def _record(data: object, number: int) -> Record:
    return record(data, number) if isinstance(data, bytes) else Record.from_base64(position(number), data, START)


def _never(*_args: object) -> Any:
    raise AssertionError("nothing fails here")


def _of_lines(lines: Sequence[str]) -> Observed:
    observed = Observed()
    for line in map(json.loads, lines):
        for each in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
            label = next((line[name] for name in ("outcome", "reason", "kind") if name in line), "")
            value = line[each["Name"]]
            observed.add(each["Name"], value if isinstance(value, (int, float)) else 0, label)
    return observed


def test_the_files_are_up_to_date_with_the_script(tmp_path: Path) -> None:
    corpus.write(tmp_path)
    assert _files(corpus.HERE) == _files(tmp_path), "python -m tests.support.generators.corpus writes them again"


def _files(directory: Path) -> Mapping[str, bytes]:
    return {str(file.relative_to(directory)): file.read_bytes() for file in directory.rglob("*") if file.is_file()}


def test_every_record_has_its_own_file_and_a_reason() -> None:
    assert len({each.file for each in CORPUS}) == len(CORPUS)
    assert all(each.why for each in CORPUS)


def test_every_outcome_reason_and_warning_is_in_the_corpus() -> None:
    expected = [each for known in CORPUS for each in known.expected]
    assert {each.outcome for each in expected} == set(Outcome)
    assert {each.reason for each in expected} == {None, *Reason} - {Reason.STORED_STATE}, (
        "no record is to blame for that"
    )
    assert {kind for each in expected for kind in each.warnings} == set(event_types.WARNINGS)
    assert all((each.reason is None) is (each.outcome is not Outcome.QUARANTINED) for each in expected)
    assert all(each.field for each in expected if each.reason is Reason.SCHEMA)


def test_a_record_comes_after_the_one_it_needs() -> None:
    seen: set[str] = set()
    for each in CORPUS:
        assert each.after is None or each.after in seen
        seen.add(each.file)


@pytest.mark.parametrize("way", [ByProcessor, ByDaemon, ByDaemonThatTakesApart, ByLambda])
def test_every_record_between_valid_ones(way: type[Way]) -> None:
    into = way()
    good = _neighbours()
    put = [next(good)]
    into.deliver(record(put[0]).data)
    for each in CORPUS:
        around = [next(good), next(good)]
        put += around
        observed = into.deliver(record(around[0]).data, each.data, record(around[1]).data)
        assert observed == _expected(each, around=2), each.file
    assert _limits(into.core) == oracle.expected([*put, *_events(CORPUS)], START)
    assert _quarantined(into.core) == _refusals(CORPUS)


def test_consumer_apply() -> None:
    """Only for the records that its file format can represent."""
    good = _neighbours()
    sayable = [each for each in CORPUS if _is_a_line(each)]
    assert len(sayable) > 300
    put = [next(good) for _ in range(len(sayable) + 1)]
    lines = [record(put[0]).data]
    for each, around in zip(sayable, put[1:], strict=True):
        lines += [each.content, record(around).data]
    command = [sys.executable, "-m", "consumer", "apply", "--json", "-"]
    done = subprocess.run(command, input=b"\n".join(lines), stdout=subprocess.PIPE, check=True)
    answer = json.loads(done.stdout)

    expected = [each for known in sayable for each in known.expected]
    outcomes = Counter(str(each.outcome) for each in expected) + Counter(applied=len(put))
    assert answer["outcomes"] == outcomes
    assert sum(answer["outcomes"].values()) == len(lines)
    assert answer["warnings"] == Counter(kind for each in expected for kind in each.warnings)
    found = [(each["position"], each["reason"], _named(each["detail"])) for each in answer["quarantined"]]
    assert found == [(2 * at + 1, str(each.reason), each.field) for at, each in enumerate(expected) if each.reason]
    limits = {(limit["userId"], limit["userLimitId"]): limit for limit in answer["limits"]}
    assert limits == oracle.expected([*put, *_events(sayable)], START)


def _neighbours() -> Iterator[Event]:
    """Events of a limit, each of which affects the result."""
    yield created(1, userId=NEIGHBOUR, userLimitId="l", value="100000")
    for sequence in count(2):
        yield progress_changed(
            sequence, userId=NEIGHBOUR, userLimitId="l", amount="1", previousProgress=str(sequence - 2)
        )


def _expected(entry: Entry, around: int) -> Observed:
    observed = Observed(Counter(applied=around))
    for each in entry.expected:
        observed.outcomes[str(each.outcome)] += 1
        observed.warnings.update(each.warnings)
        if each.reason:
            observed.reasons[str(each.reason)] += 1
    return observed


def _events(entries: Sequence[Entry]) -> Iterator[Event]:
    for each in entries:
        yield from each.events


def _limits(core: Core) -> dict[oracle.Key, dict[str, Any]]:
    users = {NEIGHBOUR, *(event["aggregateId"] for event in _events(CORPUS))}
    return {(user, name): limit for user in users for name, limit in core.limits(user).items()}


Refusal = tuple[str, str | None, bytes]


def _quarantined(core: Core) -> Counter[Refusal]:
    """The refused records: reason, named field, bytes."""
    kept = core.quarantine.entries()
    return Counter((str(each.reason), _named(each.detail), each.record.data) for each in kept)


def _named(detail: str) -> str | None:
    """The field that a detail names: the part before the colon, if it is one word."""
    field, colon, _ = detail.partition(": ")
    return field if colon and field.replace(".", "").isalnum() else None


def _refusals(entries: Sequence[Entry]) -> Counter[Refusal]:
    parts = [part for each in entries for part in each.parts]
    return Counter((str(each.reason), each.field, data) for data, each in parts if each.reason)


def _is_a_line(entry: Entry) -> bool:
    return entry.form is Form.BYTES and b"\n" not in entry.content and bool(entry.content.strip())
