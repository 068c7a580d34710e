"""KCL's tables in memory: what the supervisor does with them, and what KCL 3.1.3 does.

Every operation has the conditions of DynamoDBLeaseRefresher and of DynamoLeases. `tests/contract/test_leases.py` runs
the same tests on this and on tables of DynamoDB.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count

from consumer.leases.kcl_tables import SHARD_END, TRIM_HORIZON, Layout, Lease, Lock, Report, Tables

Wrote = Callable[[str, str | None, Lease, Lease, Lease], None]
"""Called before each write to a lease: operation, worker, and the lease as the worker has seen it, before and after."""


def new_lease(shard: str, parents: tuple[str, ...] = ()) -> Lease:
    return Lease(shard, None, TRIM_HORIZON, 0, 0, 0, parents=parents)


class MemoryLeases:
    """Implements taking.LeaseStore, and the operations of the KCL."""

    def __init__(self, wrote: Wrote = lambda *_: None) -> None:
        self.leases: dict[str, Lease] = {}
        self.reports: dict[str, int] = {}
        self.lock: Lock | None = None
        self._wrote = wrote
        self._versions = count(1)

    # taking.LeaseStore

    def read(self) -> Tables | None:
        return Tables(Layout.THREE_TABLES, self.read_leases(), self.read_reports(), self.lock)

    def take(self, lease: Lease, worker: str) -> bool:
        now = self.leases.get(lease.shard)
        if now is None or now.successor or not self._is_same(lease, now):
            return False
        switches = now.owner_switches + (lease.owner is not None)
        taken = replace(now, owner=worker, counter=now.counter + 1, owner_switches=switches)
        return self._write("take", worker, lease, taken)

    def give_back(self, lease: Lease) -> bool:
        now = self.leases.get(lease.shard)
        if now is None or now.successor or now.owner != lease.owner or lease.owner is None:
            return False
        return self._write("give back", lease.owner, lease, replace(now, owner=None, counter=now.counter + 1))

    def remove_lock(self, lock: Lock) -> bool:
        if self.lock is None or self.lock.version != lock.version:
            return False
        self.lock = None
        return True

    def remove_report(self, worker: str) -> None:
        self.reports.pop(worker, None)

    def read_leases(self) -> list[Lease]:
        return [self.leases[shard] for shard in sorted(self.leases)]

    def read_reports(self) -> list[Report]:
        return [Report(worker, at, {}) for worker, at in sorted(self.reports.items())]

    def read_lock(self) -> Lock | None:
        return self.lock

    # KCL

    def create(self, leases: Iterable[Lease]) -> None:
        """createLeaseIfNotExists."""
        for lease in leases:
            self.leases.setdefault(lease.shard, lease)

    def renew(self, seen: Lease, worker: str) -> bool:
        """renewLease. After a reply that was lost, it finds its own renewal and goes on."""
        now = self.leases[seen.shard]
        if now.owner == worker and now.counter == seen.counter + 1:
            return True
        if now.owner != worker or now.counter != seen.counter:
            return False
        return self._write("renew", worker, seen, replace(now, counter=now.counter + 1))

    def checkpoint(self, seen: Lease, worker: str, checkpoint: str) -> bool:
        """updateLease."""
        now = self.leases[seen.shard]
        if now.owner != worker or now.counter != seen.counter:
            return False
        new = replace(now, counter=now.counter + 1, checkpoint=checkpoint, owner_switches=0)
        return self._write("checkpoint", worker, seen, new)

    def assign(self, seen: Lease, worker: str) -> bool:
        """assignLease, whose condition is the owner alone."""
        now = self.leases[seen.shard]
        if now.owner != seen.owner:
            return False
        new = replace(now, owner=worker, counter=now.counter + 1, owner_switches=now.owner_switches + 1)
        return self._write("assign", None, seen, new)

    def report(self, worker: str, at: int) -> None:
        self.reports[worker] = at

    def put_lock(self, worker: str, seen: Lock | None) -> Lock | None:
        """Acquires the lock, or sends a heartbeat, if it is as it was seen."""
        if self.lock != seen:
            return None
        self.lock = Lock(worker, f"version {next(self._versions)}")
        return self.lock

    def _is_same(self, seen: Lease, now: Lease) -> bool:
        return (now.owner, now.counter) == (seen.owner, seen.counter)

    def _write(self, operation: str, worker: str | None, seen: Lease, new: Lease) -> bool:
        self._wrote(operation, worker, seen, self.leases[new.shard], new)
        self.leases[new.shard] = new
        return True


def position(checkpoint: str) -> int:
    """How many records of its shard a checkpoint covers."""
    return 0 if checkpoint in (TRIM_HORIZON, SHARD_END) else int(checkpoint)
