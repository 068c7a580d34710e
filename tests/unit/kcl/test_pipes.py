"""No other code can use the pipes to the daemon: tested in real processes."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.driven.daemon import INITIALIZE, LEASE_LOST, batch, delivered
from tests.support.faults.writes_to_stdout import STRAY_OUTPUT
from tests.support.generators.events import created

ROOT = Path(__file__).resolve().parents[3]

TAKE_OVER = "from consumer.kcl.pipes import take_over\npipes = take_over()\nimport os, sys\n"


def run(
    code: str, given: bytes = b"", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Runs a process that takes over the pipes and then executes the code."""
    command = [sys.executable, "-c", TAKE_OVER + code]
    return subprocess.run(command, input=given, capture_output=True, check=True, cwd=ROOT, env=environment)


def test_the_daemon_receives_what_is_written() -> None:
    assert run("pipes.output.write('to the daemon'); pipes.output.flush()").stdout == b"to the daemon"


@pytest.mark.parametrize(
    "stray",
    [
        "print('stray')",
        "sys.stdout.write('stray')",
        "os.write(1, b'stray')",
        "sys.__stdout__.write('stray')",
        "os.system('echo stray')",
        "import subprocess; subprocess.run(['echo', 'stray'], close_fds=False)",
        "import logging; logging.basicConfig(stream=sys.stdout); logging.warning('stray')",
        "import faulthandler; faulthandler.dump_traceback(1); print('stray')",
    ],
)
def test_stray_output_goes_to_standard_error(stray: str) -> None:
    ended = run(f"pipes.output.write('to the daemon'); pipes.output.flush()\n{stray}")
    assert ended.stdout == b"to the daemon"
    assert b"stray" in ended.stderr


@pytest.mark.parametrize(
    "greedy",
    ["sys.stdin.read()", "sys.stdin.readline()", "os.read(0, 100)", "os.popen('cat').read()", "open(0).read()"],
)
def test_stray_reads_get_nothing_from_the_daemon(greedy: str) -> None:
    ended = run(f"read = {greedy}\nsys.stderr.write(repr((read, pipes.input.read())))", b"from the daemon\n")
    assert ended.stderr in (b"('', 'from the daemon\\n')", b"(b'', 'from the daemon\\n')")


def test_a_prompt_finds_the_end_of_input() -> None:
    ended = run("try:\n    input()\nexcept EOFError:\n    pipes.output.write('the end'); pipes.output.flush()", b"x\n")
    assert ended.stdout == b"the end"


def test_no_child_inherits_the_pipes() -> None:
    ended = run("sys.stderr.write(str([os.get_inheritable(pipe.fileno()) for pipe in pipes[:2]]))")
    assert ended.stderr == b"[False, False]"


@pytest.mark.parametrize("environment", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"}, {}])
def test_lines_are_utf8_and_end_at_line_feeds_alone(environment: Mapping[str, str]) -> None:
    line = "\u00e9\u20ac\U0001f3b2 \u2028 \u0085 \r end\n".encode()
    ended = run("pipes.output.write(pipes.input.readline()); pipes.output.flush()", line + b"more\n", environment)
    assert ended.stdout == line


def test_a_store_that_prints_does_not_disturb_the_protocol() -> None:
    steps = (INITIALIZE, batch(delivered(101, created(1))), answer("101"), batch(), LEASE_LOST)
    given = "".join(json.dumps(step) + "\n" for step in steps).encode()
    command = [sys.executable, "-m", "tests.support.faults.writes_to_stdout"]
    ended = subprocess.run(command, input=given, capture_output=True, check=True, cwd=ROOT)
    assert [json.loads(line) for line in ended.stdout.split(b"\n") if line] == [
        {"action": "status", "responseFor": "initialize"},
        {"action": "checkpoint", "sequenceNumber": "101", "subSequenceNumber": 0},
        {"action": "status", "responseFor": "processRecords"},
        {"action": "status", "responseFor": "processRecords"},
        {"action": "status", "responseFor": "leaseLost"},
    ]
    assert ended.stderr.count(STRAY_OUTPUT.encode()) == 3
    assert b"read: '' b''" in ended.stderr


def answer(number: str) -> dict[str, Any]:
    return {"action": "checkpoint", "sequenceNumber": number, "subSequenceNumber": 0}
