"""The limits as readers query them: by user."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from consumer.engine.projection import Key
from consumer.engine.repository import ErasableRepository, PendingWrite, Saved, Stored, Unreadable
from consumer.limits.state import LimitState
from consumer.limits.view import UserLimit, view


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
