"""When a daemon that exited unexpectedly is restarted, and when the service gives up. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

FAILED_STARTS = 3
"""A worker gives up after this many failed starts in a row. A version that cannot consume must not seem to try."""
_FIRST_SECONDS = 0.2
_LONGEST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """Allows `most` restarts within any `window_seconds`, and fewer than FAILED_STARTS failed starts in a row.

    A start has failed if the daemon exits before a batch was settled, and before it has lived for `start_seconds`, from
    the moment when it was initialised if it was.
    """

    most: int
    window_seconds: float
    start_seconds: float

    def recent(self, ends: Sequence[float], now: float) -> list[float]:
        """The exit times that still count at time `now`."""
        return [end for end in ends if now - end < self.window_seconds]

    def delay(self, recent: int, failed_starts: int, chance: float) -> float | None:
        """Seconds to wait after the `recent`-th exit that counts: 0.2, 1, 2, 4 .. 30; None to give up.

        `chance` (0 to 1) varies it between 0.5 and 1.5 times that, so that workers do not all restart together.
        """
        if recent > self.most or failed_starts >= FAILED_STARTS:
            return None
        base = _FIRST_SECONDS if recent <= 1 else min(2.0 ** (recent - 2), _LONGEST_SECONDS)
        return base * (0.5 + chance)

    @staticmethod
    def soon(chance: float) -> float:
        """Seconds to wait after an exit that does not count."""
        return _FIRST_SECONDS * (0.5 + chance)
