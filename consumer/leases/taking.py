"""Takes the leases of dead workers, once a second, and gives back this worker's own at its end.

takeover.py decides. Every write is conditional on what was read, and none touches a checkpoint: of two workers that act
at once, one is refused.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from consumer.leases.kcl_tables import Lease, Lock, Tables
from consumer.leases.takeover import Condition, Decision, Take, Takeover
from consumer.monitoring.metrics import GIVEN_BACK, LOCKS_REMOVED, STILL_SECONDS, TAKEN, Sink

EVERY_SECONDS = 1.0
JITTER = 0.2
"""By how much this varies, so that workers do not look at the same moment."""
GIVE_BACK_SECONDS = 2.0

log = logging.getLogger("consumer.supervisor")


class LeaseStore(Protocol):
    """KCL's tables. A write returns False when somebody else came first. Every method may raise boto3's errors."""

    def read(self) -> Tables | None:
        """None when there are no tables yet."""

    def take(self, lease: Lease, worker: str) -> bool:
        """Gives the lease to the worker if its owner and its counter are those of `lease`."""

    def give_back(self, lease: Lease) -> bool:
        """Removes the owner of the lease if it is still the same."""

    def remove_lock(self, lock: Lock) -> bool:
        """Removes the leader's lock if it is still the same."""

    def remove_report(self, worker: str) -> None:
        """Removes the worker's report, so that no leader assigns leases to it."""


class Worker(Protocol):
    """The worker for which leases are taken."""

    @property
    def id(self) -> str: ...

    def condition(self) -> Condition: ...

    def reaches_stream(self) -> bool:
        """Whether Kinesis answers. Asked before anything is taken."""


@dataclass(frozen=True, slots=True)
class Taker:
    """Takes leases for a worker. `clock`: monotonic seconds."""

    worker: Worker
    store: LeaseStore
    takeover: Takeover
    measure: Sink
    clock: Callable[[], float] = time.monotonic

    def look(self) -> None:
        """Reads the tables and acts. Raises boto3's errors."""
        try:
            decision = self._decide()
        except Exception:
            self.takeover.forget()
            raise
        if decision.takes and self.worker.reaches_stream():
            for take in decision.takes:
                self._take(take)
        if decision.lock and self.store.remove_lock(decision.lock):
            self.measure(LOCKS_REMOVED, 1)
            log.warning("removed the lock of a silent leader", extra={"leader": decision.lock.owner})

    def _decide(self) -> Decision:
        began = self.clock()
        tables = self.store.read()
        if tables is None:
            return Decision()
        return self.takeover.decide(tables, self.worker.condition(), began, self.clock())

    def _take(self, take: Take) -> None:
        # A stop may have been requested since the look.
        if self.worker.condition().running and self.store.take(take.lease, self.worker.id):
            self.measure(TAKEN, 1)
            self.measure(STILL_SECONDS, take.still)
            fields = {"shard": take.lease.shard, "owner": take.lease.owner, "still_seconds": round(take.still, 1)}
            log.info("lease taken", extra=fields)

    def give_back(self) -> None:
        """Gives up this worker's leases, lock and report. Call it when no process of the worker is left.

        Waits for two seconds at most. A failure is logged: the leases then expire.
        """
        thread = threading.Thread(target=self._try_to_give_back, name="leases", daemon=True)
        thread.start()
        thread.join(GIVE_BACK_SECONDS)
        if thread.is_alive():
            log.warning("leases not given back", extra={"cause": f"no answer for {GIVE_BACK_SECONDS:g} s"})

    def _try_to_give_back(self) -> None:
        try:
            self._give_back()
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker is about to exit
            log.warning("leases not given back", extra={"cause": f"{type(error).__name__}: {error}"})

    def _give_back(self) -> None:
        tables = self.store.read()
        if tables is None:
            return
        # The report first, so that the leader does not assign to this worker what it has just given back.
        self.store.remove_report(self.worker.id)
        mine = [lease for lease in tables.leases if lease.owner == self.worker.id and not lease.ended]
        given = [lease.shard for lease in mine if lease.successor is None and self.store.give_back(lease)]
        if tables.lock and tables.lock.owner == self.worker.id:
            self.store.remove_lock(tables.lock)
        self.measure(GIVEN_BACK, len(given))
        log.info("leases given back", extra={"shards": given})
