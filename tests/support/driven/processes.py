"""Starts a server, waits until it answers, and stops it in any case (Linux)."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

LOOPBACK = "127.0.0.1"
# Linux chooses ports of outgoing connections from 32768 up, so no client can take a port below.
PORTS: Sequence[int] = range(20_000, 32_768)
DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
TAIL_BYTES = 4_000

Output: TypeAlias = "int | IO[bytes]"
"""Where a command writes to: a file or its descriptor."""


class ServerDidNotStartError(Exception):
    """The server exited, or did not answer in time. The message shows the end of its log."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for a server to start, between two tries, and for it to stop."""

    start: float = 60.0
    between_tries: float = 0.1
    stop: float = 10.0

    @property
    def tries(self) -> int:
        return int(self.start / self.between_tries)


TIMEOUTS = Timeouts()


@dataclass(frozen=True)
class Server:
    """A command that serves, and `answers`, which says whether it does.

    The environment is complete: nothing is inherited. The command runs in `directory`, which also has `log`.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    answers: Callable[[], bool]

    @property
    def log(self) -> Path:
        return self.directory / "server.log"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now."""
    # Not the shared generator: tests that fix its seed would all get the same port.
    for port in secrets.SystemRandom().sample(PORTS, min(100, len(PORTS))):
        if _is_free(port):
            return port
    raise OSError(f"no free port found on {LOOPBACK}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


@contextmanager
def running(server: Server, timeouts: Timeouts = TIMEOUTS) -> Iterator[int]:
    """Runs the server during the block and yields its process id, which is also its process group.

    The server is stopped after the block, also when the block raises or this process is killed.
    Raises ServerDidNotStartError.
    """
    process = _start(server)
    try:
        _wait_until_it_answers(server, process, timeouts)
        yield process.pid
    finally:
        _stop(process, timeouts)


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    output: Output,
    errors: Output,
    directory: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a command in a process group of its own, which is killed when this process dies. End it with `kill`."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=errors,
        cwd=directory,
        env=environment,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes], *groups: int) -> None:
    """Kills the process group of a started command, and these, and waits for the command to exit."""
    for group in (process.pid, *groups):
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()


def _start(server: Server) -> subprocess.Popen[bytes]:
    with server.log.open("wb") as log:
        return start(server.command, server.environment, log, log, server.directory)


def _wait_until_it_answers(server: Server, process: subprocess.Popen[bytes], timeouts: Timeouts) -> None:
    for _ in range(timeouts.tries):
        if server.answers() and process.poll() is None:
            return
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(timeouts.between_tries)
            raise ServerDidNotStartError(f"{server.name} exited with {code}\n{_tail(server.log)}")
    raise ServerDidNotStartError(f"{server.name} does not answer\n{_tail(server.log)}")


def _tail(log: Path) -> str:
    return log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")


def _stop(process: subprocess.Popen[bytes], timeouts: Timeouts) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeouts.stop)
    kill(process)  # also the watcher of die_with_parent.py, and whatever the server started
