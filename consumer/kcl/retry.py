"""How a record processor waits: in small steps, showing life, until a stop was asked for and its time is up."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NoReturn, TypeVar

from consumer.engine.errors import GaveUp, Unavailable
from consumer.engine.projection import Key
from consumer.engine.quarantine import Quarantine, Quarantined
from consumer.engine.repository import PendingWrite, Repository, Saved, Stored, Unreadable
from consumer.engine.retry import Backoff

S = TypeVar("S")

log = logging.getLogger("consumer.kcl")

STEP = 0.25
"""Seconds between two looks at whether a stop was asked for."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a record processor has of the world, each part exchangeable.

    clock     monotonic seconds
    now       seconds since 1970
    sleep     for so many seconds
    chance    a number in 0..1
    stopping  whether a stop was asked for
    leave     ends the process with an exit code
    """

    clock: Callable[[], float]
    now: Callable[[], float]
    sleep: Callable[[float], None]
    chance: Callable[[], float]
    stopping: Callable[[], bool]
    leave: Callable[[int], NoReturn]


@dataclass(slots=True)
class UntilStopped:
    """Implements engine.retry.RetryPolicy: for ever, but only `deadline` seconds once a stop was asked for."""

    runtime: Runtime
    deadline: float
    show_life: Callable[[], None]
    count_wait: Callable[[str], None]
    backoff: Backoff = field(default_factory=Backoff)
    _stop_seen: float | None = None
    _told: set[str] = field(default_factory=set)

    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        self.count_wait(part)
        self._tell(part, attempt, str(cause))
        until = self.runtime.clock() + self.backoff.seconds(attempt, self.runtime.chance())
        while (left := until - self.runtime.clock()) > 0:
            self.show_life()
            if self.time_is_up():
                raise GaveUp(f"a stop was asked for while waiting for {part}: {cause}")
            self.runtime.sleep(min(STEP, left))

    def _tell(self, part: str, attempt: int, cause: str) -> None:
        if attempt == 1:
            self._told.clear()
        # tries 1, 2, 4, 8 ... and every cause once: an outage is told about, not written out
        if attempt & (attempt - 1) == 0 or cause not in self._told:
            log.warning("waiting", extra={"part": part, "attempt": attempt, "cause": cause})
        self._told.add(cause)

    def time_is_up(self) -> bool:
        """Whether a stop was asked for so long ago; counts from the first call that sees it."""
        if not self.runtime.stopping():
            return False
        now = self.runtime.clock()
        if self._stop_seen is None:
            self._stop_seen = now
        return now - self._stop_seen >= self.deadline


@dataclass(slots=True)
class Within:
    """Implements engine.retry.RetryPolicy: for so many `seconds` from the first wait on."""

    runtime: Runtime
    seconds: float
    show_life: Callable[[], None]
    backoff: Backoff = field(default_factory=lambda: Backoff(longest=2.0))
    _until: float | None = None

    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        if self._until is None:
            self._until = self.runtime.clock() + self.seconds
            log.warning("waiting", extra={"part": part, "attempt": attempt, "cause": str(cause)})
        if self.runtime.clock() >= self._until:
            raise GaveUp(f"{part} after {attempt} tries: {cause}")
        self.show_life()
        self.runtime.sleep(self.backoff.seconds(attempt, self.runtime.chance()))


@dataclass(frozen=True, slots=True)
class LivelyRepository(Generic[S]):
    """Implements engine.repository.Repository over another; shows life before each call: a slow store is no hang."""

    kept: Repository[S]
    show_life: Callable[[], None]

    def load(self, keys: Iterable[Key]) -> Mapping[Key, Stored[S]]:
        self.show_life()
        return self.kept.load(keys)

    def save(self, writes: Mapping[Key, PendingWrite[S]]) -> Saved[S]:
        self.show_life()
        return self.kept.save(writes)

    def partition(self, partition: str) -> Sequence[S | Unreadable]:
        self.show_life()
        return self.kept.partition(partition)


@dataclass(frozen=True, slots=True)
class LivelyQuarantine:
    """Implements engine.quarantine.Quarantine over another; shows life before records are put there."""

    kept: Quarantine
    show_life: Callable[[], None]

    def put(self, entries: Iterable[Quarantined]) -> None:
        self.show_life()
        self.kept.put(entries)
