"""How to retry while the environment fails, and when to give up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from consumer.engine.errors import GaveUp, Unavailable

R = TypeVar("R")


class RetryPolicy(Protocol):
    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        """Waits after failed attempt number `attempt` at `part`. Raises GaveUp if there must be no other attempt."""
        ...


class NoRetry:
    """A single attempt."""

    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        raise GaveUp(f"{part}, try {attempt}: {cause}")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff in seconds, with jitter between half of the step and the whole step."""

    first: float = 0.05
    longest: float = 5.0

    def seconds(self, attempt: int, chance: float) -> float:
        """The wait after an attempt, counted from 1. `chance` is a random number in 0..1."""
        step = min(self.longest, self.first * float(2 ** min(attempt - 1, 30)))
        return step * (0.5 + chance / 2)


def persist(part: str, retry_policy: RetryPolicy, attempt: Callable[[], R]) -> R:
    """Calls `attempt` until it succeeds. Raises GaveUp when the retry policy does."""
    tries = 0
    while True:
        try:
            return attempt()
        except Unavailable as cause:
            tries += 1
            retry_policy.wait(part, tries, cause)
