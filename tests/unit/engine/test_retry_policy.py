"""Retries: the wait between two attempts, and the end."""

from itertools import pairwise

import pytest

from consumer.engine.errors import GaveUp, Reason, Rejected, Unavailable
from consumer.engine.retry_policy import Backoff, NoRetry, persist
from tests.support.simulation.core import FakeRetryPolicy, times


def test_the_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(first=0.1, longest=1.0)
    waits = [backoff.seconds(attempt, chance=1) for attempt in range(1, 8)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("attempt", [1, 2, 5, 40, 10**9])
def test_chance_takes_off_at_most_half(attempt: int) -> None:
    backoff = Backoff()
    whole = backoff.seconds(attempt, chance=1)
    spread = [backoff.seconds(attempt, chance) for chance in (0, 0.25, 0.5, 0.75, 1)]
    assert spread[0] == whole / 2
    assert all(low < high for low, high in pairwise(spread))
    assert 0 < whole <= backoff.longest


def test_what_succeeds_is_tried_once() -> None:
    retry_policy = FakeRetryPolicy()
    assert persist("store", retry_policy, lambda: "done") == "done"
    assert retry_policy.waits == []


def test_what_is_unavailable_is_tried_until_it_succeeds() -> None:
    retry_policy, fails = FakeRetryPolicy(), times(3)

    def attempt() -> str:
        if fails():
            raise Unavailable("throttled")
        return "done"

    assert persist("store", retry_policy, attempt) == "done"
    assert retry_policy.waits == [("store", "throttled")] * 3


class Counting:
    """Records the attempts after which it had to wait."""

    def __init__(self) -> None:
        self.attempts: list[int] = []

    def wait(self, _part: str, attempt: int, _cause: Unavailable) -> None:
        self.attempts.append(attempt)


def test_tries_are_counted_from_one() -> None:
    retry_policy, fails = Counting(), times(3)

    def attempt() -> None:
        if fails():
            raise Unavailable("throttled")

    persist("store", retry_policy, attempt)
    assert retry_policy.attempts == [1, 2, 3]


def test_gives_up_when_the_retry_policy_does() -> None:
    retry_policy = FakeRetryPolicy(most=2)

    def attempt() -> str:
        raise Unavailable("throttled")

    with pytest.raises(GaveUp):
        persist("store", retry_policy, attempt)
    assert len(retry_policy.waits) == 2


def test_no_other_error_is_waited_for() -> None:
    retry_policy = FakeRetryPolicy()

    def attempt() -> str:
        raise Rejected(Reason.SCHEMA, "a")

    with pytest.raises(Rejected):
        persist("store", retry_policy, attempt)
    assert retry_policy.waits == []


def test_no_retry_is_one_attempt() -> None:
    with pytest.raises(GaveUp, match=r"store, try 1: throttled"):
        NoRetry().wait("store", 1, Unavailable("throttled"))
