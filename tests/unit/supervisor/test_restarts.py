"""A daemon that exits unexpectedly is restarted quickly at first, then more slowly, and not forever."""

import pytest

from consumer.supervisor.restarts import Restarts

EVEN = 0.5
"""A chance that does not vary the delay."""


def test_the_first_restart_is_fast_and_the_next_ones_wait_longer_each() -> None:
    restarts = Restarts(most=7, window_seconds=600, start_seconds=60)
    delays = [restarts.delay(recent, 0, EVEN) for recent in range(1, 9)]
    assert delays == [0.2, 1, 2, 4, 8, 16, 30, None]


@pytest.mark.parametrize("most", [0, 1, 5])
def test_it_gives_up_after_one_exit_more_than_allowed(most: int) -> None:
    restarts = Restarts(most, window_seconds=600, start_seconds=60)
    assert all(restarts.delay(recent, 0, EVEN) is not None for recent in range(1, most + 1))
    assert restarts.delay(most + 1, 0, EVEN) is None


def test_it_gives_up_sooner_when_no_start_succeeds() -> None:
    restarts = Restarts(most=50, window_seconds=600, start_seconds=60)
    assert [restarts.delay(failed, failed, EVEN) for failed in (1, 2, 3)] == [0.2, 1, None]
    assert Restarts(1, 600, 60).delay(2, 2, EVEN) is None, "the setting may allow fewer"


def test_workers_do_not_restart_together() -> None:
    restarts = Restarts(most=5, window_seconds=600, start_seconds=60)
    assert (restarts.delay(2, 0, 0.0), restarts.delay(2, 0, 1.0)) == (0.5, 1.5)


def test_exits_before_the_window_do_not_count() -> None:
    assert Restarts(most=5, window_seconds=10, start_seconds=60).recent([1.0, 90.0, 99.0], now=100.0) == [99.0]
