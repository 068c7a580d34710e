"""Row 16, aggregates: KCL delivers them whole, and each event inside is applied whatever its keys are.

KCL's own class crashed the daemon on keys that are not in the aggregate's tables, and dropped an aggregate with an
event of another shard.
"""

from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from consumer.admin.put import Outgoing, put
from consumer.engine.errors import Reason
from tests.faults.conftest import Note
from tests.support.driven.leases import checkpoint_at, leases, owed
from tests.support.driven.scenario import Stage
from tests.support.driven.waiting import until
from tests.support.driven.workers import worker
from tests.support.generators import kpl
from tests.support.generators.events import created, encode

SAME = {"CONSUMER_WORKER_ID": "worker"}
LAST_HASH_KEY = str(2**128 - 1).encode()
TABLES = kpl.text(1, kpl.PARTITION_KEY.encode()) + kpl.text(2, b"0") + kpl.text(2, LAST_HASH_KEY) + kpl.text(2, b"none")
NESTED = kpl.aggregate(encode(created(userId="u-deep-inside")))


def sealed(*user_records: bytes) -> bytes:
    """An aggregate with one partition key and three hash keys: of the first shard, of the last, and not a number."""
    return kpl.sealed(TABLES + b"".join(kpl.text(3, each) for each in user_records))


def keys(partition: int, explicit: int) -> bytes:
    return kpl.number(1, partition) + kpl.number(2, explicit)


SOUND: dict[str, Callable[[bytes], bytes]] = {
    "a partition key that is not there": lambda data: sealed(kpl.number(1, 5) + data),
    "a hash key that is no number": lambda data: sealed(keys(0, 2) + data),
    "a hash key that is not there": lambda data: sealed(keys(0, 7) + data),
    "no partition key": sealed,
    "a hash key of the first shard": lambda data: sealed(keys(0, 0) + data),
    "a hash key of the last shard": lambda data: sealed(keys(0, 1) + data),
}
BROKEN = {
    "a wrong checksum": kpl.aggregate(encode(created(userId="u-not-to-be-read")))[:-1],
    "an aggregate inside": kpl.aggregate(NESTED),
}


def test_16_aggregates(stage: Stage, tmp_path: Path, note: Note) -> None:
    users = (f"u-good-{number}" for number in count())
    good: list[str] = []

    def event() -> bytes:
        good.append(next(users))
        return encode(created(userId=good[-1]))

    records: list[bytes] = []
    for pack in SOUND.values():
        records += [event(), pack(kpl.text(3, event())), event()]
    for data in BROKEN.values():
        records += [event(), data, event()]
    with worker(stage, tmp_path, "worker", CONSUMER_RESTARTS="0") as running:
        outgoing = [Outgoing(kpl.PARTITION_KEY, each) for each in records]
        put(stage.kinesis(), stage.variables["CONSUMER_STREAM_NAME"], outgoing, lambda _: None)
        until(lambda: owed(stage) == 0, "all records to be checkpointed past")
        assert running.stop() == 0
        lines = running.lines()
    assert {user for user, _ in stage.states()} == set(good)
    assert stage.quarantined() == Counter([BROKEN["a wrong checksum"], NESTED])
    assert {entry.reason for entry in stage.quarantine().entries()} == {Reason.AGGREGATE}
    assert not [line for line in lines if "u-good" in str(line) or "u-not" in str(line)], "no record is logged"
    note(f"{len(SOUND)} aggregates applied, {len(BROKEN)} quarantined, {len(good)} events applied")


@pytest.mark.parametrize("followed", [True, False], ids=["followed", "last"])
def test_16_checkpoint_in_an_aggregate(stage: Stage, tmp_path: Path, followed: bool) -> None:
    """A checkpoint of a version in which KCL split aggregates. KCL would now drop the record as finished."""
    with worker(stage, tmp_path, "first", **SAME) as running:
        put_all(stage, encode(created(userId="u-before")))
        until(lambda: owed(stage) == 0, "the first record to be checkpointed past")
        assert running.stop() == 0
    (shard,) = (lease.shard for lease in leases(stage).values() if lease.checkpoint.isdecimal())
    inside = [f"u-inside-{number}" for number in range(4)]
    events = [encode(created(userId=user)) for user in inside]
    packed = kpl.aggregate(*events[:3], b"poison", events[3])
    checkpoint_at(stage, shard, put_all(stage, packed), 1)
    if followed:
        put_all(stage, encode(created(userId="u-behind")))
    wanted = {"u-before", *inside, *(["u-behind"] if followed else [])}

    with worker(stage, tmp_path, "second", **SAME) as running:
        until(lambda: {user for user, _ in stage.states()} == wanted, "the whole aggregate to be applied")
        until(lambda: owed(stage) == 0, "all records to be checkpointed past")
        assert running.stop() == 0
    assert stage.quarantined() == Counter([b"poison"])

    with worker(stage, tmp_path, "third", **SAME) as running:
        put_all(stage, encode(created(userId="u-last")))
        until(lambda: owed(stage) == 0, "the last record to be checkpointed past")
        received = running.outcomes()
        assert running.stop() == 0
    replayed = {} if followed else {"duplicate": 4, "quarantined": 1}
    assert received == {"applied": 1, **replayed}, "it is replayed for as long as the checkpoint is there"


def put_all(stage: Stage, *records: bytes) -> str:
    """Puts the records and returns the sequence number of the last one."""
    numbers = [
        stage.kinesis().put_record(
            StreamName=stage.variables["CONSUMER_STREAM_NAME"], Data=each, PartitionKey=kpl.PARTITION_KEY
        )["SequenceNumber"]
        for each in records
    ]
    return numbers[-1]
