"""Ids in paths and cursors come back as they were; everything else is refused without being repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.api import ids
from tests.support.simulation.api import segment

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=128)


def is_plain(text: str) -> bool:
    return not {".", ".."} & set(text.split("/"))


@given(TEXT.filter(is_plain))
def test_an_id_comes_back_from_a_path(text: str) -> None:
    assert ids.from_segment(segment(text)) == text


@given(TEXT)
def test_an_id_comes_back_from_a_cursor(text: str) -> None:
    cursor = ids.to_cursor(text)
    assert ids.from_cursor(cursor) == text
    assert segment(cursor) == cursor


@given(st.text())
def test_a_cursor_has_one_form(text: str) -> None:
    try:
        found = ids.from_cursor(text)
    except ValueError:
        return
    assert ids.to_cursor(found) == text


@given(st.binary(max_size=600))
def test_a_segment_of_any_bytes_is_an_id_or_refused(data: bytes) -> None:
    try:
        found = ids.from_segment("".join(f"%{byte:02x}" for byte in data))
    except ValueError:
        return
    assert found.encode() == data


@pytest.mark.parametrize("bad", ["secret%00", "secret%ff", "secret/..", f"{'secret' * 30}"])
def test_what_is_refused_is_not_repeated(bad: str) -> None:
    with pytest.raises(ValueError, match="must") as refused:
        ids.from_segment(bad)
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_text_that_is_no_latin_is_no_cursor() -> None:
    with pytest.raises(ValueError, match="nextCursor"):
        ids.from_cursor("\u00e9\u00e9\u00e9\u00e9")
