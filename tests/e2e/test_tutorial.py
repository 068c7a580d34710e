"""The tutorials and the guide for an event type, followed in a fresh copy of the checkout, lead where they say."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.driven.processes import DIE_WITH_PARENT, LOOPBACK, free_port

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs" / f"{name}.md" for name in ("tutorial", "tutorial-projection", "how-to/add-an-event-type")]
BLOCK = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<file>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
NOT_COPIED = shutil.ignore_patterns(".*", "dist", "build", "node_modules", "*.egg-info", "__pycache__")
ENVIRONMENTS = (".venv", ".venv-ministack")
OLD = 946_684_800
"""A time before any environment was made, so that `make env` finds them up to date in the copy."""
MARK = "--- end of a block"
SECONDS = 600


@dataclass(frozen=True)
class Block:
    """`kind`: `sh`, `text` (what the `sh` before it prints), or the language of what is added to `file`."""

    kind: str
    file: str
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(found["kind"], found["file"] or "", found["text"]) for found in BLOCK.finditer(text)]


def inserted(before: str, added: str) -> str:
    """Inserts as the page says: at the first or last line of `added` if `before` has it, otherwise at the end."""
    first, *_, last = added.splitlines(keepends=True)
    places = [line for line in (first, last) if f"\n{line}" in before]
    if not places:
        return f"{before}\n\n{added}" if before else added
    (line,) = places
    assert before.count(f"\n{line}") == 1, f"not one place for {line!r}"
    return before.replace(f"\n{line}", f"\n{added}")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout that shares its environments."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
    for path in copy.rglob("*"):
        os.utime(path, (OLD, OLD))
    for name in ENVIRONMENTS:
        (copy / name).symlink_to(ROOT / name)
    return copy


def script(steps: list[Block], checkout: Path) -> str:
    """The page as one bash script with its commands and its changes to files."""
    lines = ["set -eu -o pipefail"]
    contents: dict[Path, str] = {}
    for number, step in enumerate(steps):
        if step.kind == "sh":
            lines += [step.text, f"echo '{MARK}'"]
        elif step.file:
            target = checkout / step.file
            before = contents.get(target) or (target.read_text(encoding="utf-8") if target.exists() else "")
            contents[target] = inserted(before, step.text)
            version = checkout.with_name(f"version-{number}")
            version.write_text(contents[target], encoding="utf-8")
            lines.append(f"cp '{version}' '{target}'")
    return "\n".join(lines).replace(":4566", f":{(port := free_port())}").replace("=4566", f"={port}")


def printed(steps: list[Block], checkout: Path) -> list[str]:
    """The output of each block of commands."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(checkout.parent),
        "PYTHONPATH": str(checkout),
        "CONSUMER_METRICS_ADDRESS": f"{LOOPBACK}:{free_port()}",
    }
    output = checkout.with_name("output.txt")
    command = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), "bash", "-c", script(steps, checkout)]
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_leads_where_it_says(page: Path, checkout: Path) -> None:
    steps = blocks(page)
    outputs = printed(steps, checkout)
    commands = [number for number, step in enumerate(steps) if step.kind == "sh"]
    for number, output in zip(commands, outputs, strict=False):
        if number + 1 < len(steps) and steps[number + 1].kind == "text":
            assert matches(steps[number + 1].text, output), f"{steps[number].text}prints\n{output}"
    assert len(outputs) == len(commands) + 1


def matches(shown: str, output: str) -> bool:
    """Compares line by line, without empty lines and the width of blanks. `...` matches anything."""
    pattern = [re.escape(line).replace(r"\.\.\.", ".*") for line in _lines(shown)]
    return re.fullmatch("\n".join(pattern), "\n".join(_lines(output))) is not None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
