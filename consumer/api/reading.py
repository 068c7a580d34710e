"""Reading the limits that a caller may see. Requests to the store block, so they run on threads."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from consumer.api import audit
from consumer.api.callers import Caller, Grant
from consumer.limits import answers
from consumer.limits.answers import Matches
from consumer.limits.repository import LimitsPage

MOST = 1_000
"""The largest number of limits in an answer."""

_log = logging.getLogger(__name__)


class Reader(Protocol):
    """The stored limits in pages. Implemented by limits.repository.LimitReader. Raises Unavailable."""

    def page(self, user_id: str, after: str | None = None, *, consistent: bool = True) -> LimitsPage: ...

    def one(self, user_id: str, user_limit_id: str, *, consistent: bool = True) -> LimitsPage: ...


@dataclass(frozen=True, slots=True)
class Permitted:
    """A caller who may read limits of this user, and which."""

    user_id: str
    caller: Caller
    grant: Grant
    request_id: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Each method writes the audit line of its read, if it must have one. A request that ends here leaves its thread
    to finish, so `pool` bounds the requests to the store, not the number of callers who wait.
    """

    reader: Reader
    pool: Executor

    async def one(self, who: Permitted, user_limit_id: str, *, consistent: bool) -> LimitsPage:
        """A page with this limit alone, or with nothing."""
        _note(who)
        found = await self._run(partial(self.reader.one, who.user_id, user_limit_id, consistent=consistent))
        return _logged(found)

    async def matching(
        self, who: Permitted, matches: Matches, *, consistent: bool, after: str | None = None, most: int | None = None
    ) -> LimitsPage:
        """The first `most` limits that match and have an id greater than `after`; None: all of them.

        It reads page by page, and stops when the request has ended.
        """
        _note(who)
        pages: list[LimitsPage] = []
        while True:
            page = await self._run(partial(self.reader.page, who.user_id, after, consistent=consistent))
            pages.append(answers.only(page, matches))
            after, count = page.after, sum(len(each.limits) for each in pages)
            if after is None or (most is not None and count >= most):
                found = answers.joined(pages)
                return _logged(found if most is None else answers.first(found, most))

    async def probe(self) -> None:
        """Reads what hardly anybody has. Raises Unavailable."""
        await self._run(partial(self.reader.one, "-", "-", consistent=False))

    async def _run(self, read: Callable[[], LimitsPage]) -> LimitsPage:
        return await asyncio.get_running_loop().run_in_executor(self.pool, read)


def _note(who: Permitted) -> None:
    if not who.grant.own:
        audit.read(who.caller, who.user_id, who.request_id)


def _logged(page: LimitsPage) -> LimitsPage:
    for row in page.unreadable:
        _log.warning("a stored limit cannot be read", extra={"detail": row.detail})
    return page
