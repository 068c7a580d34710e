"""Which entries of the quarantine a command is about. Decided from their names, so that no other is read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from consumer.engine.entry_names import Summary
from consumer.engine.quarantine import Listed


@dataclass(frozen=True, slots=True)
class Selection:
    """An empty set and None stand for any.

    since, until  arrival time at the stream in epoch milliseconds, from `since` and before `until`. An entry whose
                  arrival time is unknown is in no such range
    limit         at most this many entries
    """

    reasons: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    shards: frozenset[str] = frozenset()
    since: int | None = None
    until: int | None = None
    limit: int | None = None

    def of(self, listed: Iterable[Listed]) -> Iterator[Listed]:
        """The selected entries, in the order of the listing, which is not read further than necessary."""
        return islice((each for each in listed if self.matches(each.summary)), self.limit)

    def matches(self, summary: Summary) -> bool:
        facts = ((self.reasons, summary.reason), (self.types, summary.type), (self.shards, summary.position.shard))
        return all(not wanted or found in wanted for wanted, found in facts) and self._arrived(summary.arrived_at)

    def _arrived(self, at: int) -> bool:
        if self.since is None and self.until is None:
            return True
        return at > 0 and (self.since or 0) <= at and (self.until is None or at < self.until)
