"""Simulated lives of workers that take leases from one another. Each is drawn from a seed and can be repeated.

Takeover and Taker are the real ones; the JVM, its record processors and DynamoDB are models. Workers are killed,
frozen, stopped and started, or only their JVMs; clocks drift and jump; DynamoDB becomes slow, throttles or does not
answer, for all of them or for one; shards split. Every write to a lease is checked when it happens, and after the last
trouble each lease must soon have an owner that reads it.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from random import Random

import pytest

from consumer.daemon.kcl_constants import LOCK_SECONDS
from consumer.leases.kcl_tables import Lease, Tables
from consumer.leases.takeover import LATE, OVERDUE_SECONDS, OWN_LOCK_SECONDS, Condition, Take, Takeover, _rows
from consumer.monitoring.metrics import LOCKS_REMOVED, Metric
from tests.faults.conftest import Note
from tests.support.simulation.lease_tables import MemoryLeases, new_lease, position
from tests.support.simulation.lease_workers import (
    Cluster,
    RemoteLeases,
    Shard,
    Trouble,
    Worker,
)
from tests.support.simulation.timeline import Clock, Timeline

LIVES = 3_000
LOOK_SECONDS = 1.0
"""From the read of the leases until the last of them is taken."""
PART = 50
MUTANTS = 3_000
"""So many lives find each fault that is put in on purpose: the first that does is among the first 400."""
HAPPENINGS = frozenset(
    {
        *("killed", "JVM killed", "frozen", "JVM frozen", "thawed", "stopped", "started", "split", "clock jumped"),
        *("Kinesis lost", "all: slow", "all: no answer", "all: slow reads", "all: slow writes", "all: throttled"),
        *("all: no writes", "all: throttled writes"),
        *("one: slow", "one: no answer", "one: slow writes", "take", "assign", "give back", "lock removed"),
    }
)
"""What must have occurred for the test to be meaningful."""


class Life:
    """One cluster, from its first worker to its last check."""

    takeover: type[Takeover] = Takeover
    store: type[RemoteLeases] = RemoteLeases
    tables: type[MemoryLeases] = MemoryLeases

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.seen: Counter[str] = Counter()
        self.failover = self.random.choice((3.0, 5.0, 5.0, 10.0))
        self.cluster = Cluster(Timeline(), self.random, self.tables(self._wrote), self.failover, held=self._held)
        self.cluster.measure = self._measure
        self.resting = False
        self.quiet_since = 0.0
        self.written: dict[str, float] = {}
        self.assigned: dict[str, float] = {}
        self.slowest = 0.0
        self._past: list[Trouble] = []
        for number in range(self.random.randint(1, 5)):
            self._open(f"shard-{number}", self.now)
        for _ in range(self.random.randint(1, 3)):
            self._start()
        self.acts = (
            *(self._kill, self._kill_jvm, self._freeze, self._freeze_jvm, self._thaw, self._thaw, self._stop),
            *(self._start, self._start, self._split, self._jump, self._lose_kinesis, self._find_kinesis),
            *(self._trouble_for_all, self._trouble_for_all, self._trouble_for_one),
        )

    @property
    def now(self) -> float:
        return self.cluster.timeline.now

    def live(self) -> None:
        try:
            self._pass(self.random.choice((5.0, 20.0, 40.0)))
            for _ in range(self.random.randint(1, 8)):
                self.random.choice(self.acts)()
                self._pass(self.random.choice((0.2, 2.0, 5.0, 15.0)))
            self._make_peace()
            self._await_owners()
            self._await_leader()
            self._pass(2 * self.failover)
            self.resting = True
            self._pass(3 * self.failover)
        finally:
            for worker in self.cluster.workers:
                worker.kill()

    def _pass(self, seconds: float) -> None:
        self.cluster.timeline.run_until(self.now + seconds)

    # after the troubles

    def _make_peace(self) -> None:
        """The troubles end. A worker that is frozen may remain so for good."""
        self._pass(max([0.0, *(trouble.ends - self.now for trouble in self._past)]))
        for worker in self.cluster.workers:
            if not worker.reaches_kinesis:
                worker.disturb()
            worker.reaches_kinesis = True
            if self.random.random() < 0.5:
                self._thawed(worker)
        if not any(worker.works for worker in self.cluster.workers):
            for _ in range(self.random.randint(1, 2)):
                self._start()

    def _await_owners(self) -> None:
        """Each lease must be read soon after the last trouble, or after its parent was read to its end."""
        began = self.now
        bound = 1.7 * self.failover + OVERDUE_SECONDS + 6.0
        since: dict[str, float] = {}
        while unread := [lease.shard for lease in self._open_leases() if not self._is_read(lease, began)]:
            self.slowest = max(self.slowest, *(self.now - since.setdefault(shard, self.now) for shard in unread), 0.0)
            assert self.slowest <= bound, f"{unread} not read {bound:.1f} s after the last trouble"
            self._pass(0.5)

    def _await_leader(self) -> None:
        """Twice a heartbeat may pass: with the first, a leader that was frozen finds that it is none any more.

        And a worker may have to find that the lock with its id is not held by its JVM.
        """
        ends = self.now + 4 * self.failover + 2 * self.cluster.heartbeat + OWN_LOCK_SECONDS
        while not self._is_led():
            assert self.now < ends, "no leader after the last trouble"
            self._pass(2.0)

    def _open_leases(self) -> list[Lease]:
        leases = self.cluster.tables.leases
        return [lease for lease in leases.values() if not lease.ended and not self._waits(lease)]

    def _waits(self, lease: Lease) -> bool:
        leases = self.cluster.tables.leases
        return any(parent in leases and not leases[parent].ended for parent in lease.parents)

    def _is_read(self, lease: Lease, since: float) -> bool:
        owner = self._worker(lease.owner)
        held = owner.jvm.held.get(lease.shard) if owner and owner.works else None
        return held is not None and held.read_at is not None and held.read_at > since

    def _is_led(self) -> bool:
        lock = self.cluster.tables.lock
        leader = self._worker(lock.owner) if lock else None
        return leader is not None and leader.works and leader.jvm.leads

    def _worker(self, name: str | None) -> Worker | None:
        return next((worker for worker in self.cluster.workers if worker.id == name), None)

    # what is checked at each write

    def _wrote(self, operation: str, name: str | None, seen: Lease, old: Lease, new: Lease) -> None:
        self.seen[operation] += 1
        # The leader assigns, and an owner gives back, whatever the counter is.
        same = seen.owner == old.owner and (seen.counter == old.counter or operation in ("assign", "give back"))
        assert same, f"{operation} of {old.shard} by {name}, who had not seen its last state"
        assert new.counter == old.counter + 1, f"{operation} of {old.shard} does not refuse others"
        still = self.now - self.written.get(old.shard, self.now)
        self.written[old.shard] = self.now
        if operation == "assign":
            self.assigned[old.shard] = self.now
        if operation == "checkpoint":
            self._check_checkpoint(old, new)
        else:
            assert new.checkpoint == old.checkpoint, f"{operation} of {old.shard} changes its checkpoint"
        if operation == "take":
            taker = self._worker(name)
            assert taker
            assert not (self.resting and old.owner), f"{name} takes {old.shard} although all are read"
            self._check_taker(taker)
            self._check_previous(old, taker)
            # Whoever sees that a lease is free for long takes it, beyond its share. After a jump of the clock it seems
            # to be free for longer: by half of the failover time, as Takeover counts no more between two looks.
            jumped = self.failover / 2 if self.now < taker.disturbed + 2 * self.failover else 0.0
            if still + jumped < OVERDUE_SECONDS + (self.failover if old.owner else 0.0):
                self._check_share(old, taker)

    def _check_checkpoint(self, old: Lease, new: Lease) -> None:
        shard = self.cluster.shards[old.shard]
        assert new.ended or not old.ended, f"checkpoint of {old.shard} after its end"
        end = shard.length if new.ended else position(new.checkpoint)
        assert end is not None
        assert end >= position(old.checkpoint), f"checkpoint of {old.shard} goes back"
        assert shard.read.issuperset(range(position(old.checkpoint), end)), f"records of {old.shard} are lost"

    def _check_taker(self, taker: Worker) -> None:
        """A worker that cannot read takes nothing, once it can know it."""
        known = self.failover * LATE * 1.1 + 3.0
        since = max(taker.disturbed, self.quiet_since)
        frozen = taker.jvm.process.frozen and taker.jvm.initialised and self.now > since + known
        assert not frozen, f"{taker.id} takes a lease with a frozen JVM"
        assert taker.reaches_kinesis or self.now < taker.disturbed + 5.0, f"{taker.id} takes a lease without Kinesis"
        assert not taker.stopping or self.now < taker.disturbed + 5.0, f"{taker.id} takes a lease at its end"

    def _check_previous(self, old: Lease, taker: Worker) -> None:
        owner = self._worker(old.owner)
        if owner is None or not self._is_healthy(owner):
            return
        assert self._are_writes_worse(taker), f"{taker.id} takes {old.shard} from {owner.id}, which is healthy"
        self.seen["taken as writes failed"] += 1

    def _check_share(self, old: Lease, taker: Worker) -> None:
        if self.now < self.quiet_since + 2 * self.failover + 10.0:
            return
        healthy = {worker.id for worker in self.cluster.workers if self._is_healthy(worker)} | {taker.id}
        leases = [lease for lease in self.cluster.tables.leases.values() if not lease.ended]
        mine = sum(lease.owner == taker.id and not self._is_new(lease) for lease in leases) + 1
        self.seen["shares"] += 1
        assert mine <= math.ceil(len(leases) / len(healthy)), f"{taker.id} takes more than its share: {old.shard}"

    def _is_new(self, lease: Lease) -> bool:
        """Whether the leader has assigned it since the look of a worker that takes another one now."""
        return self.now - self.assigned.get(lease.shard, -math.inf) < LOOK_SECONDS

    def _is_healthy(self, worker: Worker) -> bool:
        """Its JVM renews and reads, and has done so for some time as far as it alone is concerned."""
        calm = self.now > worker.disturbed + 2 * self.failover + 8.0
        return worker.works and worker.jvm.initialised and not worker.supervisor.frozen and calm

    def _are_writes_worse(self, taker: Worker) -> bool:
        """Whether renewals failed or were late while the leases could be read.

        Nobody can know then that the owner of a lease lives: KCL's leader assigns it to another worker as well. A
        renewal that was sent just before the end of the trouble is late by as much as the others. A taker that was
        frozen meanwhile has not noticed that they could not be read either.
        """
        frozen = self.now < taker.disturbed + 2 * self.failover
        return any(
            trouble.worker is None
            and self.now < trouble.ends + self.failover + trouble.late
            and (trouble.failing > 0.0 or not trouble.reads or frozen)
            for trouble in self._past
        )

    def _held(self, worker: Worker, lease: Lease) -> None:
        for other in self.cluster.workers:
            held = other.jvm.held.get(lease.shard)
            same = held is not None and other is not worker and held.lease.counter == lease.counter
            assert not (same and other.jvm.process.alive), f"{worker.id} and {other.id} hold {lease.shard}"

    def _measure(self, metric: Metric, value: float, *_: str) -> None:
        if metric is LOCKS_REMOVED:
            self.seen["lock removed"] += int(value)

    # what may happen

    def _open(self, name: str, opened: float) -> None:
        self.cluster.shards[name] = Shard(name, opened)
        self.cluster.tables.create([new_lease(name)])

    def _start(self) -> None:
        if sum(worker.supervisor.alive for worker in self.cluster.workers) > 3:
            return
        clock = Clock(self.cluster.timeline, self.random.uniform(0.99, 1.01), self.random.choice((4.0, 1_000.0)))
        clock.jump(-self.now * clock.rate)
        name = f"worker-{len(self.cluster.workers)}"
        worker = Worker(self.cluster, name, clock, self.takeover(name, self.failover), self.store)
        self.cluster.workers.append(worker)
        self.seen["started"] += 1

    def _any(self, suits: Callable[[Worker], bool] = lambda _worker: True) -> Worker | None:
        living = [worker for worker in self.cluster.workers if worker.supervisor.alive and suits(worker)]
        if not living:
            return None
        worker = self.random.choice(living)
        worker.disturb()
        return worker

    def _kill(self) -> None:
        if worker := self._any():
            worker.kill()
            self.seen["killed"] += 1

    def _kill_jvm(self) -> None:
        if worker := self._any(lambda worker: worker.jvm.process.alive):
            worker.jvm.process.kill()
            worker.disturb(8.0)
            self.seen["JVM killed"] += 1

    def _freeze(self) -> None:
        if worker := self._any():
            worker.supervisor.freeze()
            worker.jvm.process.freeze()
            self.seen["frozen"] += 1

    def _freeze_jvm(self) -> None:
        if worker := self._any():
            worker.jvm.process.freeze()
            self.seen["JVM frozen"] += 1

    def _thaw(self) -> None:
        if worker := self._any(lambda worker: worker.jvm.process.frozen or worker.supervisor.frozen):
            self._thawed(worker)

    def _thawed(self, worker: Worker) -> None:
        if worker.jvm.process.frozen or worker.supervisor.frozen:
            self.seen["thawed"] += 1
            worker.disturb()
            worker.supervisor.thaw()
            worker.jvm.process.thaw()

    def _stop(self) -> None:
        if worker := self._any(lambda worker: not worker.stopping):
            worker.stop()
            self.seen["stopped"] += 1

    def _split(self) -> None:
        open_shards = [shard for shard in self.cluster.shards.values() if shard.length is None]
        if len(self.cluster.shards) > 6:
            return
        shard = self.random.choice(open_shards)
        shard.length = shard.arrived(self.now)
        shard.children = [Shard(f"{shard.name}-{side}", self.now, (shard.name,)) for side in ("left", "right")]
        self.cluster.shards |= {child.name: child for child in shard.children}
        self.quiet_since = max(self.quiet_since, self.now)
        self.seen["split"] += 1

    def _jump(self) -> None:
        """As after the machine was suspended."""
        if worker := self._any():
            worker.clock.jump(self.random.choice((1.0, self.failover, 60.0)))
            self.seen["clock jumped"] += 1

    def _lose_kinesis(self) -> None:
        if worker := self._any():
            worker.reaches_kinesis = False
            self.seen["Kinesis lost"] += 1

    def _find_kinesis(self) -> None:
        if worker := self._any(lambda worker: not worker.reaches_kinesis):
            worker.reaches_kinesis = True

    def _trouble_for_all(self) -> None:
        self._trouble(None)

    def _trouble_for_one(self) -> None:
        if worker := self._any():
            self._trouble(worker)

    def _trouble(self, worker: Worker | None) -> None:
        ends = self.now + self.random.choice((3.0, 10.0, 30.0))
        seconds = self.random.choice((0.5, 2.0, 4.0, 12.0))
        kind, trouble = self.random.choice(
            (
                ("slow", Trouble(ends, seconds=seconds)),
                ("slow", Trouble(ends, seconds=seconds)),
                ("no answer", Trouble(ends, seconds=math.inf)),
                ("slow reads", Trouble(ends, writes=False, seconds=seconds)),
                ("slow writes", Trouble(ends, reads=False, seconds=seconds)),
                ("throttled", Trouble(ends, failing=self.random.choice((0.2, 0.7)))),
                ("throttled writes", Trouble(ends, reads=False, failing=0.7)),
                ("no writes", Trouble(ends, reads=False, seconds=math.inf)),
            )
        )
        self.cluster.troubles.append(replace(trouble, worker=worker.id if worker else None))
        self._past.append(self.cluster.troubles[-1])
        self.seen[f"{'one' if worker else 'all'}: {kind}"] += 1
        if worker:
            worker.disturb(ends - self.now)
        else:
            self.quiet_since = max(self.quiet_since, ends)


def lived(seed: int, make: Callable[[int], Life] = Life) -> Life:
    """Runs one seed. The error names the seed."""
    life = make(seed)
    try:
        life.live()
    except BaseException as wrong:
        wrong.add_note(f"seed {seed}: to live it again, CONSUMER_TEST_SEED={seed}")
        raise
    return life


@dataclass(frozen=True)
class Lives:
    """What happened in some lives, and how long the slowest recovery took. `failed`: the seed of the first failure."""

    seen: Counter[str]
    slowest: float = 0.0
    failed: int | None = None


def lives(seeds: Iterable[int]) -> Lives:
    logging.disable()  # so many lives have more to log than anybody reads
    seen: Counter[str] = Counter()
    slowest = 0.0
    try:
        for seed in seeds:
            try:
                life = lived(seed)
            except AssertionError:
                return Lives(seen, slowest, seed)
            seen += life.seen
            slowest = max(slowest, life.slowest)
    finally:
        logging.disable(logging.NOTSET)
    return Lives(seen, slowest)


def test_every_life_ends_well(seed: int, note: Note, others: Executor) -> None:
    parts = [range(first, first + PART) for first in range(seed, seed + LIVES, PART)]
    seen: Counter[str] = Counter()
    slowest = 0.0
    for part in others.map(lives, parts):
        if part.failed is not None:
            lived(part.failed)
            raise AssertionError(f"seed {part.failed} went wrong, but not a second time")
        seen += part.seen
        slowest = max(slowest, part.slowest)
    note(f"{LIVES} lives from seed {seed}, read again after {slowest:.1f} s at the most: {dict(sorted(seen.items()))}")
    assert seen.keys() >= HAPPENINGS


def test_a_seed_is_one_and_the_same_life_everywhere(seed: int, others: Executor) -> None:
    seeds = range(seed, seed + 20)
    assert lives(seeds) == others.submit(lives, seeds).result()


# faults that are put in on purpose


class TakesWhatItHasNotSeen(Life):
    class tables(MemoryLeases):  # noqa: N801
        def _is_same(self, seen: Lease, now: Lease) -> bool:
            return seen.owner == now.owner


class KeepsTheCounter(Life):
    class tables(MemoryLeases):  # noqa: N801
        def _write(self, operation: str, worker: str | None, seen: Lease, new: Lease) -> bool:
            return super()._write(operation, worker, seen, replace(new, counter=self.leases[new.shard].counter))


class StartsOver(Life):
    class tables(MemoryLeases):  # noqa: N801
        def _write(self, operation: str, worker: str | None, seen: Lease, new: Lease) -> bool:
            return super()._write(operation, worker, seen, replace(new, checkpoint="0"))


class CountsAllTime(Life):
    """Also the time within requests, and that of an outage."""

    class takeover(Takeover):  # noqa: N801
        def forget(self) -> None:
            """Does not."""

        def _remember(self, tables: Tables, own: Condition, _began: float, ended: float) -> None:
            passed = 0.0 if self._looked is None else ended - self._looked
            rows = _rows(tables, self._worker, own)
            self._seen = {key: self._seen_again(key, row, passed) for key, row in rows}
            self._looked = ended


class TakesTooEarly(Life):
    class takeover(Takeover):  # noqa: N801
        def __init__(self, worker: str, failover: float) -> None:
            super().__init__(worker, failover / 4)


class IgnoresItsOwnJvm(Life):
    class takeover(Takeover):  # noqa: N801
        def _is_able(self, *_: object, **__: object) -> bool:
            return True

        def _is_stuck(self, _leases: object) -> bool:
            return False


class TakesEverything(Life):
    class takeover(Takeover):  # noqa: N801
        def _is_overdue(self, _take: Take) -> bool:
            return True


class TakesNothing(Life):
    class takeover(Takeover):  # noqa: N801
        def _takes(self, *_: object) -> list[Take]:
            return []


class LeavesTheLock(Life):
    class takeover(Takeover):  # noqa: N801
        def _silent(self, *_: object) -> None:
            return None


class LooksAtTheLockAsOftenAsTheKcl(Life):
    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.cluster.heartbeat = float(LOCK_SECONDS.before)


class TakesWithoutTheStream(Life):
    def _start(self) -> None:
        super()._start()
        for worker in self.cluster.workers:
            worker.reaches_stream = lambda: True  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (TakesWhatItHasNotSeen, "had not seen its last state"),
        (KeepsTheCounter, "does not refuse others"),
        (StartsOver, "changes its checkpoint"),
        (CountsAllTime, "which is healthy"),
        (TakesTooEarly, "which is healthy"),
        (IgnoresItsOwnJvm, "with a frozen JVM"),
        (TakesEverything, "more than its share"),
        (TakesNothing, "not read"),
        (LeavesTheLock, "no leader"),
        (LooksAtTheLockAsOftenAsTheKcl, "not read"),
        (TakesWithoutTheStream, "without Kinesis"),
    ],
)
def test_a_fault_that_is_put_in_on_purpose_is_found(seed: int, fault: type[Life], found: str) -> None:
    assert any(found in problem for problem in problems(range(seed, seed + MUTANTS), fault))


def problems(seeds: Iterable[int], make: Callable[[int], Life]) -> Iterator[str]:
    logging.disable()
    try:
        for seed in seeds:
            try:
                lived(seed, make)
            except AssertionError as wrong:
                yield str(wrong)
    finally:
        logging.disable(logging.NOTSET)


def test_a_life_that_ends_badly_tells_its_seed() -> None:
    with pytest.raises(AssertionError, match="changes its checkpoint") as wrong:
        lived(7, StartsOver)
    assert wrong.value.__notes__ == ["seed 7: to live it again, CONSUMER_TEST_SEED=7"]
