"""Row 42: records without an arrival time, or with one that is null or invalid, as emulators deliver them.

Each of them ended the record processor inside amazon_kclpy, at every start again.
"""

from pathlib import Path

from consumer.admin.put import Outgoing, put
from tests.faults.conftest import Note
from tests.support.driven.leases import owed
from tests.support.driven.scenario import Stage
from tests.support.driven.service import consumer, environment
from tests.support.driven.waiting import until
from tests.support.driven.workers import worker
from tests.support.emulators.aws import EMULATORS, ministack
from tests.support.generators.events import created, encode

NO_ARRIVAL_TIMES = EMULATORS / "no_arrival_times_ministack.py"


def test_42_records_without_arrival_times(tmp_path: Path, note: Note) -> None:
    users = [f"u-{number}" for number in range(30)]
    records = [Outgoing(user, encode(created(1, userId=user))) for user in users]
    poison = [Outgoing(user, b"poison") for user in users[:10]]
    with ministack(program=["-P", str(NO_ARRIVAL_TIMES)]) as aws:
        stage = Stage(environment("no-arrival-times", tmp_path, AWS_ENDPOINT_URL=aws.endpoint))
        consumer(stage.variables, "provision", "--stream", "2")
        with worker(stage, tmp_path, "worker", CONSUMER_RESTARTS="0") as running:
            put(stage.kinesis(), stage.variables["CONSUMER_STREAM_NAME"], [*records, *poison], lambda _: None)
            until(lambda: owed(stage) == 0, "all records to be checkpointed past")
            assert running.stop() == 0
        assert {user for user, _ in stage.states()} == set(users)
        arrivals = [entry.record.arrived_at for entry in stage.quarantine().entries()]
    assert len(arrivals) == len(poison)
    assert arrivals.count(0) == 6, "the other four have a time"
    note(f"{len(records)} records applied, {len(poison)} quarantined, of {arrivals.count(0)} the arrival is unknown")
