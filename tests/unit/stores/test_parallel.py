"""Work on several entries in parallel: order, bounds, and failures."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from threading import Event

import pytest

from consumer.engine.errors import Unavailable
from consumer.stores.parallel import Window, all_of


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def window(size: int = 1, most: int = 4, most_size: int = 100) -> Window[int]:
    return Window(lambda _: size, most, most_size)


@pytest.mark.parametrize(
    ("most", "most_size", "taken"), [(10, 1_000, 10), (3, 1_000, 3), (10, 50, 5), (10, 0, 1)], ids=str
)
def test_no_more_is_taken_than_the_window_holds(pool: Executor, most: int, most_size: int, taken: int) -> None:
    items = iter(range(100))
    results = window(10, most, most_size).results(pool, lambda item: item * 2, items)
    assert next(results) == 0
    skipped = next(items)
    assert skipped == taken + 1, "one more than that was taken, and waits for the first result"
    assert list(results) == [2 * item for item in range(1, 100) if item != skipped]


def test_results_are_in_order_however_long_they_take(pool: Executor) -> None:
    later = Event()

    def work(item: int) -> int:
        if item == 1:
            later.set()
        elif item == 0:
            assert later.wait(60)
        return item

    assert list(window().results(pool, work, range(10))) == list(range(10))


def test_a_failure_is_raised_in_its_place(pool: Executor) -> None:
    results = window().results(pool, _odd_fails, range(2))
    assert next(results) == 0
    with pytest.raises(Unavailable, match="1"):
        next(results)


@pytest.mark.parametrize("is_parallel", [False, True])
def test_the_others_are_done_before_a_failure_is_raised(pool: Executor, is_parallel: bool) -> None:
    done: list[int] = []

    def work(item: int) -> None:
        _odd_fails(item)
        done.append(item)

    with pytest.raises(Unavailable):
        all_of(pool if is_parallel else None, work, range(10))
    assert sorted(done) == [0, 2, 4, 6, 8]


def _odd_fails(item: int) -> int:
    if item % 2:
        raise Unavailable(str(item))
    return item
