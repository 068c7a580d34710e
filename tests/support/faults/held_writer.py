"""Writes a record to a quarantine directory, with a hold point during the write.

Usage: `python -m tests.support.faults.held_writer ROOT HOLD_POINTS`.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from consumer.engine.errors import Reason
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Position, Record
from consumer.stores.directory import DirectoryQuarantine
from tests.support.faults.hold_points import HoldPoints, Point

ENTRY = Quarantined(Record(Position("elsewhere", "shardId-000000000000", "1"), b"of a live writer"), Reason.JSON, "")


def hold_scratch_files(reach: Callable[[Point], None]) -> None:
    """Calls `reach` whenever this process has written a scratch file that is not yet synced to the disk."""
    true = os.fsync

    def fsync(fd: Any) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink().suffix == ".tmp":
            reach(Point.MID_QUARANTINE)
        true(fd)

    os.fsync = fsync


if __name__ == "__main__":
    root, hold_points = sys.argv[1:]
    hold_scratch_files(HoldPoints(Path(hold_points)).reach)
    DirectoryQuarantine(Path(root)).put([ENTRY])
