"""The time of a Lambda invocation: nothing is begun that might not end, and be answered for, before it is up."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from consumer.engine.errors import GaveUp, Unavailable
from consumer.engine.projection import Key
from consumer.engine.quarantine import Quarantine, Quarantined
from consumer.engine.repository import PendingWrite, Repository, Saved, Stored, Unreadable
from consumer.engine.retry import Backoff

S = TypeVar("S")

log = logging.getLogger("consumer.lambda")

ANSWER_SECONDS = 10.0
"""Nothing is begun with less left: a request that hangs, a second one that its answer may ask for (each is over
after 4 s, see stores.aws.IMPATIENT), and the answer."""

BACKOFF = Backoff(longest=1.0)


class Context(Protocol):
    """What of Lambda's context object is used."""

    @property
    def aws_request_id(self) -> str: ...

    def get_remaining_time_in_millis(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of one invocation. `kept` seconds before it, nothing more is begun."""

    context: Context
    kept: float

    @classmethod
    def of(cls, context: Context) -> Self:
        """Of an invocation that starts now. One that has little time keeps half: a first try is always made."""
        return cls(context, min(ANSWER_SECONDS, _seconds_left(context) / 2))

    def is_over(self, pause: float = 0.0) -> bool:
        """Whether it is too late to begin anything in `pause` seconds."""
        return _seconds_left(self.context) - pause < self.kept

    def mind(self, part: str, pause: float = 0.0) -> None:
        """Raises GaveUp when it is too late to begin anything at `part` in `pause` seconds."""
        left = _seconds_left(self.context)
        if self.is_over(pause):
            log.warning("giving up", extra={"part": part, "seconds_left": left})
            raise GaveUp(f"the invocation's time is up, before {part}")


@dataclass(frozen=True, slots=True)
class UntilTimeRunsOut:
    """Implements engine.retry.RetryPolicy: tries again while the deadline allows it."""

    deadline: Deadline
    sleep: Callable[[float], None]
    chance: Callable[[], float]
    count_wait: Callable[[str], None]

    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        self.count_wait(part)
        # 1, 2, 4, 8 ...: an outage is told about, not written out
        if attempt & (attempt - 1) == 0:
            log.warning("waiting", extra={"part": part, "attempt": attempt, "cause": str(cause)})
        pause = BACKOFF.seconds(attempt, self.chance())
        self.deadline.mind(part, pause)
        self.sleep(pause)


@dataclass(frozen=True, slots=True)
class TimedRepository(Generic[S]):
    """Implements engine.repository.Repository over another; raises GaveUp instead of beginning too late."""

    kept: Repository[S]
    deadline: Deadline

    def load(self, keys: Iterable[Key]) -> Mapping[Key, Stored[S]]:
        self.deadline.mind("load")
        return self.kept.load(keys)

    def save(self, writes: Mapping[Key, PendingWrite[S]]) -> Saved[S]:
        self.deadline.mind("store")
        return self.kept.save(writes)

    def partition(self, partition: str) -> Sequence[S | Unreadable]:
        self.deadline.mind("load")
        return self.kept.partition(partition)


@dataclass(frozen=True, slots=True)
class TimedQuarantine:
    """Implements engine.quarantine.Quarantine over another; raises GaveUp instead of beginning too late."""

    kept: Quarantine
    deadline: Deadline

    def put(self, entries: Iterable[Quarantined]) -> None:
        self.deadline.mind("quarantine")
        self.kept.put(entries)


def _seconds_left(context: Context) -> float:
    return context.get_remaining_time_in_millis() / 1000
