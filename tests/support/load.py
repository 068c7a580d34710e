"""One history, put bit by bit, or steadily in the background."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from random import Random

from consumer.limits.sample import Sample, histories
from tests.support.scenario import Stage

TICK_SECONDS = 0.5


class Producer:
    """Puts the next so many records when called. `put` is what has been put: 2 % duplicates, 1 % poison."""

    def __init__(self, stage: Stage, seed: int, users: int = 40) -> None:
        self.put: list[Sample] = []
        self._stage = stage
        self._left: Iterator[Sample] = histories(Random(seed), 10**9, users, duplicates=0.02, poison=0.01)

    def __call__(self, count: int) -> bool:
        part = list(islice(self._left, count))
        self.put += part
        self._stage.put(part)
        return True

    @contextmanager
    def steadily(self, rate: float) -> Iterator[None]:
        """So many records a second, as long as the block lasts. A put that fails ends the block with its error."""
        over, failed = threading.Event(), list[Exception]()
        thread = threading.Thread(target=self._run, args=(rate, over, failed), name="load", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if failed:
            raise failed[0]

    def _run(self, rate: float, over: threading.Event, failed: list[Exception]) -> None:
        count = max(1, round(rate * TICK_SECONDS))
        try:
            while not over.wait(max(0.0, TICK_SECONDS - time.monotonic() % TICK_SECONDS)):
                self(count)
        except Exception as error:  # noqa: BLE001 - raised where the load was asked for
            failed.append(error)
