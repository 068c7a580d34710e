"""When a daemon that ended unasked is started again, and when that is given up. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

_FIRST_SECONDS = 0.2
_LONGEST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """`most` restarts within any `window_seconds`."""

    most: int
    window_seconds: float

    def recent(self, ends: Sequence[float], now: float) -> list[float]:
        """Of the times at which the daemon ended, those that still count."""
        return [end for end in ends if now - end < self.window_seconds]

    def delay(self, recent: int, chance: float) -> float | None:
        """Seconds to wait after the `recent`-th end that counts: next to none, 1, 2, 4 ..; None: give up.

        `chance` (0 to 1) spreads the wait over 0.5 to 1.5 times that, so that workers do not come back in step.
        """
        if recent > self.most:
            return None
        base = _FIRST_SECONDS if recent <= 1 else min(2.0 ** (recent - 2), _LONGEST_SECONDS)
        return base * (0.5 + chance)

    @staticmethod
    def soon(chance: float) -> float:
        """Seconds to wait after an end that does not count."""
        return _FIRST_SECONDS * (0.5 + chance)
