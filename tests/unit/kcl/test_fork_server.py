"""Record processors that are forked from one process: real processes, and signals that may hit any of them."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from consumer.kcl import fork_client
from consumer.supervisor.run_directory import FORK_SERVER
from tests.support.driven.daemon import INITIALIZE, LEASE_LOST
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.service import alive, children, command_line, gone
from tests.support.driven.waiting import until

ROOT = Path(__file__).resolve().parents[3]
PROCESS = (sys.executable, "-m", "consumer", "process")
SERVER = (sys.executable, "-m", "consumer", "fork-server")
CANNOT_FORK = """
import os, socket
from consumer.kcl import fork_server
def fork():
    raise BlockingIOError(11, "Resource temporarily unavailable")
os.fork = fork
fork_server.serve(socket.socket(fileno=0))
"""
DAEMON = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Shard:
    """The process that the daemon starts, and the daemon's ends of its pipes."""

    process: subprocess.Popen[bytes]

    def request(self, message: Mapping[str, Any]) -> str:
        """Sends a message and returns the action that is reported as done."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        answer = next(line for line in self.process.stdout if line.strip())
        return str(json.loads(answer)["responseFor"])

    def output(self) -> bytes:
        """The rest of what the record processor writes, which ends when no process holds the pipe."""
        assert self.process.stdout
        return self.process.stdout.read()

    def close(self) -> int:
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(30)


@dataclass
class Forks:
    """A run directory with a fork server."""

    directory: Path
    environment: Mapping[str, str]
    listener: socket.socket
    server: subprocess.Popen[bytes]
    shards: list[Shard]

    def start(self, *before: str) -> Shard:
        with (self.directory / "log").open("ab") as log:
            started = subprocess.Popen(
                [*before, *PROCESS],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
            )
        self.shards.append(Shard(started))
        return self.shards[-1]

    def forked(self, *before: str) -> tuple[Shard, int]:
        """A shard that has been initialized, and its fork."""
        earlier = set(children(self.server.pid))
        shard = self.start(*before)
        assert shard.request(INITIALIZE) == "initialize"
        (fork,) = set(children(self.server.pid)) - earlier
        return shard, fork


def server(listener: socket.socket, environment: Mapping[str, str], *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdin=listener.fileno(), cwd=ROOT)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "metrics").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "AWS_REGION": "eu-north-1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{free_port()}",
        "ENABLE_DYNAMO_DB": "false",
        "CONSUMER_STREAM_NAME": "limits",
        "CONSUMER_QUARANTINE": f"dir:{tmp_path / 'quarantine'}",
        "CONSUMER_RUN_DIRECTORY": str(tmp_path),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    # The path of a test's folder may be too long for a socket.
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(FORK_SERVER)
        listener.listen()
        yield listener


@pytest.fixture
def forks(tmp_path: Path, environment: dict[str, str], listener: socket.socket) -> Iterator[Forks]:
    started = Forks(tmp_path, environment, listener, server(listener, environment, *SERVER), [])
    listener.close()
    yield started
    for process in (started.server, *(shard.process for shard in started.shards)):
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            with suppress(BrokenPipeError):
                pipe.close()


def test_a_fork_is_the_record_processor_and_the_exit_code_is_its_own(forks: Forks) -> None:
    shard, fork = forks.forked()
    assert command_line(fork) == " ".join(SERVER)
    until(lambda: "consumer" not in command_line(shard.process.pid), "the small program")
    assert shard.request(LEASE_LOST) == "leaseLost"
    assert shard.close() == 0
    gone([fork])
    until(lambda: fork not in children(forks.server.pid), "the fork to be reaped")


def test_an_error_before_the_protocol_is_the_exit_code_too(forks: Forks) -> None:
    shard, _ = forks.forked()
    assert shard.process.stdin
    shard.process.stdin.write(b"not JSON\n")
    shard.process.stdin.flush()
    assert shard.process.wait(30) == 1


def test_two_forks_have_their_own_pipes_metrics_and_logs(forks: Forks) -> None:
    one, first = forks.forked()
    other, second = forks.forked()
    assert one.request(LEASE_LOST) == "leaseLost"
    assert one.close() == 0
    assert other.request(LEASE_LOST) == "leaseLost"
    assert other.close() == 0
    written = {file.stem.rpartition("_")[2] for file in (forks.directory / "metrics").iterdir()}
    assert written == {str(first), str(second)}
    assert (forks.directory / "log").read_text().count('"lease lost"') == 2


def test_the_server_has_one_thread_and_its_forks_have_more(forks: Forks) -> None:
    _, fork = forks.forked()
    assert threads(forks.server.pid) == 1
    assert threads(fork) > 1


def threads(process: int) -> int:
    return len(list(Path(f"/proc/{process}/task").iterdir()))


def test_nothing_of_another_shard_or_of_the_server_is_left_in_a_fork(forks: Forks) -> None:
    """A pipe that another process holds would never end."""
    _, first = forks.forked()
    _, second = forks.forked()
    ours, its, others = (set(sockets_and_pipes(process)) for process in (forks.server.pid, first, second))
    assert ours & its == ours & others == its & others == set()


def sockets_and_pipes(process: int) -> list[str]:
    targets = [str(file.readlink()) for file in Path(f"/proc/{process}/fd").iterdir()]
    return [target for target in targets if target.startswith(("socket:", "pipe:"))]


# --- Deaths --------------------------------------------------------------------------------------------------------


def test_a_killed_fork_ends_the_process_that_the_daemon_started(forks: Forks) -> None:
    shard, fork = forks.forked()
    os.kill(fork, signal.SIGKILL)
    assert shard.output() == b""
    assert shard.process.wait(30) == 1


def test_a_fork_exits_when_the_process_that_the_daemon_started_was_killed(forks: Forks) -> None:
    shard, fork = forks.forked()
    shard.process.kill()
    gone([fork])
    assert shard.output() == b""


def test_a_fork_exits_with_the_daemon_although_its_pipes_stay_open(forks: Forks) -> None:
    shard, fork = forks.forked(sys.executable, "-c", DAEMON)
    (waiting,) = children(shard.process.pid)
    shard.process.kill()
    gone([waiting, fork])
    assert '"the daemon has exited"' in (forks.directory / "log").read_text()


def test_forks_outlive_their_server_and_later_shards_need_none(forks: Forks) -> None:
    shard, fork = forks.forked()
    forks.server.kill()
    assert forks.server.wait(30) == KILLED
    later = forks.start()
    assert later.request(INITIALIZE) == "initialize"
    assert command_line(later.process.pid) == " ".join(PROCESS)
    assert shard.request(LEASE_LOST) == "leaseLost"
    assert alive(fork)
    assert (shard.close(), later.close()) == (0, 0)
    gone([fork])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_only_the_daemon_ends_a_record_processor(forks: Forks, number: int) -> None:
    shard, fork = forks.forked()
    for process in (forks.server.pid, shard.process.pid, fork):
        os.kill(process, number)
    assert shard.request(LEASE_LOST) == "leaseLost"
    assert shard.close() == 0
    other, _ = forks.forked()
    assert other.close() == 0


# --- Alone ---------------------------------------------------------------------------------------------------------


def test_a_client_that_says_nothing_keeps_nobody_waiting(forks: Forks) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(FORK_SERVER)
        assert silent.recv(1) == fork_client.READY
        shard = forks.start()
        assert shard.request(INITIALIZE) == "initialize"
        assert shard.close() == 0


def test_without_a_fork_the_process_goes_on_alone(environment: dict[str, str], listener: socket.socket) -> None:
    failing = server(listener, environment, sys.executable, "-c", CANNOT_FORK)
    alone = subprocess.run(PROCESS, env=environment, input=b"", check=False, capture_output=True, cwd=ROOT, timeout=60)
    failing.kill()
    failing.wait()
    assert alone.returncode == 0


def closes(listener: socket.socket) -> None:
    listener.accept()[0].close()


def says_something_else(listener: socket.socket) -> None:
    with listener.accept()[0] as connection:
        connection.send(b"?")


def is_silent(listener: socket.socket) -> None:
    """The connection stays open until the listener is closed, and is never answered."""


@pytest.mark.parametrize("answer", [closes, says_something_else, is_silent])
def test_only_one_that_is_ready_gets_the_pipes(
    answer: Callable[[socket.socket], None],
    listener: socket.socket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fork_client, "ANSWER_SECONDS", 0.2 if answer is is_silent else 30.0)
    thread = threading.Thread(target=answer, args=(listener,))
    thread.start()
    fork_client.hand_over(str(tmp_path))
    thread.join()


@pytest.mark.parametrize("directory", [None, "", "nowhere", "."])
def test_without_a_listener_nothing_happens(
    directory: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fork_client.hand_over(directory)


def test_a_socket_that_nobody_listens_to_any_more_is_no_fork_server(listener: socket.socket, tmp_path: Path) -> None:
    listener.close()
    assert (tmp_path / FORK_SERVER).is_socket()
    fork_client.hand_over(str(tmp_path))


def test_both_sides_name_the_same_socket() -> None:
    assert fork_client.SOCKET == FORK_SERVER
