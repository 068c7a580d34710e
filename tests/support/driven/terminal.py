"""A command in a pseudo-terminal."""

import os
import pty
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.support.driven.background import background


@dataclass
class Terminal:
    """What the command printed, and the keyboard if it has one."""

    process: "subprocess.Popen[bytes]"
    descriptor: int
    seen: bytearray = field(default_factory=bytearray)

    def text(self) -> str:
        return self.seen.decode(errors="replace")

    def lines(self) -> list[str]:
        return self.text().splitlines()

    def type(self, keys: bytes) -> None:
        os.write(self.descriptor, keys)


@contextmanager
def in_a_terminal(
    command: Sequence[str], environment: Mapping[str, str], *, has_keyboard: bool = False
) -> Iterator[Terminal]:
    """Runs the command during the block. Without a keyboard its standard input is a pipe, closed at the end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=theirs if has_keyboard else subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    terminal = Terminal(process, ours)

    def read(_over: object) -> None:
        with suppress(OSError):  # how a pseudo-terminal says that the other end is closed
            while more := os.read(ours, 65_536):
                terminal.seen += more

    try:
        with background(read, "terminal"):
            try:
                yield terminal
            finally:
                if process.stdin:
                    process.stdin.close()
                process.terminate()
                process.wait()
    finally:
        os.close(ours)
