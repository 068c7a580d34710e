"""Checks that each lease of this worker has a record processor and belongs to the stream that the worker reads.

The KCL renews a lease even if it cannot read the shard. Without this check, a worker could own leases, appear healthy,
and read nothing. It also measures how many shards should be read now, by whichever worker, and how long the stream
keeps its records.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence

from consumer.engine.errors import SettingsError
from consumer.leases.kcl_tables import Lease, readable
from consumer.leases.origin import Application
from consumer.leases.shards import Progress, Shard
from consumer.monitoring.metrics import LEASES_OWNED, OPEN_SHARDS, RETENTION, Sink

EVERY_SECONDS = 15.0
STREAM_EVERY_SECONDS = 60.0
"""How often the stream is read. It changes rarely, and all workers share Kinesis' limits of requests."""
UNREAD_SECONDS = 60.0
"""How long a lease may be without a record processor. Starting one takes seconds."""

log = logging.getLogger("consumer.supervisor")


class LeaseWatch:
    """`check` is called periodically on one thread, `reasons` on any thread. `clock`: monotonic seconds."""

    def __init__(self, worker: str, measure: Sink, clock: Callable[[], float] = time.monotonic) -> None:
        self._worker = worker
        self._measure = measure
        self._clock = clock
        self._since: dict[str, float] = {}
        self._owned: Collection[str] | None = None
        self._wrong: list[str] = []
        self._origin: str | None = None
        self._shards: Sequence[Shard] = ()
        self._stream_due = clock()

    def check(self, application: Application, living: Collection[str], *, initialised: bool) -> None:
        """Reads the leases. `living`: shards with a record processor; `initialised`: the KCL may have started them.

        Raises boto3's errors when leases or stream cannot be read, and keeps the previous result.
        """
        found = application.leases()
        owned = readable(found, self._worker)
        self._measure(LEASES_OWNED, len(owned))
        self._owned = owned if initialised else None
        self._remember(owned, living if initialised else owned)
        self._settle(application, found)
        self._measure_stream(application, found)

    def reasons(self, living: Collection[str]) -> list[str]:
        """Why an initialised worker is not ready; empty when all of its leases are read."""
        now = self._clock()
        ages = {shard: now - since for shard, since in self._since.items() if shard not in living}
        unread = [
            f"{shard} is leased, but has had no record processor for {age:.0f} s"
            for shard, age in ages.items()
            if age > UNREAD_SECONDS
        ]
        return self._wrong + unread

    def unread(self, reading: Collection[str]) -> list[str]:
        """Which leases of an initialised worker are not read yet. `reading`: shards that have received a batch."""
        if self._owned is None:
            return ["the leases are not known yet"]
        return self._wrong + [f"{shard} is leased, but not read yet" for shard in self._owned if shard not in reading]

    def _settle(self, application: Application, found: Sequence[Lease]) -> None:
        # All leases are known to be marked with this stream: no further requests are needed.
        if self._origin and found and all(lease.origin == self._origin for lease in found):
            self._wrong = []
            return
        wrong: list[str] = []
        try:
            self._origin = application.settle(found)
        except SettingsError as error:
            wrong = error.problems
        if wrong and wrong != self._wrong:
            log.error("leases of another stream", extra={"cause": "; ".join(wrong)})
        self._wrong = wrong

    def _measure_stream(self, application: Application, found: Sequence[Lease]) -> None:
        if self._clock() >= self._stream_due:
            self._measure(RETENTION, application.retention_seconds())
            self._shards = application.shards()
            self._stream_due = self._clock() + STREAM_EVERY_SECONDS
        self._measure(OPEN_SHARDS, len(Progress.of(self._shards, found).unfinished()))

    def _remember(self, owned: Collection[str], living: Collection[str]) -> None:
        now = self._clock()
        self._since = {shard: self._since.get(shard, now) for shard in owned if shard not in living}
