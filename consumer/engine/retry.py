"""How long to wait for an environment that fails, and when to stop waiting."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from consumer.engine.errors import GaveUp, Unavailable

R = TypeVar("R")


class RetryPolicy(Protocol):
    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        """Waits before try `attempt` + 1 at `part`. Raises GaveUp when there is to be none."""
        ...


class NoRetry:
    """One try."""

    def wait(self, part: str, attempt: int, cause: Unavailable) -> None:
        raise GaveUp(f"{part}, try {attempt}: {cause}")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential with full jitter, between half and the whole of the step: seconds."""

    first: float = 0.05
    longest: float = 5.0

    def seconds(self, attempt: int, chance: float) -> float:
        """`attempt` counts from 1, `chance` lies in 0..1."""
        step = min(self.longest, self.first * float(2 ** min(attempt - 1, 30)))
        return step * (0.5 + chance / 2)


def persist(part: str, patience: RetryPolicy, attempt: Callable[[], R]) -> R:
    """Tries until it succeeds. Raises GaveUp when the patience ends."""
    tries = 0
    while True:
        try:
            return attempt()
        except Unavailable as cause:
            tries += 1
            patience.wait(part, tries, cause)
