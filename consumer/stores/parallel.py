"""Puts several records into a quarantine in parallel."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from consumer.engine.errors import Unavailable
from consumer.engine.quarantine import PartlyKept, Quarantined


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
