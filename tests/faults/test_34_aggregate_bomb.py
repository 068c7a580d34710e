"""Row 34: aggregates of more than a hundred thousand empty records. Each is one entry in the quarantine.

KCL took aggregates apart before the cap could see them. One with a long partition key ended the JVM with
OutOfMemoryError at every start; one with a short key became as many quarantined records as it held.
"""

from collections import Counter
from pathlib import Path

import pytest

from consumer.admin.put import Outgoing, put
from consumer.engine.errors import Reason
from tests.faults.conftest import Note
from tests.support.driven.leases import owed
from tests.support.driven.scenario import Stage
from tests.support.driven.waiting import until
from tests.support.driven.workers import worker
from tests.support.generators import kpl
from tests.support.generators.events import created, encode, progress_changed

EMPTY = 172_661
BOMBS = {"a long partition key": "k" * 4_000, "a short partition key": "k"}


def bomb(key: str, number: int) -> bytes:
    """An aggregate of empty user records with one partition key. `number` makes it unique."""
    empty = kpl.text(3, kpl.number(1, 0) + kpl.text(3, b""))
    return kpl.sealed(kpl.text(1, key.encode()) + kpl.text(1, b"%d" % number) + empty * EMPTY)


@pytest.mark.parametrize("key", BOMBS.values(), ids=BOMBS.keys())
def test_34_aggregate_bomb(stage: Stage, tmp_path: Path, note: Note, key: str) -> None:
    bombs = [bomb(key, number) for number in range(8)]
    assert 1_030_000 < len(bombs[0]) < 1_048_576
    packed = kpl.aggregate(encode(created(1, userId="u-packed")), encode(progress_changed(2, userId="u-packed")))
    sound = [packed, encode(created(1, userId="u-behind"))]
    stream = stage.variables["CONSUMER_STREAM_NAME"]
    with worker(stage, tmp_path, "worker", CONSUMER_RESTARTS="0") as running:
        put(stage.kinesis(), stream, [Outgoing(kpl.PARTITION_KEY, each) for each in (*bombs, *sound)], lambda _: None)
        until(lambda: owed(stage) == 0, "all records to be checkpointed past")
        received = running.outcomes()
        assert running.stop() == 0
    assert received == {"quarantined": len(bombs), "applied": 3}
    assert {user for user, _ in stage.states()} == {"u-packed", "u-behind"}
    assert stage.quarantined() == Counter(bombs)
    assert {entry.reason for entry in stage.quarantine().entries()} == {Reason.AGGREGATE}

    with worker(stage, tmp_path, "again", CONSUMER_RESTARTS="0") as running:
        put(stage.kinesis(), stream, [Outgoing(kpl.PARTITION_KEY, encode(created(1, userId="u-last")))], lambda _: None)
        until(lambda: owed(stage) == 0, "the last record to be checkpointed past")
        assert running.outcomes() == {"applied": 1}, "a restart repeats nothing"
        assert running.stop() == 0
    assert {user for user, _ in stage.states()} == {"u-packed", "u-behind", "u-last"}
    assert stage.quarantined() == Counter(bombs)
    note(f"{len(bombs)} aggregates of {EMPTY} records each: {len(bombs)} entries")
