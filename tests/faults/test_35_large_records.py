"""Row 35: a backlog of records of 1,000 KiB and of 10 MiB, as Kinesis takes them, for a worker of 512 MiB.

The heap in such a container is too small for them. The worker first uses the free memory, then fetches fewer records at
a time. It applies the records within the cap and quarantines the larger ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from consumer.daemon.memory import MIB
from consumer.engine.errors import Reason
from consumer.limits.sample import Sample
from tests.faults.conftest import Note
from tests.support.driven.scenario import Stage
from tests.support.driven.service import RUN, consumer, environment, service
from tests.support.driven.trial import Trial
from tests.support.emulators.aws import EMULATORS, Emulator, ministack
from tests.support.generators.events import encode, progress_changed

MEMORY = 512 * MIB
KIB = 1 << 10
CAPS = {True: 16 * MIB, False: 256 * KIB}
HASHES = 1 << 128
SECONDS = 300.0


@dataclass(frozen=True)
class Backlog:
    """A number of records of `size` bytes per shard. `taken`: whether the cap on record sizes admits them."""

    shards: int
    records: int
    size: int
    taken: bool

    def __str__(self) -> str:
        return f"{self.shards}x{self.records}x{self.size // KIB}-{'taken' if self.taken else 'over the cap'}"


BACKLOGS = (
    Backlog(shards=1, records=11, size=1_000 * KIB, taken=True),
    Backlog(shards=1, records=41, size=1_000 * KIB, taken=False),
    Backlog(shards=4, records=6, size=1_000 * KIB, taken=True),
    Backlog(shards=4, records=11, size=1_000 * KIB, taken=False),
    Backlog(shards=1, records=1, size=10 * MIB, taken=True),
    Backlog(shards=1, records=3, size=10 * MIB, taken=False),
)


@pytest.fixture(scope="module")
def kinesis() -> Iterator[Emulator]:
    """Kinesis that accepts records of 10 MiB and returns at most 10 MiB at a time."""
    with ministack(program=[str(EMULATORS / "large_ministack.py")]) as emulator:
        yield emulator


@pytest.mark.parametrize("backlog", BACKLOGS, ids=str)
def test_35_large_records(backlog: Backlog, kinesis: Emulator, tmp_path: Path, note: Note) -> None:
    name = f"large-{BACKLOGS.index(backlog)}"
    variables = environment(name, tmp_path, AWS_ENDPOINT_URL=kinesis.endpoint)
    variables["CONSUMER_RECORD_CAP_BYTES"] = str(CAPS[backlog.taken])
    consumer(variables, "provision", "--stream", str(backlog.shards))
    stage = Stage(variables)
    made = [put(stage, backlog, number) for number in range(backlog.shards * backlog.records)]

    with service(variables, tmp_path / "log", ("tests.support.faults.small_memory", str(MEMORY), *RUN)) as running:
        trial = Trial(stage, running, iter(()), made)
        trial.until_settled(SECONDS)
        assert running.stop() == 0
    remedies = [line for line in trial.running.lines() if line["message"].startswith("out of memory: ")]
    assert remedies, "memory had not run out"
    reported = ", ".join(f"{line['heap']} MiB and {line['records']} records a fetch" for line in remedies)
    note(f"{backlog}: settled with a heap of {reported}")


def put(stage: Stage, backlog: Backlog, number: int) -> Sample:
    """Puts the record with this number on the next shard in turn."""
    event = progress_changed(number + 1, userId=f"u-{number:05}", userLimitId=f"l-{number:05}")
    event["padding"] = "x" * (backlog.size - len(encode({**event, "padding": ""})))
    made = Sample(event["aggregateId"], encode(event), event)
    place = number % backlog.shards * (HASHES // backlog.shards)
    stage.kinesis().put_record(
        StreamName=stage.variables["CONSUMER_STREAM_NAME"],
        PartitionKey=made.partition_key,
        Data=made.data,
        ExplicitHashKey=str(place),
    )
    return made if backlog.taken else Sample(made.partition_key, made.data, None, Reason.TOO_LARGE)
