"""The limits as readers ask for them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from consumer.engine.projection import Key
from consumer.engine.repository import Change, Repository, Saved, Versioned
from consumer.limits.state import LimitState
from consumer.limits.view import UserLimit, view


@dataclass(frozen=True, slots=True)
class UserLimitRepository:
    """Any engine repository of limit states, and the question that only limits have: all of a user's.

    now_millis  epoch milliseconds, for `resetOverdue`
    """

    kept: Repository[LimitState]
    now_millis: Callable[[], int]

    def load(self, keys: Iterable[Key]) -> dict[Key, Versioned[LimitState]]:
        return self.kept.load(keys)

    def save(self, changes: Mapping[Key, Change[LimitState]]) -> Saved[LimitState]:
        return self.kept.save(changes)

    def partition(self, partition: str) -> list[LimitState]:
        return self.kept.partition(partition)

    def for_user(self, user_id: str) -> list[UserLimit]:
        """The user's limits by `userLimitId`, strongly consistent. Raises Unavailable."""
        now = self.now_millis()
        return [view(state, now) for state in self.partition(user_id)]
