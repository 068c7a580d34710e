"""Reading the history of a limit from the archive, as far as a caller may see it. It blocks, so it runs on a thread."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from http import HTTPStatus
from typing import Protocol

from consumer.api import audit, problems
from consumer.api.problems import Problem
from consumer.api.reading import Permitted
from consumer.archive.finding import TooManyObjects
from consumer.limits.history import History, Step

MOST_STEPS = 100
"""The largest number of events in an answer."""
MOST_OBJECTS = 500
"""How many objects of the archive are read for an answer at most."""


class Histories(Protocol):
    """Implemented by limits.history.HistoryReader. Raises Unavailable and TooManyObjects."""

    def of_user(self, user: str, as_of: int | None = None, most_objects: int | None = None) -> History: ...


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Some steps of a limit, the latest first. `cursor`: of the next page, None on the last one."""

    as_of: int
    steps: Sequence[Step]
    unreadable: int
    cursor: str | None


@dataclass(frozen=True, slots=True)
class HistoryReading:
    """`reader` is None if there is no archive. A request that ends here leaves its thread to finish."""

    reader: Histories | None
    pool: Executor

    async def page(self, who: Permitted, user_limit_id: str, cursor: str | None) -> HistoryPage:
        """The first steps, or those after the cursor. Raises Problem, and Unavailable."""
        if self.reader is None:
            raise Problem(HTTPStatus.NOT_FOUND, "This server has no archive, so it knows no history: CONSUMER_ARCHIVE.")
        if not who.grant.own:
            audit.read(who.caller, who.user_id, who.request_id)
        read = partial(self.reader.of_user, who.user_id, most_objects=MOST_OBJECTS)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self.pool, read)
        except TooManyObjects as many:
            detail = f"{many.objects} objects of the archive would have to be read: run consumer archive index."
            raise problems.unavailable(detail) from None
        steps = _visible(found.of_limit(user_limit_id), who)
        if not steps:
            raise Problem(HTTPStatus.NOT_FOUND, "The archive has no event of a limit of the user with this id.")
        return _page(found, steps[::-1], cursor)


def _visible(steps: Sequence[Step], who: Permitted) -> Sequence[Step]:
    """Nobody knows the brand of a refused event: a caller of some brands must not learn that it exists."""
    brands = who.grant.brands
    if brands is None:
        return steps
    return [step for step in steps if not step.is_refused and step.state and step.state.brand_id in brands]


def _page(found: History, steps: Sequence[Step], cursor: str | None) -> HistoryPage:
    begin = 0 if cursor is None else _after(steps, cursor)
    shown = steps[begin : begin + MOST_STEPS]
    more = begin + MOST_STEPS < len(steps)
    return HistoryPage(found.as_of, shown, len(found.unreadable), _cursor(shown[-1]) if more else None)


def _after(steps: Sequence[Step], cursor: str) -> int:
    """The place behind the step that the cursor names. New events come before it, so they change nothing."""
    cursors = [_cursor(step) for step in steps]
    if cursor not in cursors[:-1]:
        raise problems.invalid("query", "cursor", "must be the `nextCursor` of an answer")
    return cursors.index(cursor) + 1


def _cursor(step: Step) -> str:
    return blake2b(str(step.record.position).encode(), digest_size=8).hexdigest()
