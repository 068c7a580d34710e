"""A daemon that ends unasked comes back fast at first, slower then, and not for ever."""

import pytest

from consumer.supervisor.restarts import Restarts

EVEN = 0.5
"""A chance that spreads nothing."""


def test_the_first_restart_is_fast_and_the_next_ones_wait_longer_each() -> None:
    restarts = Restarts(most=7, window_seconds=600)
    delays = [restarts.delay(recent, EVEN) for recent in range(1, 9)]
    assert delays == [0.2, 1, 2, 4, 8, 16, 30, None]


@pytest.mark.parametrize("most", [0, 1, 5])
def test_one_end_more_than_allowed_is_given_up(most: int) -> None:
    restarts = Restarts(most, window_seconds=600)
    assert all(restarts.delay(recent, EVEN) is not None for recent in range(1, most + 1))
    assert restarts.delay(most + 1, EVEN) is None


def test_workers_do_not_come_back_in_step() -> None:
    restarts = Restarts(most=5, window_seconds=600)
    assert (restarts.delay(2, 0.0), restarts.delay(2, 1.0)) == (0.5, 1.5)


def test_ends_before_the_window_are_forgotten() -> None:
    assert Restarts(most=5, window_seconds=10).recent([1.0, 90.0, 99.0], now=100.0) == [99.0]
