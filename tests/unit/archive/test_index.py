"""An index of an hour: it comes back as it was written, and nothing else is taken for one."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.archive import index
from consumer.archive.index import Entry, Index, hash_of
from consumer.archive.place import Found

USERS = st.frozensets(st.text(max_size=5), max_size=6)
ENTRIES = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.builds(Entry.of, st.integers(0), USERS))


@given(ENTRIES.map(Index))
def test_an_index_comes_back(made: Index) -> None:
    assert index.decode(index.encode(made)) == made


@given(USERS, st.text(max_size=5))
def test_every_user_of_an_object_is_in_its_entry(users: frozenset[str], other: str) -> None:
    entry = Entry.of(1, users)
    assert all(entry.holds(hash_of(user)) for user in users)
    assert entry.holds(hash_of(other)) == (hash_of(other) in map(hash_of, users))


@given(ENTRIES.map(Index).map(index.encode), st.data())
def test_one_changed_byte_is_refused(content: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(content) - 1))
    changed = content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :]
    with pytest.raises(ValueError, match="digest"):
        index.decode(changed)


@pytest.mark.parametrize("content", [b"", b"\n", b"{}", index.encode(Index({}))[:-1]])
def test_what_is_no_index_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="digest"):
        index.decode(content)


def test_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = index.encode(Index({}))
    monkeypatch.setattr(index, "FORMAT", 2)
    with pytest.raises(ValueError, match="its format is 1, not 2"):
        index.decode(content)


def test_an_object_that_is_not_covered_may_hold_anybody() -> None:
    made = Index({"a": Entry.of(10, ["u-1"])})
    cases = {("a", 10, "u-1"): True, ("a", 10, "u-2"): False, ("a", 11, "u-2"): True, ("b", 10, "u-2"): True}
    assert {case: made.may_hold(Found(case[0], case[1]), hash_of(case[2])) for case in cases} == cases


def test_its_path_is_in_a_folder_that_no_reader_of_the_archive_reads() -> None:
    hour = datetime(2026, 1, 31, 7, tzinfo=UTC)
    assert index.path_of("limits", hour) == "_index/limits/date=2026-01-31/hour=07/users"
