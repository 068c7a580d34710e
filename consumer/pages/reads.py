"""A part of a page: read in a thread for everybody who views it, and never awaited for longer than a page may take."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from consumer.engine.errors import Unavailable
from consumer.pages.texts import plain

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """`value` is None if it could not be read. `problem` then says why, and may be shown."""

    value: T | None
    problem: str = ""


class SharedRead(Generic[T]):
    """Runs `read` in `pool`, one at a time, and at most every `seconds`, however many requests want the result.

    read   blocks; raises Unavailable
    clock  monotonic seconds

    Not thread-safe: all calls come from one event loop at a time.
    """

    def __init__(
        self, read: Callable[[], T], pool: Executor, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._pool = pool
        self._seconds = seconds
        self._clock = clock
        self._last: Future[Part[T]] | None = None
        self._ended_at = 0.0

    async def part(self, wait_seconds: float) -> Part[T]:
        """The last result if it is recent, otherwise a new one. A read that takes longer goes on for a later call."""
        current = self._current()
        # It goes on when a viewer leaves: others wait for it.
        done, _ = await asyncio.wait([asyncio.wrap_future(current)], timeout=wait_seconds)
        if not done:
            return Part(None, f"no answer within {wait_seconds:g} s; try again in a moment")
        return current.result()

    def _current(self) -> Future[Part[T]]:
        """The read under way, or the last one while its result is recent. Otherwise a new one."""
        if self._last is None or (self._last.done() and self._clock() - self._ended_at >= self._seconds):
            self._last = self._pool.submit(self._attempt)
        return self._last

    def _attempt(self) -> Part[T]:
        try:
            return Part(self._read())
        except Unavailable as cause:
            return Part(None, plain(str(cause)))
        except Exception:
            log.exception("a part of a page cannot be read")
            return Part(None, "an error of this server; its log has the reason")
        finally:
            self._ended_at = self._clock()
