"""docs/explanation/architecture.md names every room and only files that exist."""

import re

from docs_generator import ROOT, rooms

PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`((?:consumer|deploy|docs|examples|properties|tests)/[\w./-]*)`", PAGE)


def test_every_file_that_it_names_exists() -> None:
    assert NAMED
    assert [name for name in NAMED if not (ROOT / name).exists()] == []


def test_its_table_has_every_room_once() -> None:
    listed = re.findall(r"^\| `consumer/(\w+)(?:/|\.py)` \|", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(rooms.arrows())
