"""When the fork server is started: with small programs in its place."""

import os
import socket
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from consumer.daemon.properties import EXECUTABLE
from consumer.engine.errors import SettingsError
from consumer.settings import Settings
from consumer.supervisor import fork_server, processes
from consumer.supervisor.fork_server import ForkServer
from consumer.supervisor.relay import Relay
from consumer.supervisor.run_directory import FORK_SERVER
from tests.support.driven.service import children, gone
from tests.support.driven.waiting import until

ANSWERS = """
import os, socket
listener = socket.socket(fileno=0)
while True:
    connection, _ = listener.accept()
    connection.send(str(os.getpid()).encode())
    connection.close()
"""
EXITS = "import sys; sys.exit('cannot start')"


@dataclass
class Run:
    """A run directory, and how many record processors the daemon has."""

    directory: Path
    relay: Relay
    log: int
    needed: bool = False
    asked: list[bool] = field(default_factory=list)

    def serve(self, *command: str) -> None:
        ForkServer(fork_server.listen(self.directory), command, dict(os.environ), self.relay).start(self._is_needed)

    def _is_needed(self) -> bool:
        self.asked.append(self.needed)
        return self.needed

    def connect(self) -> bytes:
        """What a new record processor is told: the id of the fork server, or nothing."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(FORK_SERVER)
            return connection.recv(100)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    # The path of a test's folder may be too long for a socket.
    monkeypatch.chdir(tmp_path)
    before = set(children(os.getpid()))
    log = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    yield Run(tmp_path, Relay(log), log)
    for started in set(children(os.getpid())) - before:
        os.kill(started, 9)
        os.waitpid(started, 0)
    os.close(log)


def test_few_record_processors_go_on_alone(run: Run) -> None:
    run.serve(sys.executable, "-c", ANSWERS)
    assert [run.connect() for _ in range(3)] == [b""] * 3


def test_enough_of_them_get_a_fork_server_and_the_waiting_ones_too(run: Run) -> None:
    run.serve(sys.executable, "-c", ANSWERS)
    assert run.connect() == b""
    run.needed = True
    until(lambda: run.connect() != b"", "the end of closing the connections that came before")
    told = {run.connect() for _ in range(3)}
    assert told == {str(pid).encode() for pid in children(os.getpid())} & told
    assert len(told) == 1


def test_those_that_start_together_are_counted_together(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is not sent away before the others have started."""

    def others_start(_seconds: float) -> None:
        run.needed = True

    monkeypatch.setattr(fork_server, "time", SimpleNamespace(sleep=others_start))
    run.serve(sys.executable, "-c", ANSWERS)
    assert run.connect() != b""
    assert run.asked == [False, True]


def test_a_fork_server_that_was_killed_is_replaced_when_it_is_needed_again(run: Run) -> None:
    run.needed = True
    run.serve(sys.executable, "-c", ANSWERS)
    first = int(run.connect())
    run.needed = False
    os.kill(first, 9)
    gone([first])
    os.waitpid(first, 0)
    assert run.connect() == b""
    run.needed = True
    assert int(run.connect()) != first


@pytest.mark.parametrize("command", [(sys.executable, "-c", EXITS), ("/nowhere/consumer", "fork-server")])
def test_without_a_fork_server_they_go_on_alone(run: Run, command: tuple[str, ...]) -> None:
    run.needed = True
    run.serve(*command)
    assert [run.connect() for _ in range(2)] == [b""] * 2


def test_a_process_that_cannot_be_started_is_logged(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(*_: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(processes, "start", start)
    run.needed = True
    run.serve("consumer")
    assert run.connect() == b""
    assert [line.message for line in caplog.records] == ["cannot start the fork server"]


def test_only_this_user_can_connect(run: Run) -> None:
    umask = os.umask(0)
    try:
        fork_server.listen(run.directory).close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE((run.directory / FORK_SERVER).stat().st_mode) == 0o600


def test_a_directory_without_sockets_is_an_error_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / FORK_SERVER).touch()
    with pytest.raises(SettingsError, match="CONSUMER_RUN_DIRECTORY: Address already in use"):
        fork_server.listen(tmp_path)


def test_a_long_path_is_no_problem(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    fork_server.listen(deep).close()
    assert (deep / FORK_SERVER).is_socket()


@pytest.mark.parametrize(
    ("shards", "executable", "started"),
    [
        (4, EXECUTABLE, True),
        (4, f"env A=b {EXECUTABLE}", True),
        (0, EXECUTABLE, False),
        (4, "true", False),
        (4, "python -m tests.support.driven.held_child process", False),
    ],
)
def test_it_is_prepared_for_our_own_record_processors(shards: int, executable: str, started: bool, run: Run) -> None:
    settings = Settings(region="eu-west-1", stream_name="limits", quarantine="dir:/q", fork_from_shards=shards)
    made = fork_server.fork_server(settings, executable, dict(os.environ), run.directory, run.relay)
    assert bool(made) is started
    if made:
        made.listener.close()
