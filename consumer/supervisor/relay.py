"""The container's stderr has one writer, which writes whole lines, each of them a JSON object unless eyes read them.

The JVM writes a line and its line end in two goes, so another process may get in between; and it says things that no
log configuration reaches: a warning of its own, a stack trace as it dies. So all it writes comes through here. A line
that is JSON passes as it is, any other becomes a log line of ours. When nobody reads stderr, lines are dropped and
counted: no log may ever stop the service.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, BinaryIO

from consumer.monitoring import logs

LINES = 4_000
"""How many lines may wait for a reader of stderr."""
_LONGEST = 65_536
_FLUSH_SECONDS = 2.0

_foreign = logging.getLogger("consumer.supervisor.java")


class Relay:
    """Writes to the descriptor `output`; also a stream for logging.StreamHandler.

    `form` makes of the daemon's JSON lines what is written, None for one that is left out; without it they pass as
    they are.
    """

    def __init__(self, output: int, form: Callable[[Mapping[str, Any]], str | None] | None = None) -> None:
        self._output = output
        self._form = form
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._dropped = 0
        self._writer = threading.Thread(target=self._write_all, name="stderr", daemon=True)
        self._writer.start()

    def follow(self, source: BinaryIO, notice: Callable[[bytes], None]) -> threading.Thread:
        """Passes on all that comes from `source` until its end, and closes it; `notice` sees every line, there."""
        thread = threading.Thread(target=self._read_all, args=(source, notice), name="daemon output", daemon=True)
        thread.start()
        return thread

    def write(self, text: str) -> None:
        self._put(text.encode(errors="backslashreplace"))

    def flush(self) -> None:
        """Does nothing: lines are on their way."""

    def close(self) -> None:
        """Writes what waits, unless nobody reads."""
        self._lines.put(None)
        self._writer.join(_FLUSH_SECONDS)

    def _put(self, line: bytes) -> None:
        if self._lines.qsize() < LINES:
            self._lines.put(line)
        else:
            self._dropped += 1

    def _read_all(self, source: BinaryIO, notice: Callable[[bytes], None]) -> None:
        with source:
            while line := source.readline(_LONGEST):
                notice(line)
                self._pass_on(line)

    def _pass_on(self, line: bytes) -> None:
        if (found := _parsed(line)) is not None:
            if self._form is None:
                self._put(line.removesuffix(b"\n") + b"\n")
            elif (shown := self._form(found)) is not None:
                self.write(f"{shown}\n")
        elif text := line.decode(errors="replace").rstrip():
            _foreign.warning("%s", text)

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            _write(self._output, line)
            if self._dropped and self._lines.empty():
                self._tell_dropped()

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        logging.getLogger(__name__).warning("log lines dropped: nobody read stderr", extra={"lines": dropped})


@contextmanager
def stderr_relay() -> Iterator[Relay]:
    """Everything that this process logs to stderr goes through the relay."""
    relay = Relay(sys.stderr.fileno(), logs.for_terminal if sys.stderr.isatty() else None)
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, logging.StreamHandler)]
    before = [(handler, handler.setStream(relay)) for handler in handlers]
    try:
        yield relay
    finally:
        relay.close()
        for handler, stream in before:
            handler.setStream(stream)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The JSON object that the line is, None when it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _write(output: int, line: bytes) -> None:
    try:
        while line:
            line = line[os.write(output, line) :]
    except OSError:
        # Nobody will ever read it, or the disk behind it is full: the work goes on.
        return
