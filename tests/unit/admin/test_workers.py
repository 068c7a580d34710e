"""Work in several processes: all results arrive, few items are under way, and no process stays."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest

from consumer.admin.workers import AHEAD, each
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


@pytest.mark.parametrize(("item", "message"), [(13, "thirteen"), (17, "a process exited unexpectedly")])
def test_a_failure_ends_it_all(item: int, message: str) -> None:
    with pytest.raises(Unavailable, match=message):
        list(each(2, multiplier, 1, [1, item, *range(20, 60)]))
    assert multiprocessing.active_children() == []
