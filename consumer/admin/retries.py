"""How commands that run for long retry: they outlast an outage of some minutes."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from consumer.engine.errors import GaveUp, Unavailable
from consumer.engine.retry_policy import Backoff, persist

R = TypeVar("R")

TRIES = 60
"""Attempts in a row, with pauses of up to 5 seconds: about 5 minutes."""


@dataclass(slots=True)
class ForMinutes:
    """Implements engine.retry_policy.RetryPolicy: gives up after TRIES in a row. `cause` is the last error."""

    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    backoff: Backoff = field(default_factory=Backoff)
    cause: Unavailable = field(default_factory=lambda: Unavailable("unknown cause"))

    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        self.cause = cause
        if attempt >= TRIES:
            raise GaveUp(part)
        self.sleep(self.backoff.seconds(attempt, self.chance()))


def for_minutes(part: str, attempt: Callable[[], R], sleep: Callable[[float], None] = time.sleep) -> R:
    """The result of `attempt`, which is repeated while it raises Unavailable. Raises the last one."""
    policy = ForMinutes(sleep)
    try:
        return persist(part, policy, attempt)
    except GaveUp:
        raise policy.cause from None
