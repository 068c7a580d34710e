"""Pages whose commands tests run: the blocks of a page, a copy of the checkout, and what the commands print there."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.support.driven.processes import DIE_WITH_PARENT
from tests.support.emulators.aws import ROOT

BLOCK = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<file>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
NOT_COPIED = shutil.ignore_patterns(".*", "dist", "build", "node_modules", "*.egg-info", "__pycache__")
ENVIRONMENTS = (".venv", ".venv-ministack")
OLD = 946_684_800
"""A time before any environment was made, so that `make env` finds them up to date in the copy."""
MARK = "--- end of a block"
SECONDS = 1_200.0


@dataclass(frozen=True)
class Block:
    """`kind`: `sh`, `text` (what the `sh` before it prints), or the language of what is added to `file`."""

    kind: str
    file: str
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(found["kind"], found["file"] or "", found["text"]) for found in BLOCK.finditer(text)]


def copied(to: Path) -> Path:
    """A copy of the checkout that shares its environments."""
    shutil.copytree(ROOT, to, ignore=NOT_COPIED)
    for path in to.rglob("*"):
        os.utime(path, (OLD, OLD))
    for name in ENVIRONMENTS:
        (to / name).symlink_to(ROOT / name)
    return to


def printed(script: str, checkout: Path, **variables: str) -> list[str]:
    """What the script prints before each MARK and at its end. Kills what it leaves behind."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(checkout.parent), **variables}
    output = checkout.with_name("output.txt")
    command = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), "bash", "-c", script]
    with (
        output.open("w") as stdout,
        subprocess.Popen(
            command, cwd=checkout, env=environment, stdin=subprocess.PIPE, stdout=stdout, start_new_session=True
        ) as shell,
    ):
        try:
            code = shell.wait(SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    text = output.read_text(encoding="utf-8")
    assert code == 0, text
    return text.split(f"{MARK}\n")


def check_shown(steps: list[Block], commands: list[Block], outputs: list[str]) -> None:
    """Whether each of the commands printed what the page shows below it. `outputs`: of `printed`."""
    assert len(outputs) == len(commands) + 1
    for command, output in zip(commands, outputs, strict=False):
        below = next((after for step, after in pairwise(steps) if step is command), command)
        if below.kind == "text":
            assert matches(below.text, output), f"{command.text}prints\n{output}"


def matches(shown: str, output: str) -> bool:
    """Compares line by line, without empty lines and the width of blanks. `...` matches anything."""
    pattern = [re.escape(line).replace(r"\.\.\.", ".*") for line in _lines(shown)]
    return re.fullmatch("\n".join(pattern), "\n".join(_lines(output))) is not None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
