"""An invalid row is refused, whatever is wrong with it, and never merged."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from consumer.engine.errors import Malformed
from consumer.limits import codec
from consumer.limits.codec import load
from tests.support.generators.events import START, USER
from tests.support.generators.odd_rows import odd_rows, sound

ODD = [odd for odd in odd_rows(USER) if odd.place != "version"]


def without_version(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "version"}


def test_the_row_that_they_are_made_of_is_sound() -> None:
    row = without_version(sound(USER, "l-day"))
    assert codec.dump(load(row)) == row


def refusal(row: Mapping[str, Any]) -> Malformed | None:
    """Why a row is refused; None if it is not."""
    try:
        load(without_version(row))
    except Malformed as malformed:
        return malformed
    return None


def test_a_row_with_anything_wrong_in_it_is_refused() -> None:
    refusals = [(odd, refusal(odd.row)) for odd in ODD]
    assert [(odd.name, found) for odd, found in refusals if not str(found).startswith(odd.place)] == []


def test_what_the_row_says_is_not_in_the_message() -> None:
    secret = {"brandId": "s3cr3t\0", "userId": "s3cr3t"}
    refusals = [(odd.name, refusal({**odd.row, **secret})) for odd in ODD]
    assert [(name, found) for name, found in refusals if found is None or "s3cr3t" in str(found)] == []
    assert [name for name, found in refusals if found and found.__cause__] == []


@pytest.mark.parametrize("name", ["userId", "userLimitId"])
@pytest.mark.parametrize("value", [None, 5, "", "x" * 129, "a\nb"], ids=json.dumps)
def test_keys_that_are_no_ids(name: str, value: object) -> None:
    with pytest.raises(Malformed, match=name):
        load({**without_version(sound(USER, "l-day")), name: value})


@pytest.mark.parametrize("sequence", [10**9 + 1, START, 2**53 - 1])
def test_a_row_of_before_the_ceiling_is_still_read(sequence: int) -> None:
    row = without_version(sound(USER, "l-day"))
    row["progress"] = {**row["progress"], "sequence": sequence}
    assert load(row).last.sequence == sequence
