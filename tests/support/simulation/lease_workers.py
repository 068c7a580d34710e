"""Workers with their leases in simulated time: the real Takeover and Taker, and a model of the JVM with KCL 3.1.3.

A model of KCL's classes: DynamoDBLeaseRenewer, DynamoDBLeaseDiscoverer, WorkerMetricStatsReporter,
DynamoDBLockBasedLeaderDecider with its lock client, LeaseAssignmentManager, and a consumer for each shard.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from random import Random
from typing import Any

from consumer.daemon import kcl_constants
from consumer.leases.kcl_tables import SHARD_END, Layout, Lease, Lock, Tables
from consumer.leases.takeover import Condition, Takeover
from consumer.leases.taking import EVERY_SECONDS, GIVE_BACK_SECONDS, JITTER, Taker
from consumer.monitoring.metrics import Sink
from consumer.supervisor.lease_taking import STARVED_SECONDS
from tests.support.simulation.lease_tables import MemoryLeases, new_lease, position
from tests.support.simulation.timeline import Blocking, Clock, Process, Reply, Request, Steps, Timeline, Unanswered

LOCK_SECONDS = 120.0
ASSIGNMENT_SECONDS = 2.0
BALANCE_EVERY = 30
SUPERVISOR_TIMEOUT, JVM_TIMEOUT = 3.0, 15.0
GRACE_SECONDS = 15.0
IDLE_SECONDS = 1.0
RECONNECT_SECONDS = 2.0
"""After nothing was answered, not all connections are back at once."""


@dataclass
class Shard:
    """Two records per second arrive until it is closed, with `length` records then."""

    name: str
    opened: float
    parents: tuple[str, ...] = ()
    length: int | None = None
    children: Sequence["Shard"] = ()
    read: set[int] = field(default_factory=set)

    def arrived(self, now: float) -> int:
        return self.length if self.length is not None else int(2 * (now - self.opened))


@dataclass(frozen=True)
class Trouble:
    """What is wrong with DynamoDB until `ends`: `seconds` for a request, or `failing` requests of all.

    `worker`: the only worker that notices; None for all of them. `seconds` is infinite if nothing is answered.
    """

    ends: float
    worker: str | None = None
    reads: bool = True
    writes: bool = True
    seconds: float = 0.0
    failing: float = 0.0

    @property
    def late(self) -> float:
        """How much later than its end a request is answered that was sent just before it."""
        return self.seconds if self.seconds < inf else RECONNECT_SECONDS

    def concerns(self, worker: str, now: float, *, write: bool) -> bool:
        return now < self.ends and self.worker in (None, worker) and (self.writes if write else self.reads)


@dataclass
class Cluster:
    """The stream, the tables and the workers.

    held       called when a worker has got or renewed a lease
    heartbeat  seconds between two looks at the leader's lock
    """

    timeline: Timeline
    random: Random
    tables: MemoryLeases
    failover: float
    shards: dict[str, Shard] = field(default_factory=dict)
    workers: list["Worker"] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    held: Callable[["Worker", Lease], None] = lambda _worker, _lease: None
    measure: Sink = lambda *_: None
    heartbeat: float = float(kcl_constants.LOCK_SECONDS.after)

    def request(self, worker: str, call: Callable[[], Any], timeout: float, *, write: bool) -> Request:
        return partial(self._send, worker, call, timeout, write)

    def _send(self, worker: str, call: Callable[[], Any], timeout: float, write: bool, reply: Reply) -> None:
        now, random = self.timeline.now, self.random
        seconds = random.uniform(0.005, 0.06)
        for trouble in self.troubles:
            if trouble.concerns(worker, now, write=write):
                if random.random() < trouble.failing:
                    return self.timeline.after(seconds, partial(reply, Unanswered("throttled")))
                left = trouble.ends - now + seconds
                if trouble.seconds == inf:
                    seconds = min(timeout, left + RECONNECT_SECONDS * random.random())
                    return self.timeline.after(seconds, partial(reply, Unanswered("no connection")))
                # Once DynamoDB recovers, it answers what it has accepted.
                seconds = max(seconds, min(trouble.seconds * random.uniform(0.3, 1.0), left))
        return self._answer(call, seconds, timeout, reply)

    def _answer(self, call: Callable[[], Any], seconds: float, timeout: float, reply: Reply) -> None:
        applied = seconds * self.random.random()

        def apply() -> None:
            result = call()
            if seconds <= timeout:
                self.timeline.after(seconds - applied, lambda: reply(result))

        self.timeline.after(applied, apply)
        if seconds > timeout:
            self.timeline.after(timeout, partial(reply, Unanswered("timeout")))


@dataclass(eq=False)
class Held:
    """A lease in the memory of a JVM. `renewed`: when, by its clock; `read_at`: when its last batch came."""

    lease: Lease
    renewed: float
    busy: bool = False
    consumed: bool = False
    read_at: float | None = None


class Jvm:
    """The JVM of a worker with its record processors."""

    def __init__(self, worker: "Worker") -> None:
        self.worker, self.cluster = worker, worker.cluster
        self.process = Process(worker.cluster.timeline, worker.clock)
        self.initialised = self.stopping = self.leads = False
        self.held: dict[str, Held] = {}
        self.last_batch: float | None = None
        self.lock: Lock | None = None
        self._beat = self._paused_until = 0.0
        self._assigner = Assigner(self)
        self.process.run(self._main())

    def read(self, call: Callable[[], Any]) -> Request:
        return self.cluster.request(self.worker.id, call, JVM_TIMEOUT, write=False)

    def write(self, call: Callable[[], Any]) -> Request:
        return self.cluster.request(self.worker.id, call, JVM_TIMEOUT, write=True)

    def _main(self) -> Steps:
        yield self.cluster.random.uniform(1.5, 4.0)
        found: Any = Unanswered()
        while isinstance(found, Unanswered):
            [found] = yield [self.read(self.cluster.tables.read_leases)]
            yield 0.2
        mine = [lease for lease in found if lease.owner == self.worker.id and not lease.ended]
        # DynamoDBLeaseRenewer.initialize renews what carries this id, whether expired or not.
        renewed = (yield [self._renewal(lease) for lease in mine]) if mine else []
        self._hold(lease for lease, done in zip(mine, renewed, strict=True) if done is True)
        self.initialised = True
        for steps in (self._renew, self._discover, self._dispatch, self._report, self._lead, self._assigner.run):
            self.process.run(steps())

    def _renewal(self, lease: Lease) -> Request:
        return self.write(partial(self.cluster.tables.renew, lease, self.worker.id))

    def _hold(self, leases: Iterable[Lease], renewals: int = 1) -> None:
        for lease in leases:
            held = Held(replace(lease, counter=lease.counter + renewals), self.process.clock())
            self.held[lease.shard] = held
            self.cluster.held(self.worker, held.lease)

    # leases

    def is_held(self, shard: str, held: Held) -> bool:
        fresh = self.process.clock() - held.renewed <= self.cluster.failover
        return self.held.get(shard) is held and fresh

    def _drop(self, shard: str, held: Held) -> None:
        if self.held.get(shard) is held:
            del self.held[shard]

    def _renew(self) -> Steps:
        while True:
            began = self.process.clock()
            for shard, held in list(self.held.items()):
                if not self.is_held(shard, held):
                    self._drop(shard, held)
            due = [held for held in self.held.values() if not held.busy]
            yield from self._update(due, [self._renewal(held.lease) for held in due])
            yield max(0.01, began + self.cluster.failover / 3 - self.process.clock())

    def _update(self, due: Sequence[Held], requests: Sequence[Request]) -> Steps:
        if not due:
            return
        for held in due:
            held.busy = True
        results = yield requests
        for held, result in zip(due, results, strict=True):
            held.busy = False
            if result is True:
                held.lease = replace(held.lease, counter=held.lease.counter + 1)
                held.renewed = self.process.clock()
                self.cluster.held(self.worker, held.lease)
            elif result is False:
                self._drop(held.lease.shard, held)

    def _discover(self) -> Steps:
        while True:
            yield ASSIGNMENT_SECONDS / 2
            [found] = yield [self.read(self.cluster.tables.read_leases)]
            if not isinstance(found, Unanswered):
                new = (lease for lease in found if lease.shard not in self.held and not lease.ended)
                self._hold([lease for lease in new if lease.owner == self.worker.id], renewals=0)

    def _report(self) -> Steps:
        yield 1.0
        while not self.stopping:
            now = self.cluster.timeline.now
            yield [self.write(partial(self.cluster.tables.report, self.worker.id, int(now)))]
            yield self.cluster.failover / 2

    # the leader

    def _lead(self) -> Steps:
        seen: Lock | None = None
        since = self.process.clock()
        while not self.stopping:
            if self.leads:
                yield from self._put_lock(self.lock)
                if self.process.clock() - self._beat > LOCK_SECONDS:
                    self.leads = False
            else:
                [found] = yield [self.read(self.cluster.tables.read_lock)]
                now = self.process.clock()
                if found != seen:
                    seen, since = found, now
                # A machine that has been up for less than two minutes does not see the lock of another expire.
                expired = now > LOCK_SECONDS and now - since >= LOCK_SECONDS
                if not isinstance(found, Unanswered) and (found is None or expired):
                    yield from self._put_lock(found)
            yield self.cluster.heartbeat

    def _put_lock(self, seen: Lock | None) -> Steps:
        [lock] = yield [self.write(partial(self.cluster.tables.put_lock, self.worker.id, seen))]
        if not isinstance(lock, Unanswered):
            # The lock client pauses after a lost race, and the main loop waits for it.
            self._paused_until = 0.0 if lock else self.process.clock() + self.cluster.heartbeat
            self.leads, self.lock, self._beat = lock is not None, lock, self.process.clock()

    # records

    def _dispatch(self) -> Steps:
        """Scheduler.runProcessLoop: a record processor for each lease that is held."""
        while not self.stopping:
            yield max(0.0, self._paused_until - self.process.clock())
            for shard, held in self.held.items():
                if not held.consumed and self.is_held(shard, held):
                    held.consumed = True
                    self.process.run(self._consume(shard, held))
            yield 1.0

    def _consume(self, shard: str, held: Held) -> Steps:
        yield from self._process(shard, held)
        held.consumed = False

    def _process(self, shard: str, held: Held) -> Steps:
        yield self.cluster.random.uniform(0.6, 1.6)
        [found] = yield [self.read(self.cluster.tables.read_leases)]
        if isinstance(found, Unanswered):
            return
        lease = next(each for each in found if each.shard == shard)
        if lease.ended:
            # Discovered from an answer that was older than its end.
            self._drop(shard, held)
            return
        done = read = position(lease.checkpoint)
        while self.is_held(shard, held) and not self.stopping:
            if self.worker.reaches_kinesis:
                read = self._batch(shard, read)
                held.read_at = self.last_batch = self.cluster.timeline.now
            if read == self.cluster.shards[shard].length:
                yield from self._end(shard, held)
            elif read > done and not held.busy and self.cluster.random.random() < 0.3:
                yield from self._checkpoint(held, str(read))
                done = read
            yield IDLE_SECONDS
        ended = read == self.cluster.shards[shard].length
        if self.stopping and done < read and not ended and self.is_held(shard, held) and not held.busy:
            yield from self._checkpoint(held, str(read))

    def _batch(self, name: str, read: int) -> int:
        shard = self.cluster.shards[name]
        end = min(shard.arrived(self.cluster.timeline.now), read + 20)
        shard.read.update(range(read, end))
        return end

    def _checkpoint(self, held: Held, checkpoint: str) -> Steps:
        call = partial(self.cluster.tables.checkpoint, held.lease, self.worker.id, checkpoint)
        yield from self._update([held], [self.write(call)])

    def _end(self, name: str, held: Held) -> Steps:
        children = self.cluster.shards[name].children
        leases = [new_lease(child.name, child.parents) for child in children]
        [created] = yield [self.write(partial(self.cluster.tables.create, leases))]
        if not isinstance(created, Unanswered) and not held.busy and self.is_held(name, held):
            yield from self._checkpoint(held, SHARD_END)
            if self.cluster.tables.leases[name].ended:
                self._drop(name, held)

    # the end

    def stop(self) -> None:
        """SIGTERM: the record processors checkpoint, the lock is released."""
        self.stopping = True
        self.process.run(self._shut_down())

    def _shut_down(self) -> Steps:
        yield self.cluster.random.uniform(1.2, 4.0)
        if self.leads and self.lock:
            yield [self.write(partial(self.cluster.tables.remove_lock, self.lock))]
        self.process.timeline.after(0.0, self.process.kill)


class Assigner:
    """The rounds of LeaseAssignmentManager on the leader."""

    def __init__(self, jvm: Jvm) -> None:
        self._jvm, self._tables = jvm, jvm.cluster.tables
        self._seen: dict[str, tuple[int, float]] = {}
        self._rounds = 0

    def run(self) -> Steps:
        while True:
            yield ASSIGNMENT_SECONDS
            if not self._jvm.leads:
                self._seen, self._rounds = {}, 0
                continue
            read = self._jvm.read
            leases, reports = yield [read(self._tables.read_leases), read(self._tables.read_reports)]
            if not isinstance(leases, Unanswered) and not isinstance(reports, Unanswered):
                requests = self._assignments([each for each in leases if not each.ended], reports)
                if requests:
                    yield requests

    def _assignments(self, leases: Sequence[Lease], reports: Sequence[Any]) -> list[Request]:
        now = self._jvm.process.clock()
        self._seen = {lease.shard: self._since(lease, now) for lease in leases}
        # Reports come twice in the failover time; two may be missing.
        recent = self._jvm.cluster.timeline.now - self._jvm.cluster.failover
        loads = {report.worker: 0 for report in reports if report.at >= recent}
        for lease in leases:
            if lease.owner in loads:
                loads[lease.owner] += 1
        if not loads:
            return []
        moves = [(lease, self._least(loads)) for lease in leases if self._is_expired(lease, now)]
        self._rounds += 1
        if not moves and self._rounds % BALANCE_EVERY == 1:
            moves = self._balanced(leases, loads)
        return [self._jvm.write(partial(self._tables.assign, lease, worker)) for lease, worker in moves]

    def _since(self, lease: Lease, now: float) -> tuple[int, float]:
        before = self._seen.get(lease.shard)
        return before if before and before[0] == lease.counter else (lease.counter, now)

    def _is_expired(self, lease: Lease, now: float) -> bool:
        return lease.owner is None or now - self._seen[lease.shard][1] > self._jvm.cluster.failover

    def _least(self, loads: dict[str, int]) -> str:
        worker = min(loads, key=lambda each: (loads[each], each))
        loads[worker] += 1
        return worker

    def _balanced(self, leases: Sequence[Lease], loads: dict[str, int]) -> list[tuple[Lease, str]]:
        most, least = max(loads, key=lambda each: loads[each]), min(loads, key=lambda each: loads[each])
        mine = [lease for lease in leases if lease.owner == most]
        return [(mine[0], least)] if mine and loads[most] - loads[least] > 1 else []


class Worker:
    """A worker: its supervisor, which takes leases, and its JVM. Implements taking.Worker.

    `disturbed`: until when something was wrong with this worker alone.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        clock: Clock,
        takeover: Takeover,
        make_store: Callable[["Worker"], "RemoteLeases"],
    ) -> None:
        self.cluster, self.clock = cluster, clock
        self.id = name
        self.supervisor = Process(cluster.timeline, clock)
        self.stopping = False
        self.reaches_kinesis = True
        self.started = self.disturbed = cluster.timeline.now
        self.taker = Taker(self, make_store(self), takeover, cluster.measure, clock)
        self.jvm = Jvm(self)
        self.supervisor.run(Blocking(self._look))
        self.supervisor.run(self._watch())

    def condition(self) -> Condition:
        last = self.jvm.last_batch
        # Without a record processor there is no last batch.
        starved = bool(self.jvm.held) and last is not None
        starved = starved and self.cluster.timeline.now - (last or 0.0) > STARVED_SECONDS + 2 * IDLE_SECONDS
        return Condition(self.jvm.process.alive and not self.stopping, self.jvm.initialised, starved)

    def reaches_stream(self) -> bool:
        def ask(reply: Reply) -> None:
            answer: Any = True if self.reaches_kinesis else Unanswered("the stream")
            self.cluster.timeline.after(0.02 if self.reaches_kinesis else SUPERVISOR_TIMEOUT, partial(reply, answer))

        [answer] = Blocking.wait([ask])
        return answer is True

    @property
    def works(self) -> bool:
        """Whether its JVM runs, renews and reads."""
        jvm = self.jvm.process
        return self.supervisor.alive and jvm.alive and not (jvm.frozen or self.stopping) and self.reaches_kinesis

    def disturb(self, seconds: float = 0.0) -> None:
        self.disturbed = max(self.disturbed, self.cluster.timeline.now + seconds)

    def kill(self) -> None:
        self.jvm.process.kill()
        self.supervisor.kill()

    def stop(self) -> None:
        if not self.stopping:
            self.stopping = True
            self.supervisor.run(self._stop())

    def _look(self) -> None:
        while not self.stopping:
            with suppress(Unanswered):
                self.taker.look()
            Blocking.wait(EVERY_SECONDS + self.cluster.random.uniform(-JITTER, JITTER))

    def _watch(self) -> Steps:
        """Starts a new JVM under the same id when the last one has died."""
        while not self.stopping:
            yield 1.0
            if not self.jvm.process.alive and not self.stopping:
                yield self.cluster.random.uniform(0.0, 2.0)
                if not self.stopping:
                    self.jvm = Jvm(self)

    def _stop(self) -> Steps:
        self.jvm.stop()
        ends = self.clock() + GRACE_SECONDS
        while self.jvm.process.alive and self.clock() < ends:
            yield 0.1
        self.jvm.process.kill()
        # periodic.every waits for a look that is under way.
        yield 0.1
        self.supervisor.run(Blocking(self.taker._try_to_give_back))
        yield GIVE_BACK_SECONDS
        self.cluster.timeline.after(0.0, self.supervisor.kill)


class RemoteLeases:
    """The tables as a supervisor reaches them: every operation is a request. Implements taking.LeaseStore."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._tables = worker.cluster.tables

    def read(self) -> Tables | None:
        read = partial(self._request, write=False)
        leases, reports = read(self._tables.read_leases), read(self._tables.read_reports)
        return Tables(Layout.THREE_TABLES, leases, reports, read(self._tables.read_lock))

    def take(self, lease: Lease, worker: str) -> bool:
        return bool(self._request(partial(self._tables.take, lease, worker), write=True))

    def give_back(self, lease: Lease) -> bool:
        return bool(self._request(partial(self._tables.give_back, lease), write=True))

    def remove_lock(self, lock: Lock) -> bool:
        return bool(self._request(partial(self._tables.remove_lock, lock), write=True))

    def remove_report(self, worker: str) -> None:
        self._request(partial(self._tables.remove_report, worker), write=True)

    def _request(self, call: Callable[[], Any], *, write: bool) -> Any:
        cluster = self._worker.cluster
        [result] = Blocking.wait([cluster.request(self._worker.id, call, SUPERVISOR_TIMEOUT, write=write)])
        if isinstance(result, Unanswered):
            raise result
        return result
