"""Several records into a quarantine at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from consumer.engine.errors import Unavailable
from consumer.engine.quarantine import PartlyKept, Quarantined


def put_each(pool: Executor | None, put: Callable[[Quarantined], None], entries: Sequence[Quarantined]) -> None:
    """Puts each entry on a thread of the pool; None: one after the other. Once one has failed no other is begun.

    Raises Unavailable when none was put, PartlyKept when some were.
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
