"""The limits as readers query them: by user, all at once or in pages."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from consumer.engine.projection import Key
from consumer.engine.repository import (
    ErasableRepository,
    Page,
    PendingWrite,
    ReadableRepository,
    Saved,
    Stored,
    Unreadable,
    Versioned,
)
from consumer.limits.state import LimitState
from consumer.limits.view import UserLimit, view

PAGE = 1_000
"""The largest number of stored limits in a page."""


@dataclass(frozen=True, slots=True)
class UserLimits:
    """The limits of one user, sorted by `userLimitId`. `unreadable` are the user's rows that are not valid limits."""

    limits: Sequence[UserLimit]
    unreadable: Sequence[Unreadable] = ()


@dataclass(frozen=True, slots=True)
class UserLimitRepository:
    """Adds `for_user` to a repository of limit states.

    now_millis  epoch milliseconds, for `resetOverdue`
    """

    kept: ErasableRepository[LimitState]
    now_millis: Callable[[], int]

    def load(self, keys: Iterable[Key]) -> Mapping[Key, Stored[LimitState]]:
        return self.kept.load(keys)

    def save(self, writes: Mapping[Key, PendingWrite[LimitState]]) -> Saved[LimitState]:
        return self.kept.save(writes)

    def partition(self, partition: str) -> Sequence[LimitState | Unreadable]:
        return self.kept.partition(partition)

    def forget(self, key: Key, found: Stored[LimitState]) -> bool:
        return self.kept.forget(key, found)

    def for_user(self, user_id: str) -> UserLimits:
        """The stored limits of the user, strongly consistent. Raises Unavailable."""
        now, found = self.now_millis(), self.partition(user_id)
        return UserLimits(
            [view(each, now) for each in found if not isinstance(each, Unreadable)],
            [each for each in found if isinstance(each, Unreadable)],
        )


@dataclass(frozen=True, slots=True)
class LimitsPage:
    """Some limits of one user, sorted by `userLimitId`.

    as_of       the limits as of this time: epoch milliseconds
    limits      with the versions that are stored
    unreadable  rows between them that are not valid limits
    after       the `userLimitId` after which the next page begins; None for the last page
    """

    as_of: int
    limits: Sequence[Versioned[UserLimit]]
    unreadable: Sequence[Unreadable] = ()
    after: str | None = None


@dataclass(frozen=True, slots=True)
class LimitReader:
    """The stored limits in pages of at most PAGE. Its methods block, and raise Unavailable.

    A read that is not `consistent` costs half, and may miss what was written within the last second.

    now_millis  epoch milliseconds, for `resetOverdue`
    """

    kept: ReadableRepository[LimitState]
    now_millis: Callable[[], int]

    def page(self, user_id: str, after: str | None = None, *, consistent: bool = True) -> LimitsPage:
        """The limits of the user whose ids are greater than `after`."""
        now = self.now_millis()
        return _seen(self.kept.page(user_id, after, PAGE, consistent=consistent), now)

    def one(self, user_id: str, user_limit_id: str, *, consistent: bool = True) -> LimitsPage:
        """A page with this limit alone, or with nothing."""
        now, key = self.now_millis(), (user_id, user_limit_id)
        found = self.kept.find(key, consistent=consistent)
        return _seen(Page({} if found is None else {key: found}), now)


def _seen(page: Page[LimitState], now: int) -> LimitsPage:
    readable = [each for each in page.stored.values() if not isinstance(each, Unreadable)]
    return LimitsPage(
        now,
        [Versioned(view(each.state, now), each.version) for each in readable],
        [each for each in page.stored.values() if isinstance(each, Unreadable)],
        page.after,
    )
