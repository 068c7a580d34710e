"""What a worker does after a look, and at its end."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from consumer.leases import taking
from consumer.leases.kcl_tables import SHARD_END, Lease, Lock, Tables
from consumer.leases.takeover import Condition, Takeover
from consumer.leases.taking import Taker
from consumer.monitoring.metrics import GIVEN_BACK, LOCKS_REMOVED, STILL_SECONDS, TAKEN, Metric
from tests.support.simulation.lease_tables import MemoryLeases

FAILOVER = 2.0
ME, OTHER = "me", "other"
STARTING = Condition(running=True, initialised=False)


class Unreachable(Exception):
    """DynamoDB does not answer."""


class Store(MemoryLeases):
    """Tables that can fail. `before`: called before each operation with its name. `calls`: the writes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda _name: None
        self.exists = True

    def read(self) -> Tables | None:
        self.before("read")
        return super().read() if self.exists else None

    def take(self, lease: Lease, worker: str) -> bool:
        self._write_of("take", lease.shard)
        return super().take(lease, worker)

    def give_back(self, lease: Lease) -> bool:
        self._write_of("give back", lease.shard)
        return super().give_back(lease)

    def remove_lock(self, lock: Lock) -> bool:
        self._write_of("remove lock", lock.owner)
        return super().remove_lock(lock)

    def remove_report(self, worker: str) -> None:
        self._write_of("remove report", worker)
        super().remove_report(worker)

    def _write_of(self, name: str, what: str) -> None:
        self.before(name)
        self.calls.append(f"{name} {what}")


@dataclass
class Scene:
    """A worker, the tables and what was measured. Implements taking.Worker."""

    id: str = ME
    store: Store = field(default_factory=Store)
    own: Condition = STARTING
    reachable: bool = True
    time: float = 100.0
    measured: list[tuple[Metric, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        takeover = Takeover(ME, FAILOVER)
        self.taker = Taker(self, self.store, takeover, self.measure, lambda: self.time)

    def condition(self) -> Condition:
        return self.own

    def reaches_stream(self) -> bool:
        return self.reachable

    def measure(self, metric: Metric, value: float, *_: str) -> None:
        self.measured.append((metric, value))

    def give(self, owner: str | None, *shards: str, **changes: Any) -> None:
        for shard in shards:
            self.store.leases[shard] = replace(Lease(shard, owner, "49", 0, 7, 0), **changes)

    def looks(self, number: int) -> None:
        for _ in range(number):
            self.time += 1.0
            self.taker.look()

    def leader(self) -> str | None:
        return self.store.lock.owner if self.store.lock else None

    def owners(self) -> dict[str, str | None]:
        return {lease.shard: lease.owner for lease in self.store.leases.values()}


@pytest.fixture
def scene() -> Scene:
    return Scene()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


# a look


def test_a_free_lease_is_taken_counted_and_logged(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.give(OTHER, "a")
    with caplog.at_level(logging.INFO):
        scene.looks(4)
    assert scene.owners() == {"a": ME}
    assert scene.measured == [(TAKEN, 1), (STILL_SECONDS, 2.0)]
    [record] = caplog.records
    assert (record.message, vars(record)["shard"], vars(record)["owner"]) == ("lease taken", "a", OTHER)
    assert vars(record)["still_seconds"] == 2.0


def test_a_refused_take_is_neither_counted_nor_repeated(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.give(OTHER, "a")
    scene.looks(2)

    def renew(name: str) -> None:
        if name == "take":
            lease = scene.store.leases["a"]
            scene.store.leases["a"] = replace(lease, counter=lease.counter + 1)

    scene.store.before = renew
    with caplog.at_level(logging.INFO):
        scene.looks(2)
    assert scene.owners() == {"a": OTHER}
    assert scene.store.calls == ["take a"]
    assert scene.measured == []
    assert messages(caplog) == []


def test_after_a_refusal_the_other_leases_are_still_taken(scene: Scene) -> None:
    scene.give(OTHER, "a", "b", "c")
    scene.looks(2)
    scene.store.before = lambda name: scene.give(OTHER, "b", counter=99) if name == "take" else None
    scene.looks(1)
    assert scene.owners() == {"a": ME, "b": OTHER, "c": ME}


def test_nothing_is_taken_after_a_stop_that_came_since_the_look(scene: Scene) -> None:
    """Also not the rest of what a look has found."""
    scene.give(OTHER, "a", "b")
    scene.looks(2)

    def stop(name: str) -> None:
        if name == "take":
            scene.own = replace(scene.own, running=False)

    scene.store.before = stop
    scene.looks(1)
    assert len(scene.store.calls) == 1


def test_a_stop_during_the_look_itself(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.give(OTHER, "a")
    scene.looks(2)

    def stop() -> bool:
        scene.own = replace(scene.own, running=False)
        return True

    monkeypatch.setattr(scene, "reaches_stream", stop)
    scene.looks(1)
    assert scene.store.calls == []


def test_nothing_is_taken_while_the_stream_cannot_be_reached(scene: Scene) -> None:
    scene.give(OTHER, "a")
    scene.reachable = False
    scene.looks(10)
    assert scene.store.calls == []
    scene.reachable = True
    scene.looks(1)
    assert scene.owners() == {"a": ME}


def test_without_tables_nothing_happens(scene: Scene) -> None:
    scene.store.exists = False
    scene.looks(3)
    assert scene.store.calls == []


def test_a_look_that_fails_raises_and_restarts_the_time(scene: Scene) -> None:
    def fail(_name: str) -> None:
        raise Unreachable

    scene.give(OTHER, "a")
    scene.looks(2)
    scene.store.before = fail
    with pytest.raises(Unreachable):
        scene.looks(1)
    scene.store.before = lambda _name: None
    scene.looks(2)
    assert scene.owners() == {"a": OTHER}
    scene.looks(1)
    assert scene.owners() == {"a": ME}


def test_time_within_a_look_does_not_count(scene: Scene) -> None:
    def wait(_name: str) -> None:
        scene.time += 60.0

    scene.give(OTHER, "a")
    scene.store.before = wait
    scene.looks(2)
    assert scene.owners() == {"a": OTHER}


def test_the_lock_of_a_silent_leader_is_removed_counted_and_logged(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.store.lock = Lock(OTHER, "1")
    with caplog.at_level(logging.INFO):
        scene.looks(5)
    assert scene.leader() is None
    assert scene.measured == [(LOCKS_REMOVED, 1)]
    assert messages(caplog) == ["removed the lock of a silent leader"]


def test_a_heartbeat_in_the_last_moment_keeps_the_lock(scene: Scene) -> None:
    scene.store.lock = Lock(OTHER, "1")
    scene.looks(4)

    def beat(name: str) -> None:
        if name == "remove lock":
            scene.store.lock = Lock(OTHER, "2")

    scene.store.before = beat
    scene.looks(1)
    assert scene.store.lock == Lock(OTHER, "2")
    assert scene.measured == []


# the end


def test_leases_lock_and_report_are_given_back(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.give(ME, "a", "b")
    scene.give(OTHER, "c")
    scene.store.reports = {ME: 1, OTHER: 1}
    scene.store.lock = Lock(ME, "1")
    with caplog.at_level(logging.INFO):
        scene.taker.give_back()
    assert scene.owners() == {"a": None, "b": None, "c": OTHER}
    assert (list(scene.store.reports), scene.leader()) == ([OTHER], None)
    assert scene.measured == [(GIVEN_BACK, 2)]
    assert [(record.message, vars(record)["shards"]) for record in caplog.records] == [
        ("leases given back", ["a", "b"])
    ]


def test_the_report_goes_first(scene: Scene) -> None:
    """Else the leader could assign to this worker again what it has given back."""
    scene.give(ME, "a")
    scene.store.reports = {ME: 1}
    scene.store.lock = Lock(ME, "1")
    scene.taker.give_back()
    assert scene.store.calls == ["remove report me", "give back a", "remove lock me"]


def test_what_is_not_its_own_is_left_alone(scene: Scene) -> None:
    scene.give(OTHER, "a")
    scene.give(ME, "b", checkpoint=SHARD_END)
    scene.give(ME, "c", successor=OTHER)
    scene.store.lock = Lock(OTHER, "1")
    scene.taker.give_back()
    assert scene.store.calls == ["remove report me"]


def test_a_lease_that_was_taken_meanwhile_is_not_counted(scene: Scene) -> None:
    scene.give(ME, "a", "b")
    scene.store.before = lambda name: scene.give(OTHER, "a") if name == "give back" else None
    scene.taker.give_back()
    assert scene.owners() == {"a": OTHER, "b": None}
    assert scene.measured == [(GIVEN_BACK, 1)]


def test_without_tables_there_is_nothing_to_give_back(scene: Scene) -> None:
    scene.store.exists = False
    scene.taker.give_back()
    assert scene.store.calls == []


@pytest.mark.parametrize("where", ["read", "remove report", "give back", "remove lock"])
def test_a_failure_is_logged_and_ends_nothing(scene: Scene, caplog: pytest.LogCaptureFixture, where: str) -> None:
    def fail(name: str) -> None:
        if name == where:
            raise Unreachable("no route")

    scene.give(ME, "a")
    scene.store.lock = Lock(ME, "1")
    scene.store.before = fail
    scene.taker.give_back()
    assert [(record.message, vars(record)["cause"]) for record in caplog.records] == [
        ("leases not given back", "Unreachable: no route")
    ]


def test_it_does_not_wait_for_an_answer_that_does_not_come(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "GIVE_BACK_SECONDS", 0.05)
    answered, ended = threading.Event(), threading.Event()

    def wait(name: str) -> None:
        answered.wait(60)
        if name == "remove report":
            ended.set()

    scene.store.before = wait
    scene.taker.give_back()
    assert not answered.is_set()
    answered.set()
    assert ended.wait(60)
    assert messages(caplog)[:1] == ["leases not given back"]
