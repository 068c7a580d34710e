"""How a record processor retries: it waits in small steps, sends heartbeats, and stops at a deadline after a stop."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from consumer.engine.errors import GaveUp, Unavailable
from consumer.engine.retry_policy import Backoff, RetryPolicy

log = logging.getLogger("consumer.kcl")

STEP = 0.25
"""Seconds between two checks whether a stop was requested."""

REPORT = 60.0
"""Seconds after which a wait that lasts is logged again: an alarm on the line must not end before the wait does."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a record processor uses of the process around it. Tests replace each part.

    clock           returns monotonic seconds
    now             returns seconds since 1970
    sleep           sleeps for a number of seconds
    random          returns a random number from 0 to 1
    stop_requested  returns whether the worker shuts down
    exit            ends the process with an exit code
    """

    clock: Callable[[], float]
    now: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[], float]
    stop_requested: Callable[[], bool]
    exit: Callable[[int], NoReturn]


@dataclass(slots=True)
class UntilStopped:
    """Implements engine.retry.RetryPolicy: no limit while the worker runs, `deadline` seconds after a stop request."""

    runtime: Runtime
    deadline: float
    heartbeat: Callable[[], None]
    count_wait: Callable[[str], None]
    backoff: Backoff = field(default_factory=Backoff)
    _stop_seen: float | None = None
    _logged: dict[str, float] = field(default_factory=dict)
    _since: float = 0.0

    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        self.count_wait(part)
        self._log(part, attempt, str(cause))
        until = self.runtime.clock() + self.backoff.seconds(attempt, self.runtime.random())
        # One long sleep would delay a shutdown, and the supervisor would take the silence for a hang.
        while (left := until - self.runtime.clock()) > 0:
            self.heartbeat()
            if self.deadline_exceeded():
                raise GaveUp(f"shutdown deadline exceeded while waiting for {part}: {cause}")
            self.runtime.sleep(min(STEP, left))

    def _log(self, part: str, attempt: int, cause: str) -> None:
        now = self.runtime.clock()
        if attempt == 1:
            self._since = now
        # Each cause at once and then every minute, and attempts 2, 4, 8, ...: neither an outage of hours nor a table at
        # its capacity, which is waited for many times a second, must flood the log.
        is_due = now - self._logged.get(cause, -REPORT) >= REPORT
        if is_due or (attempt > 1 and attempt & (attempt - 1) == 0):
            waited = round(now - self._since)
            log.warning("waiting", extra={"part": part, "attempt": attempt, "cause": cause, "waited_seconds": waited})
            self._logged[cause] = now

    def deadline_exceeded(self) -> bool:
        """Whether a stop was requested at least `deadline` seconds ago, counted from the first call that sees it."""
        if not self.runtime.stop_requested():
            return False
        now = self.runtime.clock()
        if self._stop_seen is None:
            self._stop_seen = now
        return now - self._stop_seen >= self.deadline


@dataclass(frozen=True, slots=True)
class UntilMessage:
    """Implements engine.retry.RetryPolicy: as `inner`, and until the daemon sends a message."""

    inner: RetryPolicy
    is_message_waiting: Callable[[], bool]

    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        if self.is_message_waiting():
            raise GaveUp(f"{part}: the daemon has sent a message")
        self.inner.wait(part, attempt, cause)


@dataclass(slots=True)
class Within:
    """Implements engine.retry.RetryPolicy: retries for `seconds` after the first failure."""

    runtime: Runtime
    seconds: float
    heartbeat: Callable[[], None]
    backoff: Backoff = field(default_factory=lambda: Backoff(longest=2.0))
    _until: float | None = None

    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        if self._until is None:
            self._until = self.runtime.clock() + self.seconds
            log.warning("waiting", extra={"part": part, "attempt": attempt, "cause": str(cause)})
        if self.runtime.clock() >= self._until:
            raise GaveUp(f"{part} failed {attempt} times: {cause}")
        self.heartbeat()
        self.runtime.sleep(self.backoff.seconds(attempt, self.runtime.random()))
