"""A lag that record processors take for real, so that they gather. The two communicate through files in a folder.

The test makes shards seem behind (`begin`), puts records and waits until they are gathered (`until_gathered`). With the
lag's `end`, the next delivery is the end of the gathering.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from consumer.engine.gathering import GatheringPolicy
from tests.support.driven.waiting import until

BEHIND_SECONDS = GatheringPolicy().behind
"""The lag that shards seem to have: just enough for them to gather."""


@dataclass(frozen=True)
class Lag:
    directory: Path

    def begin(self) -> None:
        self.directory.mkdir(exist_ok=True)
        self._order.touch()

    def end(self) -> None:
        self._order.unlink()

    def until_gathered(self, processors: Callable[[], list[int]], count: int) -> None:
        """Waits until these record processors, given by their process ids, have gathered `count` records together."""
        until(lambda: sum(map(self._gathered, processors())) == count, f"{count} records to be gathered")

    def reported(self, true: int | None) -> int | None:
        """Called by a record processor: the lag to take for real, in milliseconds."""
        return round(BEHIND_SECONDS * 1000) if self._order.exists() else true

    def note(self, gathered: int) -> None:
        """Called by a record processor after each delivery: how many records it has gathered."""
        if self.directory.exists():
            partial = self._note(os.getpid()).with_suffix(".partial")
            partial.write_text(str(gathered))
            partial.rename(self._note(os.getpid()))

    @property
    def _order(self) -> Path:
        return self.directory / "behind"

    def _note(self, processor: int) -> Path:
        return self.directory / f"gathered-{processor}"

    def _gathered(self, processor: int) -> int:
        note = self._note(processor)
        return int(note.read_text()) if note.exists() else 0
