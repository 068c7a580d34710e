"""The worker for which leases are taken: its condition, its stream, and its end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from consumer.leases.kcl_tables import Lease
from consumer.leases.takeover import Condition
from consumer.monitoring.endpoints import Health
from consumer.settings import Settings, load
from consumer.supervisor import lease_taking
from consumer.supervisor.lease_taking import STARVED_SECONDS, ThisWorker, taking_leases
from consumer.supervisor.run_directory import PROPERTIES
from tests.support.driven.waiting import until
from tests.support.simulation.lease_tables import MemoryLeases

ME, OTHER = "me", "other"
RUNNING = Health(0.0, daemon=17, initialised=True)


@dataclass
class Stubs:
    """The supervisor, the exporter and the stream as a ThisWorker sees them."""

    worker_id: str = ME
    health: Health = RUNNING
    is_swept: bool = True
    batch: float | None = None
    list_shards: Callable[..., object] = dict
    asked: list[dict[str, object]] = field(default_factory=list)

    def last_batch(self) -> float | None:
        return self.batch

    def connect(self) -> Any:
        def list_shards(**request: object) -> object:
            self.asked.append(request)
            return self.list_shards()

        return SimpleNamespace(stream="events", kinesis=SimpleNamespace(list_shards=list_shards), dynamodb=None)

    def this_worker(self, *, gets_empty_batches: bool = True) -> ThisWorker:
        stubs: Any = self
        return ThisWorker(ME, stubs, stubs, self.connect, 1.0, gets_empty_batches)


@pytest.mark.parametrize(
    ("health", "condition"),
    [
        (Health(0.0), Condition(running=True, initialised=False)),
        (Health(0.0, ended=1), Condition(running=False, initialised=False)),
        (Health(0.0, stopping=True), Condition(running=False, initialised=False)),
        (Health(0.0, daemon=17), Condition(running=True, initialised=False)),
        (RUNNING, Condition(running=True, initialised=True)),
        (Health(0.0, daemon=17, initialised=True, stopping=True), Condition(running=False, initialised=True)),
    ],
    ids=["first start", "restart", "stopped at once", "starting", "initialised", "stopping"],
)
def test_the_condition_is_that_of_the_supervisor(health: Health, condition: Condition) -> None:
    assert Stubs(health=health).this_worker().condition() == condition


@pytest.mark.parametrize(
    ("age", "starved"), [(None, False), (STARVED_SECONDS, False), (STARVED_SECONDS + 3.0, True)], ids=str
)
def test_a_worker_whose_last_batch_is_old_is_starved(age: float | None, starved: bool) -> None:
    stubs = Stubs(batch=None if age is None else time.time() - age)
    assert stubs.this_worker().condition().starved == starved


def test_without_empty_batches_an_idle_worker_is_not_taken_for_starved() -> None:
    assert not Stubs(batch=1.0).this_worker(gets_empty_batches=False).condition().starved


def test_a_stream_that_answers_is_reached() -> None:
    stubs = Stubs()
    assert stubs.this_worker().reaches_stream()
    assert stubs.asked == [{"StreamName": "events", "MaxResults": 1}]


@pytest.mark.parametrize(
    "error",
    [EndpointConnectionError(endpoint_url="http://nowhere"), ClientError({"Error": {"Code": "X"}}, "ListShards")],
    ids=["no connection", "refused"],
)
def test_a_stream_that_does_not_answer_is_not_reached(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> object:
        raise error

    assert not Stubs(list_shards=fail).this_worker().reaches_stream()
    [record] = caplog.records
    assert (record.message, vars(record)["cause"]) == ("leases not taken: the stream cannot be reached", str(error))


# from start to end


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> MemoryLeases:
    memory = MemoryLeases()
    monkeypatch.setattr(lease_taking, "DynamoLeases", lambda *_: memory)
    return memory


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / PROPERTIES).write_text("maxLeasesForWorker = 1\n")
    given = {"region": "eu-north-1", "stream_name": "events", "quarantine": "dir:q", "application_name": "app"}
    return load(Settings, **given, table_name="limits", properties=tmp_path)


def taken_and_left(settings: Settings, stubs: Stubs, tables: MemoryLeases) -> None:
    """Waits until the lease is taken, then ends."""
    tables.create([Lease("a", None, "49", 0, 7, 0), Lease("b", None, "49", 0, 7, 0)])
    anything: Any = stubs
    with taking_leases(settings, stubs.connect, anything, anything, lambda *_: None):
        until(lambda: any(lease.owner for lease in tables.read_leases()), "a lease to be taken")
        owners = sorted(str(lease.owner) for lease in tables.read_leases())
        # maxLeasesForWorker of the shipped properties is respected.
        assert owners == ["None", ME]


def test_leases_are_taken_and_given_back_at_the_end(settings: Settings, tables: MemoryLeases) -> None:
    taken_and_left(settings, Stubs(health=Health(0.0, daemon=17)), tables)
    assert [lease.owner for lease in tables.read_leases()] == [None, None]


def test_nothing_is_given_back_while_a_process_of_the_daemon_is_left(settings: Settings, tables: MemoryLeases) -> None:
    """It might still write with the lease that another worker would take."""
    taken_and_left(settings, Stubs(health=Health(0.0, daemon=17), is_swept=False), tables)
    assert sorted(str(lease.owner) for lease in tables.read_leases()) == ["None", ME]
