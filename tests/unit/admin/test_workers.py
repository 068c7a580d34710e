"""Work in several processes: all results arrive, few items are under way, and no process stays."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest

from consumer.admin.workers import AHEAD, FURTHEST, each, together
from consumer.engine.errors import Unavailable


def multiplier(factor: int) -> Callable[[int], int]:
    return partial(multiplied, factor)


def multiplied(factor: int, number: int) -> int:
    if number == 13:
        raise Unavailable("thirteen")
    if number == 17:
        os.kill(os.getpid(), signal.SIGKILL)
    return factor * number


@pytest.mark.parametrize("processes", [1, 2])
def test_each_item_has_its_result(processes: int) -> None:
    assert sorted(each(processes, multiplier, 3, range(10))) == list(range(0, 30, 3))
    assert multiprocessing.active_children() == []


def test_items_are_taken_when_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(18, 50):
            taken.append(number)
            yield number

    with closing(each(2, multiplier, 1, items())) as results:
        next(results)
        assert len(taken) == 2 * AHEAD
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("factors", [[3], [3, 5]], ids=len)
def test_every_process_works_on_all_items_in_their_order(factors: list[int]) -> None:
    numbers = range(18, 50)
    assert list(together(multiplier, factors, numbers)) == [[factor * each for factor in factors] for each in numbers]
    assert multiprocessing.active_children() == []


def test_no_process_is_far_ahead_of_another() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(18, 50):
            taken.append(number)
            yield number

    with closing(together(multiplier, [1, 2], items())) as results:
        next(results)
        assert len(taken) == FURTHEST
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(("item", "message"), [(13, "thirteen"), (17, "a process exited unexpectedly")])
def test_a_failure_ends_it_all(item: int, message: str) -> None:
    with pytest.raises(Unavailable, match=message):
        list(each(2, multiplier, 1, [1, item, *range(20, 60)]))
    assert multiprocessing.active_children() == []
    with pytest.raises(Unavailable, match=message):
        list(together(multiplier, [1, 2], [1, item, *range(20, 60)]))
    assert multiprocessing.active_children() == []
