"""Which leases of dead workers this worker takes, and whose leader's lock it removes. Pure.

The KCL leaves both to the leader, and a new leader is chosen only after two minutes (DynamoDBLockBasedLeaderDecider of
KCL 3.1.3). Every supervisor therefore looks at the leases itself, and takes those that were not renewed for the
failover time, on the conditions on which the KCL takes one. A lease that was taken wrongly costs a replay and never a
record: its checkpoint is not touched, and the previous owner can no longer write one.

Time is counted by this worker's own monotonic clock, between looks that were answered. Neither time within a request
counts nor time in which our own JVM does not renew, so that a DynamoDB that is slow or refuses writes does not make
healthy workers look dead.
"""

import hashlib
import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from consumer.leases.kcl_tables import Lease, Lock, Tables

OVERDUE_SECONDS = 3.0
"""A lease that is free for this long is taken by any worker, even if it has its share."""
OWN_LOCK_SECONDS = 60.0
"""When a lock with our own id is nobody's: twice the interval in which KCL's lock client renews one by default."""
LATE = 0.6
"""The part of the failover time after which our own JVM is late: it renews every third and reports every half of it.

A JVM that froze soon after another worker had died would otherwise get the leases of the dead.
"""


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of this worker.

    running      the JVM runs, or is about to be started for the first time, and is not being shut down
    initialised  the KCL is initialised, so it renews its leases and reports
    starved      its record processors get no batches from the stream
    """

    running: bool
    initialised: bool
    starved: bool = False


@dataclass(frozen=True, slots=True)
class Take:
    """A lease to take. `still`: seconds for which it was seen not to be renewed."""

    lease: Lease
    still: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do after a look. `lock`: the lock of a silent leader, to be removed."""

    takes: Sequence[Take] = ()
    lock: Lock | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """A row as last seen, for how many seconds it has been seen unchanged, and whether it was ever seen to change."""

    row: Hashable
    still: float = 0.0
    moved: bool = False


class Takeover:
    """What one worker has seen of all workers. Times are in seconds.

    failover  a lease that is not renewed for this long is free
    most      how many leases this worker may hold, None without a limit
    """

    def __init__(self, worker: str, failover: float, most: int | None = None) -> None:
        self._worker = worker
        self._failover = failover
        self._most = most
        self._seen: Mapping[tuple[str, str], _Seen] = {}
        self._looked: float | None = None

    def forget(self) -> None:
        """After a look that failed: what was seen before it says nothing about the time in between."""
        self._seen, self._looked = {}, None

    def decide(self, tables: Tables, own: Condition, began: float, ended: float) -> Decision:
        """`tables` were read between `began` and `ended`, of a monotonic clock."""
        self._remember(tables, own, began, ended)
        leases = [lease for lease in tables.leases if not lease.ended]
        if own.initialised and self._is_stuck(leases):
            self._restart_others(leases)
        alive = self._alive(tables, leases)
        if not self._is_able(leases, own, alone=not alive):
            return Decision()
        return Decision(self._takes(leases, len(alive) + 1), self._silent(tables.lock, alive))

    # --- What was seen

    def _remember(self, tables: Tables, own: Condition, began: float, ended: float) -> None:
        passed = 0.0 if self._looked is None else began - self._looked
        if passed > 2 * self._failover:
            # We stood still ourselves, or DynamoDB did not answer. Nothing is known about the others.
            self.forget()
        # A lease is free after three looks at the least, however long we were kept from looking.
        counted = min(passed, self._failover / 2)
        self._seen = {key: self._seen_again(key, row, counted) for key, row in _rows(tables, self._worker, own)}
        self._looked = ended

    def _seen_again(self, key: tuple[str, str], row: Hashable, passed: float) -> _Seen:
        before = self._seen.get(key)
        if before and before.row == row:
            return replace(before, still=before.still + passed)
        return _Seen(row, moved=before is not None)

    def _still(self, kind: str, name: str) -> float:
        return self._seen[kind, name].still

    def _lease_still(self, lease: Lease) -> float:
        return self._still("lease", lease.shard)

    def _is_free(self, lease: Lease) -> bool:
        return lease.owner is None or self._lease_still(lease) >= self._failover

    def _alive(self, tables: Tables, leases: Iterable[Lease]) -> set[str]:
        """The other workers that renew a lease or report. One that was just seen for the first time counts."""
        owners = {lease.owner for lease in leases if lease.owner and not self._is_free(lease)}
        reporters = {each.worker for each in tables.reports if self._still("report", each.worker) < self._failover}
        return (owners | reporters) - {self._worker}

    # --- Our own JVM

    def _own(self, leases: Iterable[Lease]) -> Sequence[_Seen]:
        """What shows that our JVM works: its leases, which it renews, or its reports if it has none."""
        mine = [self._seen["lease", lease.shard] for lease in leases if lease.owner == self._worker]
        return mine or [self._seen["own", self._worker]]

    def _is_stuck(self, leases: Iterable[Lease]) -> bool:
        """Whether our JVM is frozen, or its writes fail."""
        return any(seen.still >= self._failover for seen in self._own(leases))

    def _is_well(self, leases: Iterable[Lease]) -> bool:
        """Whether our JVM renews or reports in time. After a gap, nothing is known about it either until it does."""
        own = self._own(leases)
        late = any(seen.still >= LATE * self._failover for seen in own)
        return not late and (self._seen["own", self._worker].moved or any(seen.moved for seen in own))

    def _restart_others(self, leases: Iterable[Lease]) -> None:
        """While our own JVM does not renew, the others may have the same trouble. They get time after it."""
        own = {("own", self._worker)} | {("lease", lease.shard) for lease in leases if lease.owner == self._worker}
        self._seen = {key: seen if key in own else replace(seen, still=0.0) for key, seen in self._seen.items()}

    # --- What to do

    def _is_able(self, leases: Iterable[Lease], own: Condition, *, alone: bool) -> bool:
        """Whether this worker could read what it takes."""
        if not own.running or own.starved:
            return False
        if not own.initialised:
            # Only if it is alone: it takes leases while its JVM still starts, which finds them then.
            return alone
        return self._is_well(leases)

    def _takes(self, leases: Collection[Lease], workers: int) -> Sequence[Take]:
        """The free leases up to an equal share, and those that nobody else has taken."""
        mine = sum(lease.owner == self._worker for lease in leases)
        share = math.ceil(len(leases) / workers) - mine
        free = [
            Take(lease, self._lease_still(lease))
            for lease in leases
            if self._is_free(lease) and lease.owner != self._worker and lease.successor is None
        ]
        # Each worker has its own order, so that two of them rarely want the same lease first.
        free.sort(key=lambda take: hashlib.sha256(f"{self._worker} {take.lease.shard}".encode()).digest())
        chosen = [take for place, take in enumerate(free) if place < share or self._is_overdue(take)]
        return chosen if self._most is None else chosen[: max(0, self._most - mine)]

    def _is_overdue(self, take: Take) -> bool:
        return take.still >= OVERDUE_SECONDS + (self._failover if take.lease.owner else 0.0)

    def _silent(self, lock: Lock | None, alive: Collection[str]) -> Lock | None:
        """The lock of a leader that is not alive. The lock alone does not show it: its renewals may be 30 s apart.

        Our own is from a JVM that died, or from a request whose answer was lost. The JVM would wait until it expires.
        """
        if lock is None or lock.owner in alive:
            return None
        least = OWN_LOCK_SECONDS if lock.owner == self._worker else 2 * self._failover
        return lock if self._still("lock", lock.owner) >= least else None


def _rows(tables: Tables, worker: str, own: Condition) -> Iterable[tuple[tuple[str, str], Hashable]]:
    """What has to change for each lease, report and lock, by kind and name, so that it is not still."""
    for lease in tables.leases:
        yield ("lease", lease.shard), (lease.owner, lease.counter)
    for report in tables.reports:
        yield ("report", report.worker), report.at
    if tables.lock:
        yield ("lock", tables.lock.owner), tables.lock.version
    # Since when it is initialised counts as well: the first report comes some seconds later.
    reported = next((report.at for report in tables.reports if report.worker == worker), None)
    yield ("own", worker), (own.initialised, reported)
