"""`make demo` prints limits and outcomes, shows a limit that moves, and leaves no process behind, even after Ctrl-C.

`make playground` keeps everything running, and what it lists to try works in a second terminal.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from examples.demo_page import LIMIT, USER
from examples.playground import TRIES
from tests.support.driven.processes import LOOPBACK
from tests.support.driven.terminal import in_a_terminal
from tests.support.driven.waiting import until
from tests.support.emulators.aws import ROOT

DEMO = [sys.executable, "-m", "examples.demo", "--events", "300"]
PLAYGROUND = [sys.executable, "-m", "examples.playground"]

WAITS = "Enter or Ctrl-C ends the demo"
PAGE = re.compile(rf"(?P<server>http://127\.0\.0\.1:\d+)/limits\?user={USER}")
EXPORT = re.compile(r"^export .*$", re.MULTILINE)
TRY = re.compile(r"^ *\d+\. (.*?)  ", re.MULTILINE)
"""A command that the playground lists, up to two blanks."""

MOMENTS = {
    "while MiniStack starts": "starting MiniStack",
    "while the tables are made": "create table",
    "while the page starts": "starting the page",
    "while the daemon starts": "starting the consumer",
    "while records are consumed": "lag",
}


@pytest.fixture
def variables(tmp_path: Path) -> Mapping[str, str]:
    """Only the search path and a TMPDIR, which identifies the processes of the demo."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "COLUMNS": "120"}


def test_the_demo_shows_limits_and_outcomes_and_leaves_nothing_behind(variables: Mapping[str, str]) -> None:
    shown = subprocess.run(DEMO, env=variables, check=True, capture_output=True, text=True).stdout

    assert "u-anna" in shown
    assert "quarantined" in shown
    assert "nothing is missing" in shown
    assert "make playground" in shown
    assert "stopped: exit code 0" in shown
    assert f"the page was {page_in(shown)[0]}\non a terminal" in shown
    assert not is_open(page_in(shown)["server"])
    assert processes_with(variables["TMPDIR"]) == []


def test_on_a_terminal_the_page_stays_until_enter(variables: Mapping[str, str]) -> None:
    with in_a_terminal(DEMO, variables, has_keyboard=True) as terminal:
        until(lambda: WAITS in terminal.text(), "the demo to wait for Enter", seconds=300)
        first, last = PAGE.search(terminal.text()), page_in(terminal.text())
        assert first
        assert first.start() < terminal.text().index("starting the consumer")
        assert first[0] == last[0]
        assert_it_moves(last)
        terminal.type(b"\n")
        assert terminal.process.wait(60) == 0

    assert "stopped: exit code 0" in terminal.text()
    assert processes_with(variables["TMPDIR"]) == []


def test_elsewhere_it_stays_if_told_so_until_ctrl_c(variables: Mapping[str, str], tmp_path: Path) -> None:
    output = tmp_path / "output"
    with started({**variables, "DEMO_KEEP": "1"}, output) as demo:
        until(lambda: WAITS in output.read_text(errors="replace"), "the demo to wait for Ctrl-C", seconds=300)
        assert_it_moves(page_in(output.read_text(errors="replace")))
        demo.send_signal(signal.SIGINT)
        code = demo.wait(timeout=60)

    assert code == 0, output.read_text(errors="replace")
    assert processes_with(variables["TMPDIR"]) == []


@pytest.mark.parametrize("said", MOMENTS.values(), ids=MOMENTS)
def test_ctrl_c_leaves_no_process_behind(variables: Mapping[str, str], tmp_path: Path, said: str) -> None:
    output = tmp_path / "output"
    with started({**variables, "FORCE_COLOR": "1"}, output) as demo:
        until(lambda: said in output.read_text(errors="replace"), f"the demo to say {said!r}")
        demo.send_signal(signal.SIGINT)
        code = demo.wait(timeout=60)

    assert code == 130, output.read_text(errors="replace")
    until(lambda: not processes_with(variables["TMPDIR"]), "the end of all processes of the demo")


def test_what_the_playground_lists_works_and_ctrl_c_stops_it(variables: Mapping[str, str], tmp_path: Path) -> None:
    output = tmp_path / "output"
    with started(variables, output, PLAYGROUND) as playground:
        until(lambda: "Ctrl-C stops everything" in output.read_text(), "what to try", seconds=300)
        listed = output.read_text()
        commands = TRY.findall(listed)
        assert len(commands) == len(TRIES)
        for command in commands:
            until(partial(entered, command, listed, variables), f"{command} to succeed", seconds=60, every=1)
        playground.send_signal(signal.SIGINT)
        code = playground.wait(timeout=60)

    assert code == 0, output.read_text()
    assert processes_with(variables["TMPDIR"]) == []


def entered(command: str, listed: str, variables: Mapping[str, str]) -> bool:
    """Whether the command succeeds in another terminal. A first try may be early: the JVM may just have been killed."""
    script = "\n".join(["set -eu -o pipefail", *EXPORT.findall(listed), command])
    path = f"{Path(sys.executable).parent}:{variables['PATH']}"
    return not subprocess.run(["bash", "-c", script], cwd=ROOT, env={**variables, "PATH": path}, check=False).returncode


@contextmanager
def started(
    variables: Mapping[str, str], output: Path, command: Sequence[str] = DEMO
) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs the command without a terminal. It is ended at the end of the block, if it still runs."""
    with output.open("wb") as file:
        demo = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield demo
    finally:
        demo.terminate()
        demo.wait()


def page_in(shown: str) -> re.Match[str]:
    """The last address of the page that the demo named."""
    *_, last = PAGE.finditer(shown)
    return last


def assert_it_moves(page: re.Match[str]) -> None:
    with urllib.request.urlopen(page[0], timeout=10) as answer:
        assert LIMIT in answer.read().decode()
    before = progress(page["server"])
    until(lambda: progress(page["server"]) != before, "the limit to move")


def progress(server: str) -> str:
    with urllib.request.urlopen(f"{server}/user-limits/{USER}", timeout=10) as answer:
        (limit,) = json.load(answer)["limits"]
    return str(limit["progress"])


def is_open(server: str) -> bool:
    port = int(server.rpartition(":")[2])
    try:
        socket.create_connection((LOOPBACK, port), timeout=10).close()
    except OSError:
        return False
    return True


def processes_with(directory: str) -> list[int]:
    """The processes with the directory in their environment."""
    mark = directory.encode()
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and mark in _environment(path)]


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
