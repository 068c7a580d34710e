"""Watches whether the checkpoint of every shard moves, under a steady load."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from tests.support.driven.leases import END, leases
from tests.support.driven.scenario import Stage
from tests.support.driven.waiting import until

PAUSE_SECONDS = 0.5


class Progress:
    """Times are in seconds. `longest_wait`: of a shard, apart from outages; `longest_recovery`: after an outage."""

    def __init__(self, stage: Stage) -> None:
        self.longest_wait = 0.0
        self.longest_recovery = 0.0
        self._stage = stage
        self._checkpoints: Mapping[str, str] = {}
        self._moved: Mapping[str, float] = {}
        self._begun = float("-inf")
        self._counts = True

    def watch(self, over: threading.Event) -> None:
        """Looks until `over` is set."""
        while not over.wait(PAUSE_SECONDS):
            begun = time.monotonic()
            try:
                found = leases(self._stage)
            except (BotoCoreError, ClientError):
                continue
            now = time.monotonic()
            checkpoints = {shard: lease.checkpoint for shard, lease in found.items() if lease.checkpoint != END}
            still = {shard for shard, place in checkpoints.items() if self._checkpoints.get(shard) == place}
            waits = [now - self._moved.get(shard, now) for shard in checkpoints]
            if self._counts:
                self.longest_wait = max([self.longest_wait, *waits])
            self._moved = {shard: self._moved[shard] if shard in still else now for shard in checkpoints}
            self._checkpoints = checkpoints
            self._begun = begun

    @contextmanager
    def outage(self, patience: float) -> Iterator[None]:
        """What shards wait for during the block, and until all of them have moved after it, does not count."""
        self._counts = False
        yield
        self.longest_recovery = max(self.longest_recovery, self.until_moving(patience))
        self._counts = True

    def until_moving(self, patience: float) -> float:
        """Waits until every shard has moved; the seconds that took. Raises TimeoutError after `patience` seconds."""
        since = time.monotonic()
        # A look that began before may find, and count as a move, what happened before.
        until(lambda: self._begun > since, "a look at the leases", seconds=patience)
        seen = time.monotonic()
        until(lambda: self._moved and min(self._moved.values()) > seen, "every shard to move", seconds=patience)
        return min(self._moved.values()) - since
