"""Files of events: any documents in any layout are read as they were written."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumer.admin.files import split

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
LAYOUTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "indent": st.none() | st.integers(0, 3),
        "ensure_ascii": st.booleans(),
        "separators": st.sampled_from([None, (",", ":")]),
    }
)
BLANKS = st.text(" \t\r\n", max_size=3).map(str.encode)


@st.composite
def documents(draw: st.DrawFn, *, lines: bool = False) -> bytes:
    layout = draw(LAYOUTS) | ({"indent": None} if lines else {})
    return json.dumps(draw(JSON), **layout).encode("utf-8", "surrogatepass")


@given(documents().filter(lambda document: not document.startswith(b"[")), BLANKS, BLANKS)
def test_a_document_is_one_record(document: bytes, before: bytes, after: bytes) -> None:
    assert split(before + document + after) == [document]


@given(st.lists(documents()), BLANKS, BLANKS)
def test_an_array_is_its_elements(elements: list[bytes], before: bytes, after: bytes) -> None:
    comma = after + b"," + before
    assert split(before + b"[" + before + comma.join(elements) + after + b"]" + after) == elements


@given(st.lists(documents(lines=True), min_size=2), st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
def test_documents_on_lines_are_records(records: list[bytes], end: bytes) -> None:
    assert split(end.join(records) + end) == records


@given(st.binary())
def test_nothing_that_is_not_blank_is_ever_dropped(content: bytes) -> None:
    try:
        parts = split(content)
    except ValueError:
        return
    blank = b" \t\r\n\v\f,[]\xef\xbb\xbf"
    kept = b"".join(parts).translate(None, blank)
    assert kept == content.translate(None, blank)
