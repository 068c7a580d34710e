"""Works on several entries of a quarantine in parallel."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from consumer.engine.errors import Unavailable
from consumer.engine.quarantine import PartlyKept, Quarantined

A = TypeVar("A")
R = TypeVar("R")


def all_of(pool: Executor | None, work: Callable[[A], R], items: Sequence[A]) -> list[R]:
    """The results, in order. If work on an item is Unavailable, the others are still done before that is raised."""
    causes: list[Unavailable] = []

    def attempt(item: A) -> list[R]:
        try:
            return [work(item)]
        except Unavailable as cause:
            causes.append(cause)
            return []

    done = list(pool.map(attempt, items) if pool else map(attempt, items))
    if causes:
        raise causes[0]
    return [result for results in done for result in results]


@dataclass(frozen=True, slots=True)
class Window(Generic[A]):
    """How much of a long series is under way or waits to be taken: items, and their sum of `size`."""

    size: Callable[[A], int]
    most: int
    most_size: int

    def results(self, pool: Executor, work: Callable[[A], R], items: Iterable[A]) -> Iterator[R]:
        """The results, in order, while the next ones are worked on. An item above the maximum is worked on alone."""
        waiting: deque[tuple[Future[R], int]] = deque()
        total = 0
        for item in items:
            size = self.size(item)
            while waiting and (len(waiting) == self.most or total + size > self.most_size):
                future, freed = waiting.popleft()
                total -= freed
                yield future.result()
            waiting.append((pool.submit(work, item), size))
            total += size
        yield from (future.result() for future, _ in waiting)


def put_each(pool: Executor | None, put: Callable[[Quarantined], None], entries: Sequence[Quarantined]) -> None:
    """Puts each entry on a thread of the pool, or one after the other without a pool.

    After a failure no further entry is started. Raises Unavailable if no entry was put, PartlyKept if some were.
    """
    causes: list[Unavailable] = []

    def attempt(entry: Quarantined) -> bool:
        if causes:
            return False
        try:
            put(entry)
        except Unavailable as cause:
            causes.append(cause)
            return False
        return True

    done = list(pool.map(attempt, entries) if pool else map(attempt, entries))
    if causes:
        left = [entry for entry, is_done in zip(entries, done, strict=True) if not is_done]
        raise causes[0] if len(left) == len(entries) else PartlyKept(left, causes[0])
