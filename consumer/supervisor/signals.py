"""Signals as an inbox: SIGTERM, SIGINT and SIGCHLD, waited for together with time."""

import os
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})


class Inbox:
    """Stop requests and deaths of children, read from the descriptor `source`."""

    def __init__(self, source: int) -> None:
        self._source = source

    def wait(self, seconds: float) -> Sequence[int]:
        """The numbers of the signals that have arrived; empty after `seconds` without one."""
        ready, _, _ = select.select([self._source], [], [], max(0.0, seconds))
        return os.read(self._source, 4096) if ready else b""


@contextmanager
def signals() -> Iterator[Inbox]:
    """Delivers signals as bytes of a pipe, so that none is missed between a check and a wait."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    pipe_before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    # The handlers do nothing, but without one the kernel drops signals sent to process 1.
    before = {number: signal.signal(number, lambda *_: None) for number in (*STOP_SIGNALS, signal.SIGCHLD)}
    try:
        yield Inbox(read)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(pipe_before)
        os.close(read)
        os.close(write)
