"""Entity tags: what changes them, and how a list of them is read."""

from collections.abc import Sequence
from typing import Any

import pytest

from consumer.api.etags import etag, is_known

ANSWER: dict[str, Any] = {"userId": "u", "asOf": 1, "limits": [{"resetOverdue": False}], "unreadable": 0}


def test_a_tag_is_strong_and_the_same_for_the_same_answer() -> None:
    tag = etag(ANSWER, ["a", "b"])
    assert tag == etag(dict(reversed(ANSWER.items())) | {"asOf": 2}, ["a", "b"])
    assert tag.startswith('"')
    assert tag.endswith('"')
    assert len(tag) == 34


@pytest.mark.parametrize(
    ("change", "versions"),
    [
        ({}, ["a", "c"]),
        ({}, ["a"]),
        ({}, ["ab"]),
        ({"limits": [{"resetOverdue": True}]}, ["a", "b"]),
        ({"unreadable": 1}, ["a", "b"]),
        ({"nextCursor": "x"}, ["a", "b"]),
    ],
)
def test_any_difference_shows(change: dict[str, Any], versions: Sequence[str]) -> None:
    assert etag(ANSWER | change, versions) != etag(ANSWER, ["a", "b"])


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ([], False),
        ([""], False),
        (['"t"'], True),
        (['W/"t"'], True),
        (['"a", "t"'], True),
        (['"a","t","b"'], True),
        (['  "a"  ,  W/"t"  '], True),
        (['"a"', '"t"'], True),
        (["*"], True),
        ([" * "], True),
        (['"a, "t"'], False),
        (["t"], False),
        (['w/"t"'], False),
        (['"T"'], False),
        (['"tt"'], False),
        (['"*"'], False),
        (['*, "a"'], False),
        (['nonsense "t"'], False),
        (['"t"x'], False),
    ],
)
def test_what_the_caller_has(given: Sequence[str], known: bool) -> None:
    assert is_known(given, '"t"') is known
