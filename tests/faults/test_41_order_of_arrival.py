"""Row 41: the same records, in opposite orders: the same table and the same quarantine."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from consumer.engine.errors import Reason
from consumer.limits.sample import Sample
from tests.faults.conftest import Note
from tests.support.driven.scenario import Stage, endless, poison, until_equal, until_received
from tests.support.driven.service import consumer, environment, service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator
from tests.support.generators import oracle
from tests.support.generators.events import Event, created, encode, progress_changed, reset

NUMBERS = (1, 2, 1_000_003, 5_000_000, 1_000_000_000, 1_000_000_001, 1_767_225_600, 2**53 - 1)
"""Consecutive numbers, numbers more than a million apart, the ceiling, and numbers above it."""


def test_41_order_of_arrival_decides_nothing(aws: Emulator, seed: int, tmp_path: Path, note: Note) -> None:
    made = [*islice(endless(seed), 300), *far_apart()]
    ends = [
        consumed(aws, f"order-{name}", tmp_path / name, records)
        for name, records in {"forth": made, "back": made[::-1], "twice": [*made, *made[::-1]]}.items()
    ]
    assert ends[0] == ends[1] == ends[2]
    states, quarantined = ends[0]
    too_high = {encode(event) for event in histories() if event["sequenceNumber"] > oracle.CEILING}
    assert {data for data, reason, _ in quarantined if reason == Reason.SEQUENCE} >= too_high
    note(f"{len(states)} limits and {len(quarantined)} quarantined records, the same in three orders")


def histories() -> Iterator[Event]:
    """Limits whose first event has each of the numbers."""
    for number in range(len(NUMBERS)):
        sequences = [*NUMBERS[number:], *NUMBERS[:number]]
        for make, sequence in zip((created, progress_changed, reset) * 3, sequences, strict=False):
            yield make(sequence, userId=f"u-far-{number}", userLimitId="l-day")


def far_apart() -> Iterator[Sample]:
    for event in histories():
        too_high = event["sequenceNumber"] > oracle.CEILING
        reason = Reason.SEQUENCE if too_high else None
        yield Sample(event["aggregateId"], encode(event), None if too_high else event, reason)


def consumed(
    aws: Emulator, name: str, directory: Path, records: Sequence[Sample]
) -> tuple[dict[tuple[str, str], object], set[tuple[bytes, str, str]]]:
    """The table and the quarantine after a service has consumed the records in this order."""
    directory.mkdir()
    variables = environment(name, directory, AWS_ENDPOINT_URL=aws.endpoint)
    consumer(variables, "provision", "--stream", "1")
    stage = Stage(variables)
    with service(variables, directory / "log") as running:
        stage.put(records)
        until_received(running, len(records))
        until_equal(stage, records)
        until(lambda: stage.quarantined() == poison(records), "the poison to be in the quarantine")
        assert running.stop() == 0
    entries = stage.quarantine().entries()
    return {**stage.states()}, {(entry.record.data, entry.reason, entry.detail) for entry in entries}
