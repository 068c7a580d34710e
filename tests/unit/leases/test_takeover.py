"""Which leases a worker takes, by what it has seen. A look every second, the failover time is five."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from consumer.leases.kcl_tables import SHARD_END, Layout, Lease, Lock, Report, Tables
from consumer.leases.takeover import OVERDUE_SECONDS, OWN_LOCK_SECONDS, Condition, Decision, Takeover

FAILOVER = 5.0
ME, OTHER, THIRD = "me", "other", "third"
READY, STARTING = Condition(running=True, initialised=True), Condition(running=True, initialised=False)


@dataclass
class Scene:
    """The tables, with workers that renew, report and hold a lock, and what `me` decides."""

    takeover: Takeover = field(default_factory=lambda: Takeover(ME, FAILOVER))
    own: Condition = READY
    leases: dict[str, Lease] = field(default_factory=dict)
    reports: dict[str, int] = field(default_factory=dict)
    lock: Lock | None = None
    alive: set[str] = field(default_factory=lambda: {ME, OTHER})
    time: float = 100.0

    def give(self, owner: str | None, *shards: str, checkpoint: str = "49") -> "Scene":
        self.leases |= {shard: Lease(shard, owner, checkpoint, 0, 7, 0) for shard in shards}
        return self

    def look(self, after: float = 1.0, *, lasting: float = 0.0) -> Decision:
        """What is decided `after` seconds, during which the living renew and report, in a look that takes `lasting`."""
        self.time += after
        for lease in self.leases.values():
            if lease.owner in self.alive and not lease.ended:
                self.leases[lease.shard] = replace(lease, counter=lease.counter + 1)
        self.reports |= {worker: int(self.time) for worker in self.alive}
        began, self.time = self.time, self.time + lasting
        reports = [Report(worker, at, {}) for worker, at in sorted(self.reports.items())]
        tables = Tables(Layout.THREE_TABLES, list(self.leases.values()), reports, self.lock)
        return self.takeover.decide(tables, self.own, began, self.time)

    def looks(self, number: int) -> list[Decision]:
        return [self.look() for _ in range(number)]

    def obey(self, decision: Decision) -> Sequence[str]:
        """Takes what was decided."""
        for take in decision.takes:
            self.leases[take.lease.shard] = replace(take.lease, owner=ME, counter=take.lease.counter + 1)
        return shards(decision)


def shards(decision: Decision) -> list[str]:
    return sorted(take.lease.shard for take in decision.takes)


def taken(decisions: Sequence[Decision]) -> list[str]:
    return sorted({shard for decision in decisions for shard in shards(decision)})


@pytest.fixture
def scene() -> Scene:
    return Scene()


# a survivor


def test_leases_that_are_renewed_are_let_be(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b")
    assert taken(scene.looks(60)) == []


def test_a_lease_is_taken_once_it_was_still_for_the_failover_time(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b")
    scene.look()
    scene.alive.remove(OTHER)
    assert taken(scene.looks(4)) == []
    [take] = scene.look().takes
    assert (take.lease.shard, take.lease.owner, take.still) == ("b", OTHER, FAILOVER)


def test_a_lease_that_was_just_seen_for_the_first_time_is_not_taken(scene: Scene) -> None:
    scene.give(ME, "a")
    scene.looks(30)
    scene.give(OTHER, "b").alive.remove(OTHER)
    assert taken(scene.looks(5)) == []
    assert shards(scene.look()) == ["b"]


def test_a_lease_without_an_owner_is_taken_at_once(scene: Scene) -> None:
    scene.give(ME, "a").alive = {ME}
    scene.looks(6)
    scene.give(None, "b")
    assert shards(scene.look()) == ["b"]


def test_a_renewal_or_a_new_owner_restarts_the_time(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b").alive.remove(OTHER)
    for change in ({"counter": 8}, {"owner": THIRD}):
        scene.looks(5)
        scene.leases["b"] = replace(scene.leases["b"], **change)
        assert taken(scene.looks(5)) == []
    assert shards(scene.look()) == ["b"]


def test_a_lease_of_its_own_is_never_taken(scene: Scene) -> None:
    """Neither while its JVM starts, which takes what carries its id, nor while it is frozen."""
    scene.alive = set()
    scene.give(ME, "a")
    for scene.own in (STARTING, READY):
        assert taken(scene.looks(20)) == []


def test_a_shard_that_was_read_to_its_end_is_not_taken(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b", checkpoint=SHARD_END).give(None, "c", checkpoint=SHARD_END)
    scene.alive = {ME}
    assert taken(scene.looks(20)) == []


def test_a_lease_in_a_handoff_is_not_taken(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b").alive.remove(OTHER)
    scene.leases["b"] = replace(scene.leases["b"], successor=THIRD)
    assert taken(scene.looks(20)) == []


# its own JVM


def test_it_takes_nothing_while_its_jvm_does_not_run(scene: Scene) -> None:
    scene.give(None, "a").alive = set()
    scene.own = Condition(running=False, initialised=False)
    assert taken(scene.looks(20)) == []


def test_a_worker_without_batches_takes_nothing(scene: Scene) -> None:
    scene.give(ME, "a").give(None, "b")
    scene.own = replace(READY, starved=True)
    assert taken(scene.looks(20)) == []


def test_a_worker_whose_jvm_does_not_renew_takes_nothing(scene: Scene) -> None:
    """Frozen, or its writes fail, perhaps those of the others too: they get the failover time after it."""
    scene.give(ME, "a").give(OTHER, "b")
    scene.looks(5)
    scene.alive = set()
    assert taken(scene.looks(20)) == []
    scene.alive = {ME}
    assert taken(scene.looks(4)) == []
    assert shards(scene.look()) == ["b"]


def test_a_jvm_that_froze_soon_after_another_worker_died_does_not_get_its_leases(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b")
    scene.looks(5)
    scene.alive = {ME}
    scene.looks(2)
    scene.alive = set()
    assert taken(scene.looks(20)) == []


def test_one_lease_that_is_not_renewed_is_enough(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b").give(ME, "c")
    stuck = scene.leases["c"]
    for turn in range(20):
        if turn == 5:
            scene.alive.remove(OTHER)
        scene.leases["c"] = stuck
        assert shards(scene.look()) == []


def test_a_worker_without_leases_that_does_not_report_takes_nothing(scene: Scene) -> None:
    scene.give(OTHER, "b")
    scene.looks(5)
    scene.alive = set()
    assert taken(scene.looks(20)) == []
    scene.alive = {ME}
    assert taken(scene.looks(4)) == []
    assert shards(scene.look()) == ["b"]


def test_a_frozen_worker_that_loses_its_leases_does_not_take_them_back(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b")
    scene.looks(5)
    scene.alive = {OTHER}
    scene.looks(10)
    scene.give(OTHER, "a").give(None, "c")
    assert taken(scene.looks(20)) == []


def test_after_an_outage_of_writes_the_first_to_recover_takes_nothing_from_the_others(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b").give(THIRD, "c")
    scene.alive = {ME, OTHER, THIRD}
    scene.looks(5)
    scene.alive = set()
    scene.looks(20)
    scene.alive = {ME}
    assert taken(scene.looks(3)) == []
    scene.alive = {ME, OTHER, THIRD}
    assert taken(scene.looks(20)) == []


# a new worker


def test_a_worker_that_is_alone_takes_leases_while_its_jvm_starts(scene: Scene) -> None:
    scene.give(OTHER, "a", "b").alive = set()
    scene.own = STARTING
    assert taken(scene.looks(5)) == []
    assert shards(scene.look()) == ["a", "b"]


def test_a_starting_worker_takes_nothing_while_another_is_alive(scene: Scene) -> None:
    scene.give(OTHER, "a").give(THIRD, "b").give(None, "c")
    scene.own = STARTING
    assert taken(scene.looks(20)) == []


@pytest.mark.parametrize("sign", ["renews", "reports"])
def test_another_is_alive_if_it_renews_or_reports(scene: Scene, sign: str) -> None:
    scene.give(OTHER if sign == "renews" else THIRD, "a").give(THIRD, "b")
    scene.own = STARTING
    for _ in range(20):
        assert shards(scene.look()) == []
        if sign == "renews":
            scene.reports.pop(OTHER)


def test_an_initialised_worker_takes_leases_before_its_first_report(scene: Scene) -> None:
    scene.give(None, "a").alive = {OTHER}
    scene.own = STARTING
    assert taken(scene.looks(3)) == []
    scene.own = READY
    assert shards(scene.look()) == ["a"]


# slow looks, and none


def test_time_within_looks_does_not_count(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b").alive.remove(OTHER)
    assert taken([scene.look(lasting=30.0) for _ in range(5)]) == []
    assert shards(scene.look(lasting=30.0)) == ["b"]


def test_after_a_gap_the_time_restarts(scene: Scene) -> None:
    """An outage, or this worker stood still: the others may just be about to renew."""
    scene.give(ME, "a").give(OTHER, "b").alive.remove(OTHER)
    scene.looks(5)
    assert shards(scene.look(after=2 * FAILOVER + 1.0)) == []
    assert taken(scene.looks(4)) == []
    assert shards(scene.look()) == ["b"]


def test_after_a_look_that_failed_the_time_restarts(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b").alive.remove(OTHER)
    scene.looks(5)
    scene.takeover.forget()
    assert taken(scene.looks(5)) == []
    assert shards(scene.look()) == ["b"]


def test_a_lease_is_never_free_before_the_third_look(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b").alive.remove(OTHER)
    assert [shards(scene.look(after=2 * FAILOVER - 1.0)) for _ in range(3)] == [[], [], ["b"]]


def test_when_all_leases_are_free_after_an_outage_each_owner_keeps_its_own(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b")
    scene.looks(5)
    scene.alive = set()
    scene.looks(20)
    scene.alive = {ME, OTHER}
    assert taken(scene.looks(30)) == []


def test_after_a_gap_a_frozen_jvm_takes_nothing_not_even_what_is_free(scene: Scene) -> None:
    scene.give(OTHER, "b")
    scene.looks(5)
    scene.alive = {OTHER}
    scene.takeover.forget()
    scene.give(None, "c")
    assert taken(scene.looks(20)) == []
    scene.alive = {ME, OTHER}
    assert shards(scene.look()) == ["c"]


# shares


def test_free_leases_are_shared_among_the_living(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b").give(THIRD, "c", "d", "e")
    scene.looks(5)
    assert len(scene.obey(scene.look())) == 2
    assert scene.obey(scene.look()) == []


def test_whoever_has_its_share_takes_only_what_nobody_else_wants(scene: Scene) -> None:
    scene.give(ME, "a", "b").give(OTHER, "c").give(THIRD, "d")
    scene.looks(6)
    assert taken(scene.looks(int(OVERDUE_SECONDS) - 1)) == []
    assert shards(scene.look()) == ["d"]


def test_a_lease_without_an_owner_is_overdue_sooner(scene: Scene) -> None:
    scene.give(ME, "a", "b").give(OTHER, "c")
    scene.looks(6)
    scene.give(None, "d")
    assert taken(scene.looks(int(OVERDUE_SECONDS))) == []
    assert shards(scene.look()) == ["d"]


def test_the_dead_have_no_share(scene: Scene) -> None:
    scene.give(ME, "a").give(OTHER, "b").give(THIRD, "c", "d")
    scene.reports[THIRD] = 7
    scene.looks(5)
    scene.obey(scene.look())
    assert sum(lease.owner == ME for lease in scene.leases.values()) == 2


def test_no_more_than_the_most_are_taken() -> None:
    scene = Scene(Takeover(ME, FAILOVER, most=2), alive={ME})
    scene.give(ME, "a").give(OTHER, "b", "c", "d")
    scene.looks(5)
    assert len(scene.obey(scene.look())) == 1
    assert taken(scene.looks(20)) == []


def test_workers_prefer_different_leases() -> None:
    orders = set()
    for name in (f"worker-{number}" for number in range(8)):
        takeover = Takeover(name, FAILOVER)
        leases = [Lease(shard, None, "49", 0, 0, 0) for shard in "abcdefgh"]
        tables = Tables(Layout.THREE_TABLES, leases, [], None)
        orders.add(tuple(take.lease.shard for take in takeover.decide(tables, STARTING, 0.0, 0.0).takes))
    assert len(orders) > 4


# the leader's lock


def test_the_lock_of_a_silent_leader_is_removed(scene: Scene) -> None:
    scene.give(ME, "a").lock = Lock(OTHER, "1")
    scene.look()
    scene.alive = {ME}
    assert [decision.lock for decision in scene.looks(2 * int(FAILOVER) - 1) if decision.lock] == []
    assert scene.look().lock == Lock(OTHER, "1")


def test_a_lock_whose_leader_lives_is_let_be(scene: Scene) -> None:
    """Its heartbeats are far apart; that its worker renews or reports is enough."""
    scene.give(ME, "a").give(OTHER, "b").lock = Lock(OTHER, "1")
    assert [decision.lock for decision in scene.looks(60) if decision.lock] == []


def test_its_own_lock_is_removed_once_no_jvm_can_hold_it(scene: Scene) -> None:
    """A new JVM has the same id as the dead one, but does not know its lock."""
    scene.give(ME, "a").lock = Lock(ME, "1")
    assert [decision.lock for decision in scene.looks(int(OWN_LOCK_SECONDS)) if decision.lock] == []
    assert scene.look().lock == Lock(ME, "1")


def test_a_lock_that_changes_restarts_the_time(scene: Scene) -> None:
    scene.give(ME, "a").alive = {ME}
    for version in ("1", "2"):
        scene.lock = Lock(OTHER, version)
        assert [decision.lock for decision in scene.looks(10) if decision.lock] == []
    assert scene.look().lock == Lock(OTHER, "2")
