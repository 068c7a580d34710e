"""Calls a check on the leases periodically, on its own thread."""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SECONDS = 2.0
"""How long the end waits for a check that is under way."""

log = logging.getLogger("consumer.supervisor")


@contextmanager
def every(seconds: float, check: Callable[[], None], jitter: float = 0.0) -> Iterator[None]:
    """Calls `check` at once and every `seconds`, give or take `jitter`, until the block ends; logs each new error."""
    stopped = threading.Event()
    thread = threading.Thread(target=_repeat, args=(stopped, seconds, jitter, check), name="leases", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(STOP_SECONDS)


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
