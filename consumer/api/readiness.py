"""Whether the server may get requests: once it has read the table."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from consumer.engine.errors import Unavailable

PROBE_SECONDS = 1.0
"""The shortest time between two reads for probes."""


@dataclass(slots=True)
class Readiness:
    """Ready after the first successful `read`. A later outage does not change it: the answer is then 503 with a reason,
    which a balancer without any ready server would not give.
    """

    read: Callable[[], Awaitable[object]]
    clock: Callable[[], float] = time.monotonic
    _has_read: bool = field(default=False, init=False)
    _failures: list[str] = field(default_factory=list, init=False)
    _checked_at: float | None = field(default=None, init=False)
    _checking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def failures(self) -> list[str]:
        """Why no requests should be sent here. Empty if it is ready."""
        # Without the lock, many probes would be as many reads.
        async with self._checking:
            if not self._has_read and self._is_due():
                await self._check()
        return self._failures

    def _is_due(self) -> bool:
        return self._checked_at is None or self.clock() - self._checked_at >= PROBE_SECONDS

    async def _check(self) -> None:
        try:
            await self.read()
        except Unavailable as cause:
            self._failures = [f"the table has not been read yet: {cause}"]
        else:
            self._has_read, self._failures = True, []
        self._checked_at = self.clock()
