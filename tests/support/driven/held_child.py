"""The shipped record processor, with hold points (hold_points.py).

Run it with `python -m tests.support.driven.held_child process`.

The environment variable TEST_HOLD_POINTS names the folder of the hold points.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from consumer.engine.projection import Key
from consumer.engine.records import Position
from consumer.engine.repository import PendingWrite, Repository, Saved, Stored, Unreadable
from consumer.kcl.pipes import take_over
from tests.support.faults.held_writer import hold_scratch_files
from tests.support.faults.hold_points import HoldPoints, Point

S = TypeVar("S")

EXECUTABLE = "python -m tests.support.driven.held_child process"


class HeldRepository(Generic[S]):
    """Saves a batch in two halves, with hold points before, between and after them."""

    def __init__(self, kept: Repository[S], reach: Callable[[Point], None]) -> None:
        self._kept = kept
        self._reach = reach

    def load(self, keys: Iterable[Key]) -> Mapping[Key, Stored[S]]:
        return self._kept.load(keys)

    def save(self, writes: Mapping[Key, PendingWrite[S]]) -> Saved[S]:
        half = len(writes) // 2
        self._reach(Point.BEFORE_WRITE)
        first = self._kept.save(dict(islice(writes.items(), half)))
        self._reach(Point.MID_BATCH)
        second = self._kept.save(dict(islice(writes.items(), half, None)))
        self._reach(Point.AFTER_WRITE)
        return Saved(
            {**first.stored, **second.stored},
            {**first.conflicts, **second.conflicts},
            {**first.unknown, **second.unknown},
        )

    def partition(self, partition: str) -> Sequence[S | Unreadable]:
        return self._kept.partition(partition)


def main() -> None:
    # before any other import, as in `consumer process`
    pipes = take_over()
    hold()
    from consumer.kcl import process

    process.process(pipes)


def hold() -> None:
    """Places the hold points in this process."""
    from consumer import bootstrap
    from consumer.kcl import record_processor

    reach = HoldPoints(Path(os.environ["TEST_HOLD_POINTS"])).reach
    repository, ask = bootstrap.repository, record_processor._request_checkpoint

    def held_repository(*requested: Any, **more: Any) -> Any:
        return HeldRepository(repository(*requested, **more), reach)

    def held_ask(checkpointer: Any, position: Position | None) -> str:
        reach(Point.BEFORE_CHECKPOINT)
        answer = ask(checkpointer, position)
        reach(Point.AFTER_CHECKPOINT)
        return answer

    bootstrap.repository = held_repository
    record_processor._request_checkpoint = held_ask
    hold_scratch_files(reach)


if __name__ == "__main__":
    main()
