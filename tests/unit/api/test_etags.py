"""Entity tags: what changes them, and how a list of them is read."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from consumer.api.etags import etag, known

ANSWER: dict[str, Any] = {"userId": "u", "limits": [{"resetOverdue": False}], "unreadable": 0}


def tagged(answer: dict[str, Any], versions: Sequence[str], as_of: int | None = 1) -> str:
    return etag(json.dumps(answer), versions, as_of)


def test_a_tag_is_strong_and_the_same_for_the_same_answer() -> None:
    tag = tagged(ANSWER, ["a", "b"])
    assert tag == tagged(dict(ANSWER), ["a", "b"])
    assert tag.startswith('"')
    assert tag.endswith('-1"')
    assert len(tag) == 36


def test_answers_of_two_times_have_two_tags_and_who_has_the_first_needs_no_second() -> None:
    first, second = tagged(ANSWER, ["a"]), tagged(ANSWER, ["a"], 1767823201000)
    assert first != second
    assert known([f'"other", W/{first}'], second) == first
    assert known([second], first) == second
    assert known(["*"], second) == second


def test_an_answer_without_a_time_has_a_tag_without_one() -> None:
    tag = tagged({"userLimitId": "l"}, ["a"], None)
    assert len(tag) == 34
    assert known([tag], tag) == tag


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
    assert tagged(ANSWER | change, versions) != tagged(ANSWER, ["a", "b"])


@pytest.mark.parametrize(
    ("given", "has_it"),
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
        (['"t-2"'], True),
        (['"t-"'], False),
        (['"t-2x"'], False),
        (['"t-٢"'], False),
        (['"t-12345678901234567"'], False),
    ],
)
def test_what_the_caller_has(given: Sequence[str], has_it: bool) -> None:
    assert (known(given, '"t-1"') is not None) is has_it
