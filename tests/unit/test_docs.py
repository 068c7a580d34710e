"""The documents: links and named files exist, and each fault of the table has its test."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAULTS = ROOT / "tests" / "faults"
ROWS = range(1, 63)
DOCUMENTS = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
NAMED_FILE = re.compile(r"`([\w./-]+\.(?:py|yaml|json|xml|properties|lock|md))`")
ROW = re.compile(r"^\| (\d+) \|.*$", re.MULTILINE)
TEST = re.compile(r"^def test_(\d\d)_", re.MULTILINE)

FOLDERS = ("", "tests", "tests/faults", "properties")
"""Folders in which a named file may be: a document need not repeat the folder that it describes."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_document_resolve(document: Path) -> None:
    links = [link for link in LINK.findall(_prose(document)) if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in links if not _resolves(document, link)] == []


@pytest.mark.parametrize("name", ["explanation/security.md", "explanation/reliability.md"])
def test_files_named_in_a_document_exist(name: str) -> None:
    named = NAMED_FILE.findall((ROOT / "docs" / name).read_text(encoding="utf-8"))
    assert named
    assert [file for file in named if not _exists(file)] == []


def test_each_fault_has_its_test_and_the_table_names_it() -> None:
    table = (ROOT / "docs" / "explanation" / "reliability.md").read_text(encoding="utf-8")
    rows = [(int(row[1]), NAMED_FILE.findall(row[0])) for row in ROW.finditer(table)]
    assert [row for row, _ in rows] == [*ROWS]
    assert {row: {file for file in named if _is_of_faults(file)} for row, named in rows} == _tests_by_row()


def _is_of_faults(file: str) -> bool:
    return (FAULTS / file).exists()


def _tests_by_row() -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for file in FAULTS.glob("test_*.py"):
        for row in TEST.findall(file.read_text(encoding="utf-8")):
            found[int(row)].add(file.name)
    return dict(found)


def _resolves(document: Path, link: str) -> bool:
    place, _, anchor = link.partition("#")
    target = (document.parent / place).resolve() if place else document
    return target.exists() and (not anchor or target.suffix != ".md" or anchor in set(_anchors(target)))


def _anchors(document: Path) -> Iterator[str]:
    """The anchors that GitHub generates from headings."""
    for heading in HEADING.findall(_prose(document)):
        words = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
        yield words.replace(" ", "-")


def _prose(document: Path) -> str:
    """The text without code blocks. The text of a link may continue on the next line."""
    return re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _exists(file: str) -> bool:
    return any((ROOT / folder / file).exists() for folder in FOLDERS)
