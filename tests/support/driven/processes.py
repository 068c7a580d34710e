"""Start a server, wait until it answers, stop it for certain (Linux)."""

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

LOOPBACK = "127.0.0.1"
# Linux takes the ports of outgoing connections from 32768 on: below, no client can snatch a chosen port.
PORTS: Sequence[int] = range(20_000, 32_768)
LEASH = Path(__file__).with_name("leash.py")
TAIL_BYTES = 4_000


class ServerDidNotStartError(Exception):
    """The server ended, or did not answer in time. The message shows the end of its log."""


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait for a server, in seconds."""

    start: float = 60.0
    between_tries: float = 0.1
    stop: float = 10.0

    @property
    def tries(self) -> int:
        return int(self.start / self.between_tries)


PATIENCE = RetryPolicy()


@dataclass(frozen=True)
class Server:
    """A command that serves, and the question that tells whether it does.

    The environment is complete: nothing is inherited. The command runs in `directory`, where `log` is kept.
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
    """A TCP port of 127.0.0.1 that nobody uses now."""
    # Not the shared generator: where a test fixes its seed, all would be given the same port.
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
def running(server: Server, retry_policy: RetryPolicy = PATIENCE) -> Iterator[int]:
    """Keep the server up inside the block, which gets its process id; it leads a process group of its own.

    Raises ServerDidNotStartError. The server is gone after the block, whatever ends it, and also when this
    process dies without leaving the block.
    """
    process = _start(server)
    try:
        _wait_until_it_answers(server, process, retry_policy)
        yield process.pid
    finally:
        _stop(process, retry_policy)


def _start(server: Server) -> subprocess.Popen[bytes]:
    with server.log.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(LEASH), *server.command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=server.directory,
            env=server.environment,
            start_new_session=True,
        )


def _wait_until_it_answers(server: Server, process: subprocess.Popen[bytes], retry_policy: RetryPolicy) -> None:
    for _ in range(retry_policy.tries):
        if server.answers() and process.poll() is None:
            return
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(retry_policy.between_tries)
            raise ServerDidNotStartError(f"{server.name} ended with {code}\n{_tail(server.log)}")
    raise ServerDidNotStartError(f"{server.name} does not answer\n{_tail(server.log)}")


def _tail(log: Path) -> str:
    return log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")


def _stop(process: subprocess.Popen[bytes], retry_policy: RetryPolicy) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(retry_policy.stop)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the leash, and whatever the server started
    process.wait()
    if process.stdin:
        process.stdin.close()
