"""A started server answers before it is used, and never stays behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.driven.processes import LOOPBACK, Server, ServerDidNotStartError, Timeouts, free_port, running
from tests.support.driven.waiting import until

ROOT = Path(__file__).parents[2]
HASTE = Timeouts(start=5.0, between_tries=0.02, stop=0.2)
LONG = "import signal; signal.pause()"
UP = "print('up', flush=True); "
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {UP}{LONG}"
WITH_A_CHILD = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {LONG!r}]); {UP}{LONG}"
ABANDONS = """
import sys
from pathlib import Path
from tests.support.driven.processes import Server, running

directory = Path(sys.argv[1])
server = Server("long", [sys.executable, "-c", sys.argv[2]], {}, directory, lambda: True)
with running(server) as pid:
    print(pid, flush=True)
    sys.stdin.read()
"""


def serve(directory: Path, program: str, answers: Callable[[], bool] | None = None) -> Server:
    log = directory / "server.log"
    return Server(
        name="trial",
        command=[sys.executable, "-c", program],
        environment={},
        directory=directory,
        answers=answers or (lambda: log.read_bytes() == b"up\n"),
    )


def members(group: int) -> list[int]:
    """The processes of a process group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended meanwhile
        if int(of) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until_gone(group: int) -> None:
    until(lambda: not members(group), f"the processes of group {group} to be gone", every=0.01)


def test_the_block_begins_when_the_server_answers_and_ends_it(tmp_path: Path) -> None:
    with running(serve(tmp_path, UP + LONG), HASTE) as pid:
        assert (tmp_path / "server.log").read_bytes() == b"up\n"
        assert pid in members(pid)
    wait_until_gone(pid)


def test_an_error_in_the_block_ends_the_server(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), running(serve(tmp_path, LONG, lambda: True), HASTE) as pid:
        raise KeyboardInterrupt
    wait_until_gone(pid)


def test_a_server_that_ignores_the_polite_request_is_killed(tmp_path: Path) -> None:
    with running(serve(tmp_path, STUBBORN), HASTE) as pid:
        pass
    wait_until_gone(pid)


def test_what_the_server_started_goes_with_it(tmp_path: Path) -> None:
    with running(serve(tmp_path, WITH_A_CHILD), HASTE) as pid:
        leash_server_and_child = 3
        assert len(members(pid)) == leash_server_and_child
    wait_until_gone(pid)


def test_a_server_that_died_by_itself_is_no_error(tmp_path: Path) -> None:
    with running(serve(tmp_path, LONG, lambda: True), HASTE) as pid:
        os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)


def test_the_server_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ABANDONS, str(tmp_path), LONG],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert pid in members(pid)
        parent.kill()
    wait_until_gone(pid)


def test_a_server_that_ends_at_once_shows_its_last_words(tmp_path: Path) -> None:
    server = serve(tmp_path, "raise SystemExit('the port is taken')")
    last_words = r"trial exited with 1\nthe port is taken"
    with pytest.raises(ServerDidNotStartError, match=last_words), running(server, HASTE):
        pass


def test_a_server_that_never_answers_is_given_up_and_ended(tmp_path: Path) -> None:
    server = serve(tmp_path, "import os; print(os.getpid(), flush=True); " + LONG, lambda: False)
    impatient = Timeouts(start=1.0, between_tries=0.02, stop=0.2)
    with pytest.raises(ServerDidNotStartError, match="trial does not answer"), running(server, impatient):
        pass
    wait_until_gone(int((tmp_path / "server.log").read_text()))


def test_a_free_port_can_be_listened_on_and_is_then_no_longer_free(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr("tests.support.driven.processes.PORTS", [port])
    with socket.create_server((LOOPBACK, port)), pytest.raises(OSError, match="no free port found"):
        free_port()
