"""The promises of a projection, and what becomes of late, repeated and contradicting totals."""

import json
from typing import Any, get_args

import pytest
from hypothesis import strategies as st

from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome
from consumer.testing import CHECKS, Check, Subject, applied, merge_is_idempotent
from wallet_balance import CONTRADICTION, Balance, Source, Wallets


def movement(source: str, number: int, total: int, **fields: Any) -> bytes:
    defaults = {"user": "u-1", "currency": "EUR", "at": 1_000 * number}
    return json.dumps({"source": source, "number": number, "total": total, **defaults, **fields}).encode()


# few numbers and totals, so that movements collide, and even contradict one another
MOVEMENTS = st.builds(movement, st.sampled_from(get_args(Source)), st.integers(1, 3), st.integers(-2, 2))


@pytest.mark.parametrize("check", CHECKS)
def test_it_keeps_the_promises_of_a_projection(check: Check) -> None:
    check(Subject(Wallets(), MOVEMENTS))


def test_a_sum_of_amounts_would_break_them() -> None:
    class Sums(Wallets):
        """Adds every total as if it were an amount."""

        def merge(self, left: Balance, right: Balance) -> Balance:
            return left.model_copy(update={"cents": left.cents + right.cents})

    with pytest.raises(AssertionError, match=r"merge\(.*\) is not (left|merge)"):
        merge_is_idempotent(Subject(Sums(), MOVEMENTS))


def test_the_balance_is_the_sum_of_the_latest_totals() -> None:
    result = applied(
        Wallets(),
        movement("deposits", 1, 10_000),
        movement("bets", 2, -2_500),
        movement("bets", 1, -1_000),
        movement("bets", 2, -2_500),
        movement("deposits", 1, 700, currency="SEK"),
    )
    late_and_repeated = [Outcome.STALE, Outcome.DUPLICATE]
    assert result.outcomes == [Outcome.APPLIED, Outcome.APPLIED, *late_and_repeated, Outcome.APPLIED]
    assert [(kept.currency, kept.cents) for kept in result.states] == [("EUR", 7_500), ("SEK", 700)]


def test_two_totals_with_one_number_are_a_warning_and_the_higher_is_kept() -> None:
    result = applied(Wallets(), movement("wins", 1, 500), movement("wins", 1, 700), movement("wins", 1, 600))
    assert result.warnings == {CONTRADICTION: 2}
    assert [kept.cents for kept in result.states] == [700]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no JSON", Reason.JSON),
        (movement("loans", 1, 1), Reason.SCHEMA),
        (movement("bets", 0, 1), Reason.SCHEMA),
        (movement("bets", 1, 1, currency="euro"), Reason.SCHEMA),
    ],
)
def test_a_wrong_movement_is_quarantined_and_the_next_is_applied(data: bytes, reason: Reason) -> None:
    result = applied(Wallets(), data, movement("bets", 1, -1))
    assert result.outcomes == [Outcome.QUARANTINED, Outcome.APPLIED]
    assert result.quarantined == [reason]
