"""The deadline of a Lambda invocation: no request starts unless there is time to finish it and to return a response."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

from consumer.engine.errors import GaveUp, Unavailable
from consumer.engine.retry_policy import Backoff

log = logging.getLogger("consumer.lambda")

ANSWER_SECONDS = 10.0
"""No request starts with less time left: enough for a request that hangs, a read after it (each ends after 4 s, see
stores.aws.SHORT_TIMEOUTS), and the response."""

BACKOFF = Backoff(longest=1.0)


class Context(Protocol):
    """The part of Lambda's context object that is used."""

    @property
    def aws_request_id(self) -> str: ...

    def get_remaining_time_in_millis(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of one invocation. No request starts in its last `reserve` seconds."""

    context: Context
    reserve: float

    @classmethod
    def of(cls, context: Context) -> Self:
        """The deadline of an invocation that starts now."""
        # A short timeout reserves only half of its time, so that the first attempt is always made.
        return cls(context, min(ANSWER_SECONDS, _seconds_left(context) / 2))

    def is_over(self, pause: float = 0.0) -> bool:
        """Whether it is too late to start a request `pause` seconds from now."""
        return _seconds_left(self.context) - pause < self.reserve

    def check(self, part: str, pause: float = 0.0) -> None:
        """Raises GaveUp when it is too late to start a request to `part` `pause` seconds from now."""
        left = _seconds_left(self.context)
        if self.is_over(pause):
            log.warning("giving up", extra={"part": part, "seconds_left": left})
            raise GaveUp(f"not enough time left in the invocation for {part}")


@dataclass(frozen=True, slots=True)
class UntilTimeRunsOut:
    """Implements engine.retry.RetryPolicy: retries while the deadline allows it."""

    deadline: Deadline
    sleep: Callable[[float], None]
    random: Callable[[], float]
    count_wait: Callable[[str], None]

    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        self.count_wait(part)
        # Attempts 1, 2, 4, 8, ...: an outage must not flood the log.
        if attempt & (attempt - 1) == 0:
            log.warning("waiting", extra={"part": part, "attempt": attempt, "cause": str(cause)})
        pause = BACKOFF.seconds(attempt, self.random())
        self.deadline.check(part, pause)
        self.sleep(pause)


def _seconds_left(context: Context) -> float:
    return context.get_remaining_time_in_millis() / 1000
