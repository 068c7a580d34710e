"""An invalid row is refused, whatever is wrong with it, and never merged."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from consumer.engine.errors import Malformed
from consumer.limits import codec
from consumer.limits.codec import load
from tests.support.generators.events import START, USER
from tests.support.generators.odd_rows import Odd, odd_rows, sound

ODD = [odd for odd in odd_rows(USER) if odd.place != "version"]


def without_version(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "version"}


def test_the_row_that_they_are_made_of_is_sound() -> None:
    row = without_version(sound(USER, "l-day"))
    assert codec.dump(load(row)) == row


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.name)
def test_a_row_with_anything_wrong_in_it_is_refused(odd: Odd) -> None:
    with pytest.raises(Malformed) as refused:
        load(without_version(odd.row))
    assert str(refused.value).startswith(odd.place)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.name)
def test_what_the_row_says_is_not_in_the_message(odd: Odd) -> None:
    row = {**without_version(odd.row), "brandId": "s3cr3t\0", "userId": "s3cr3t"}
    with pytest.raises(Malformed) as refused:
        load(row)
    assert "s3cr3t" not in str(refused.value)
    assert refused.value.__cause__ is None


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
