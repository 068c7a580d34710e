"""One history, put bit by bit, or steadily in the background."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from consumer.limits.sample import Sample
from tests.support.driven.background import background
from tests.support.driven.scenario import Stage, endless

TICK_SECONDS = 0.5


class Producer:
    """Puts the next so many records when called. `put` is what has been put: 2 % duplicates, 1 % poison."""

    def __init__(self, stage: Stage, seed: int, users: int = 40) -> None:
        self.put: list[Sample] = []
        self._stage = stage
        self._left = endless(seed, users)

    def __call__(self, count: int) -> bool:
        self.put_these(list(islice(self._left, count)))
        return True

    def put_these(self, samples: Sequence[Sample]) -> None:
        """Records of another origin. From any thread."""
        self.put += samples
        self._stage.put(samples)

    @contextmanager
    def steadily(self, rate: float) -> Iterator[None]:
        """So many records a second, as long as the block lasts. A put that fails ends the block with its error."""

        def run(over: threading.Event) -> None:
            begun, put = time.monotonic(), 0
            while not over.wait(TICK_SECONDS):
                # what a busy machine was late with is made up for
                due = round(rate * (time.monotonic() - begun)) - put
                self(due)
                put += due

        with background(run, "load"):
            yield
