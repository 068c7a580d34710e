"""`make demo` prints limits and outcomes, and leaves no process behind, even after Ctrl-C."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.driven.waiting import until

DEMO = [sys.executable, "-m", "examples.demo", "--events", "300"]

MOMENTS = {
    "while MiniStack starts": "starting MiniStack",
    "while the tables are made": "create table",
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
    assert "stopped: exit code 0" in shown
    assert processes_with(variables["TMPDIR"]) == []


@pytest.mark.parametrize("said", MOMENTS.values(), ids=MOMENTS)
def test_ctrl_c_leaves_no_process_behind(variables: Mapping[str, str], tmp_path: Path, said: str) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        demo = subprocess.Popen(DEMO, env={**variables, "FORCE_COLOR": "1"}, stdout=file, stderr=subprocess.STDOUT)
        until(lambda: said in output.read_text(errors="replace"), f"the demo to say {said!r}")
        demo.send_signal(signal.SIGINT)
        code = demo.wait(timeout=60)

    assert code == 130, output.read_text(errors="replace")
    until(lambda: not processes_with(variables["TMPDIR"]), "the end of all processes of the demo")


def processes_with(directory: str) -> list[int]:
    """The processes with the directory in their environment."""
    mark = directory.encode()
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and mark in _environment(path)]


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
