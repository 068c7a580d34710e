"""The keys of the issuer, kept in memory and fetched again when they change.

A fetch runs in a thread, so the event loop never waits for the issuer. One fetch runs at a time. While the issuer is
away, the keys that are known stay valid for a day, and a key that is not known is KeysUnavailable.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from jwt import PyJWK

from consumer.api.callers import KeysUnavailable
from consumer.api.issuer import KeySet, NotPublished

FRESH_SECONDS = 3_600.0
"""The keys are fetched again when they are older."""
VALID_SECONDS = 86_400.0
"""The keys are not used when they are older."""
PAUSE_SECONDS = 60.0
"""The shortest time between two fetches, so that tokens with invented key ids cause one request a minute."""
PAUSE_WITHOUT_KEYS_SECONDS = 5.0
"""The same while there is no key, as no request can be answered then."""
WAIT_SECONDS = 5.0
"""The longest time that requests wait for a fetch, counted from its start."""

log = logging.getLogger(__name__)


class KeySource(Protocol):
    """Knows the public keys of the issuer."""

    async def find(self, kid: str, algorithm: str) -> PyJWK | None:
        """The key with this id for this algorithm. None if the issuer has none.

        Raises KeysUnavailable if the issuer does not answer and the key is not known.
        """


class Keys:
    """Implements KeySource.

    `fetch` blocks and raises NotPublished. `clock` returns seconds and never goes back. Not thread-safe: all calls
    come from one event loop at a time.
    """

    def __init__(
        self,
        fetch: Callable[[], KeySet],
        clock: Callable[[], float] = time.monotonic,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._known: KeySet = {}
        self._known_since = -math.inf
        self._started_at = -math.inf
        self._under_way: Future[KeySet | None] | None = None
        self._is_failing = False

    async def find(self, kid: str, algorithm: str) -> PyJWK | None:
        wanted = kid, algorithm
        self._settle()
        is_missing = wanted not in self._valid()
        is_stale = self._age() > FRESH_SECONDS
        if (is_missing or is_stale) and self._may_start():
            self._start()
        # An issuer that is away must not slow down requests whose key is known.
        if is_missing or (is_stale and not self._is_failing):
            await self._wait()
        key = self._valid().get(wanted)
        if key is None and self._is_failing:
            raise KeysUnavailable("the keys of the issuer cannot be fetched: try again later")
        return key

    def _age(self) -> float:
        """Seconds since the start of the fetch that returned the known keys."""
        return self._clock() - self._known_since

    def _valid(self) -> KeySet:
        return self._known if self._age() <= VALID_SECONDS else {}

    def _may_start(self) -> bool:
        """Whether a fetch may start. One that has not returned for so long is given up."""
        is_urgent = not self._valid() and self._under_way is None
        pause = PAUSE_WITHOUT_KEYS_SECONDS if is_urgent else PAUSE_SECONDS
        return self._clock() - self._started_at >= pause

    def _start(self) -> None:
        self._started_at = self._clock()
        self._under_way = future = Future[KeySet | None]()
        # A daemon: the process can exit while the issuer keeps it waiting.
        threading.Thread(target=_run, args=(self._fetch, future), name="keys", daemon=True).start()

    async def _wait(self) -> None:
        if self._under_way is None:
            return
        # Counted from its start: requests that come later must not all wait for an issuer that is slow.
        left = max(0.0, self._wait_seconds - (self._clock() - self._started_at))
        done, _ = await asyncio.wait([asyncio.wrap_future(self._under_way)], timeout=left)
        if not done:
            self._is_failing = True
        self._settle()

    def _settle(self) -> None:
        """Takes over the result of a fetch that has returned."""
        if self._under_way is None or not self._under_way.done():
            return
        found, self._under_way = self._under_way.result(), None
        self._is_failing = found is None
        if found is not None:
            self._known, self._known_since = found, self._started_at


def _run(fetch: Callable[[], KeySet], future: Future[KeySet | None]) -> None:
    """Sets the keys, or None after a failure, which is logged."""
    found = None
    try:
        found = fetch()
        log.info("keys of the issuer fetched", extra={"keys": len(found)})
    except NotPublished as error:
        log.warning("keys of the issuer not fetched", extra={"cause": str(error)})
    except Exception:
        log.exception("keys of the issuer not fetched")
    finally:
        future.set_result(found)
