"""Threads that repeat something while the worker runs."""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SECONDS = 2.0
"""How long the end waits for what a thread is doing."""

log = logging.getLogger("consumer.supervisor")


@contextmanager
def thread(name: str, repeat: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs `repeat` on a thread during the block. It returns when the event is set."""
    stopped = threading.Event()
    running = threading.Thread(target=repeat, args=(stopped,), name=name, daemon=True)
    running.start()
    try:
        yield
    finally:
        stopped.set()
        running.join(STOP_SECONDS)


@contextmanager
def every(seconds: float, check: Callable[[], None], jitter: float = 0.0) -> Iterator[None]:
    """Calls `check` at once and every `seconds`, give or take `jitter`, until the block ends; logs each new error."""
    with thread("leases", lambda stopped: _repeat(stopped, seconds, jitter, check)):
        yield


def _repeat(stopped: threading.Event, seconds: float, jitter: float, check: Callable[[], None]) -> None:
    last = ""
    while not stopped.is_set():
        try:
            check()
        except Exception as error:  # noqa: BLE001 - without this thread, every lease would seem to be read
            cause = f"{type(error).__name__}: {error}"
            if cause != last:
                log.warning("leases cannot be read", extra={"cause": cause})
            last = cause
        else:
            last = ""
        stopped.wait(seconds + random.uniform(-jitter, jitter))
