"""The shipped command line, with hold points: `python -m tests.support.faults.held_replay quarantine replay`.

The environment variable TEST_HOLD_POINTS names the folder of the hold points (hold_points.py).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from consumer.__main__ import command_line
from tests.support.driven.held_child import hold
from tests.support.faults.hold_points import HoldPoints, Point


def hold_drops(reach: Callable[[Point], None]) -> None:
    """Calls `reach` whenever this process has removed an entry from a directory."""
    true = os.unlink

    def unlink(path: Any, **more: Any) -> None:
        true(path, **more)
        if str(path).endswith(".json"):
            reach(Point.MID_DROP)

    os.unlink = unlink


if __name__ == "__main__":
    hold()
    hold_drops(HoldPoints(Path(os.environ["TEST_HOLD_POINTS"])).reach)
    command_line()
