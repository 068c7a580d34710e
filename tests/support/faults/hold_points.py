"""Points at which a test can hold a record processor. The two communicate through files in a folder.

The test sets a hold (`at`), waits until a record processor is held (`until_held`), acts, and lets it go (`release`).
"""

import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.support.driven.waiting import until


class Point(StrEnum):
    """Points in the processing of a batch, in order.

    MID_QUARANTINE is reached only if a record is quarantined, MID_DROP only by a replay, after the drop of an entry.
    """

    BEFORE_WRITE = "before-write"
    MID_BATCH = "mid-batch"
    AFTER_WRITE = "after-write"
    BEFORE_CHECKPOINT = "before-checkpoint"
    AFTER_CHECKPOINT = "after-checkpoint"
    MID_QUARANTINE = "mid-quarantine"
    MID_DROP = "mid-drop"


@dataclass(frozen=True)
class HoldPoints:
    directory: Path

    def at(self, point: Point, seconds: float | None = None) -> None:
        """Holds every record processor that reaches the point: for `seconds`, or until `release`."""
        self.directory.mkdir(exist_ok=True)
        self._order(point).write_text("" if seconds is None else str(seconds))

    def release(self, point: Point) -> None:
        self._order(point).unlink()

    def held(self, point: Point) -> list[int]:
        """The ids of all processes that were held at the point so far."""
        return [int(path.suffix[1:]) for path in self.directory.glob(f"{point}.*")]

    def until_held(self, point: Point) -> int:
        """Waits until a record processor is held at the point and returns its process id."""
        return until(lambda: self.held(point), f"a record processor to be held at {point}")[0]

    def reach(self, point: Point) -> None:
        """Called by a record processor at the point: waits while it is held."""
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
