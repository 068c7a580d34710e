"""Puts several records into a quarantine, and removes several, in parallel."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

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
