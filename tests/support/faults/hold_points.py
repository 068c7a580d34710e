"""Places where a record processor can be held up, on a word from outside: a folder that both sides look at.

The test says where (`at`), waits until somebody is there (`until_held`), does its deed, and lets go (`release`).
"""

import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.support.driven.waiting import until


class Point(StrEnum):
    """Moments in the life of a batch, in their order; the last one only if a record of it is quarantined."""

    BEFORE_WRITE = "before-write"
    MID_BATCH = "mid-batch"
    AFTER_WRITE = "after-write"
    BEFORE_CHECKPOINT = "before-checkpoint"
    AFTER_CHECKPOINT = "after-checkpoint"
    MID_QUARANTINE = "mid-quarantine"


@dataclass(frozen=True)
class HoldPoints:
    directory: Path

    def at(self, point: Point, seconds: float | None = None) -> None:
        """Whoever comes there is held: for so many seconds, or until `release`."""
        self.directory.mkdir(exist_ok=True)
        self._order(point).write_text("" if seconds is None else str(seconds))

    def release(self, point: Point) -> None:
        self._order(point).unlink()

    def held(self, point: Point) -> list[int]:
        """The process ids of those who were ever held there."""
        return [int(path.suffix[1:]) for path in self.directory.glob(f"{point}.*")]

    def until_held(self, point: Point) -> int:
        """Waits until somebody is held there, and says who."""
        return until(lambda: self.held(point), f"a record processor to be held {point}")[0]

    def reach(self, point: Point) -> None:
        """What a record processor does when it comes there."""
        order = self._order(point)
        if not order.exists():
            return
        (self.directory / f"{point}.{os.getpid()}").touch()
        end = time.monotonic() + self._seconds(order)
        while order.exists() and time.monotonic() < end:
            time.sleep(0.02)

    def _order(self, point: Point) -> Path:
        return self.directory / point

    @staticmethod
    def _seconds(order: Path) -> float:
        try:
            return float(order.read_text() or "inf")
        except FileNotFoundError:
            return 0.0
