"""Puts one history of events on the stream, in parts or at a steady rate."""

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
    """Puts the next `count` records when called, 2 % duplicates and 1 % poison. `put`: all records put so far."""

    def __init__(self, stage: Stage, seed: int, users: int = 40) -> None:
        self.put: list[Sample] = []
        self._stage = stage
        self._left = endless(seed, users)

    def __call__(self, count: int) -> bool:
        self.put_these(list(islice(self._left, count)))
        return True

    def put_these(self, samples: Sequence[Sample]) -> None:
        """Puts records from elsewhere. Thread-safe."""
        self.put += samples
        self._stage.put(samples)

    @contextmanager
    def steadily(self, rate: float) -> Iterator[None]:
        """Puts `rate` records per second during the block. The block raises the error of a failed put."""

        def run(over: threading.Event) -> None:
            begun, put = time.monotonic(), 0
            while not over.wait(TICK_SECONDS):
                # catch up after a delay on a busy machine
                due = round(rate * (time.monotonic() - begun)) - put
                self(due)
                put += due

        with background(run, "load"):
            yield
