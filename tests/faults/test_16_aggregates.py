"""Row 16, for KCL: aggregates with the right checksum that make it fail. They are set aside whole, and hold up nobody.

Without consumer/worker/guard.py each of the first two ends the daemon, at every start again.
"""

from collections import Counter
from itertools import count
from pathlib import Path

from consumer.engine.errors import Reason
from consumer.entrypoints.put import Outgoing, put
from tests.faults.conftest import Tell
from tests.support import kpl
from tests.support.events import created, encode
from tests.support.leases import owed
from tests.support.scenario import Stage
from tests.support.waiting import until
from tests.support.workers import worker

KEYS = kpl.text(1, kpl.PARTITION_KEY.encode())
INSIDE = kpl.text(3, encode(created(userId="u-inside")))
NESTED = kpl.aggregate(encode(created(userId="u-deep-inside")))
HOSTILE = {
    "a partition key that is not there": kpl.sealed(KEYS + kpl.text(3, kpl.number(1, 5) + INSIDE)),
    "a hash key that is no number": kpl.sealed(
        KEYS + kpl.text(2, b"no number") + kpl.text(3, kpl.number(1, 0) + kpl.number(2, 0) + INSIDE)
    ),
    "a hash key that is not there": kpl.sealed(KEYS + kpl.text(3, kpl.number(1, 0) + kpl.number(2, 7) + INSIDE)),
    "no partition key": kpl.sealed(KEYS + kpl.text(3, INSIDE)),
    "a wrong checksum": kpl.aggregate(encode(created(userId="u-inside")))[:-1],
    "an aggregate inside": kpl.aggregate(NESTED),
}


def test_16_aggregates_made_to_break_kcl(stage: Stage, tmp_path: Path, tell: Tell) -> None:
    users = (f"u-good-{number}" for number in count())
    good: list[str] = []
    records: list[Outgoing] = []
    for data in HOSTILE.values():
        good += [next(users), next(users)]
        around = [encode(created(userId=user)) for user in good[-2:]]
        records += [Outgoing(kpl.PARTITION_KEY, each) for each in (around[0], data, around[1])]
    with worker(stage, tmp_path, "worker", CONSUMER_RESTARTS="0") as running:
        put(stage.kinesis(), stage.variables["CONSUMER_STREAM_NAME"], records, lambda _: None)
        until(lambda: owed(stage) == 0, "all records to be checkpointed past")
        assert running.stop() == 0
        outcomes = running.lines()
    assert {user for user, _ in stage.states()} == set(good)
    wanted = Counter((data if data != HOSTILE["an aggregate inside"] else NESTED) for data in HOSTILE.values())
    assert stage.quarantined() == wanted
    assert {entry.reason for entry in stage.quarantine().entries()} == {Reason.AGGREGATE}
    assert not [line for line in outcomes if "u-inside" in str(line)], "what a record says is not logged"
    tell(f"{len(HOSTILE)} aggregates set aside, {len(good)} records between them applied")
