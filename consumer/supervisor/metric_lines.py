"""Writes the metrics of this worker into its log, for CloudWatch."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from consumer.monitoring.worker_emf import WorkerLines
from consumer.supervisor.periodic import thread

log = logging.getLogger("consumer.metrics")


@contextmanager
def metric_lines(seconds: int, lines: WorkerLines, clock: Callable[[], float] = time.time) -> Iterator[None]:
    """Writes a line at every multiple of `seconds` during the block, and at its end what was counted since.

    `clock`: seconds since 1970. All workers write at the same times, so that each has one value in an interval.
    """
    # A log level above INFO must not turn the metrics off.
    log.setLevel(logging.INFO)
    with thread("metrics", lambda stopped: _repeat(stopped, seconds, lines, clock)):
        yield


def _repeat(stopped: threading.Event, seconds: int, lines: WorkerLines, clock: Callable[[], float]) -> None:
    last = 0
    while not stopped.wait(seconds - clock() % seconds):
        # Rounded, because a wait may end a moment early.
        now = round(clock() / seconds) * seconds
        if now != last:
            _write(lines.line, now)
        last = now
    _write(lines.last, clock())


def _write(line: Callable[[float], dict[str, Any] | None], now: float) -> None:
    try:
        found = line(now)
    except Exception as error:  # noqa: BLE001 - a file of the metrics that cannot be read must not end the thread
        log.warning("metrics not written", extra={"cause": f"{type(error).__name__}: {error}"})
        return
    if found:
        log.info("metrics", extra=found)
