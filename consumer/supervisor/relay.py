"""The only writer to the container's stderr. It writes whole lines: JSON, or readable text on a terminal.

The JVM writes a line and its newline separately, so the output of another process could come between them. It also
prints text that no log configuration controls: its own warnings, and a stack trace when it crashes. All of its output
therefore goes through here. A JSON line is passed on unchanged, any other line becomes a log line of the supervisor.
When nobody reads stderr, lines are dropped and counted, because logging must never stop the service.
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
"""How many lines are buffered while nobody reads stderr."""
_LONGEST = 65_536
_FLUSH_SECONDS = 2.0

_foreign = logging.getLogger("consumer.supervisor.java")


class Relay:
    """Writes to the descriptor `output`; also a stream for logging.StreamHandler.

    `form` formats a JSON line of the daemon, or returns None to leave it out. Without it, lines are passed on
    unchanged.
    """

    def __init__(self, output: int, form: Callable[[Mapping[str, Any]], str | None] | None = None) -> None:
        self._output = output
        self._form = form
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._dropped = 0
        self._writer = threading.Thread(target=self._write_all, name="stderr", daemon=True)
        self._writer.start()

    def follow(self, source: BinaryIO, notice: Callable[[bytes], None]) -> threading.Thread:
        """Passes on all lines of `source` and closes it at its end. `notice` gets each line, on the thread returned."""
        thread = threading.Thread(target=self._read_all, args=(source, notice), name="daemon output", daemon=True)
        thread.start()
        return thread

    def write(self, text: str) -> None:
        self._put(text.encode(errors="backslashreplace"))

    def flush(self) -> None:
        """Does nothing: the writer thread writes every line at once."""

    def close(self) -> None:
        """Writes the lines that are buffered; gives up after some seconds when nobody reads them."""
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
                self._report_dropped()

    def _report_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        logging.getLogger(__name__).warning("log lines dropped: nobody read stderr", extra={"lines": dropped})


@contextmanager
def stderr_relay() -> Iterator[Relay]:
    """A relay to stderr, through which the log handlers of this process write as well."""
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
    """The line as a JSON object, None if it is not one."""
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
        # The reader is gone, or the disk is full. Neither may stop the service.
        return
