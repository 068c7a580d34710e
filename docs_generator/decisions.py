"""docs/decisions/index.md, from the decisions beside it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from docs_generator import ROOT

FOLDER = ROOT / "docs" / "decisions"
OPENING = """\
# Decisions

<!-- Generated from docs/decisions/*.md by `make docs`. Do not edit. -->

Each page records one decision: what was decided where another way was possible, why, and what was measured. Figures
are from one machine with two shared cores, Python 3.11 and boto3 1.44. Their ratios are meaningful, their absolute
values are not.

A new decision is a new file with the next number. Its second line is `Status: accepted`. A decision that replaces an
earlier one says so, and the status of the earlier one becomes `Status: superseded by NNNN`.

| decision | status |
|---|---|
"""
FORM = re.compile(r"# (?P<number>[1-9]\d*)\. (?P<title>.+)\n\nStatus: (?P<status>accepted|superseded by \d{4})\n\n")


@dataclass(frozen=True)
class Decision:
    """One file. `status`: `accepted`, or `superseded by` and the number of the later decision."""

    file: str
    number: int
    title: str
    status: str


def index() -> str:
    """The text of the index."""
    return OPENING + rows(decisions())


def rows(found: Sequence[Decision]) -> str:
    """A row of the table for each decision."""
    files = {each.number: each.file for each in found}
    return "".join(f"| [{each.number}. {each.title}]({each.file}) | {_status(each, files)} |\n" for each in found)


def decisions(folder: Path = FOLDER) -> list[Decision]:
    """In the order of their numbers. Raises ValueError for a file that does not have the form of a decision."""
    return sorted(_read(folder), key=lambda each: each.number)


def _read(folder: Path) -> Iterator[Decision]:
    for path in sorted(folder.glob("[0-9]*.md")):
        found = FORM.match(path.read_text(encoding="utf-8"))
        if not found or not path.name.startswith(f"{int(found['number']):04}-"):
            raise ValueError(f"{path.name}: begin with `# {path.name[:4].lstrip('0')}. TITLE` and `Status: accepted`")
        yield Decision(path.name, int(found["number"]), found["title"], found["status"])


def _status(decision: Decision, files: Mapping[int, str]) -> str:
    word, by, number = decision.status.partition("superseded by ")
    return f"{by}[{int(number)}]({files[int(number)]})" if by else word
