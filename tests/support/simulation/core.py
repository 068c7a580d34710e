"""The core with its in-memory stores, and stores that fail on purpose."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Any, Generic, TypeVar

from consumer.archive.place import InMemoryPlace
from consumer.engine.archive import Archive
from consumer.engine.errors import GaveUp, Unavailable
from consumer.engine.processor import BatchResult, Known, Processor
from consumer.engine.projection import Key
from consumer.engine.quarantine import InMemoryQuarantine, Quarantined, QuarantineStore
from consumer.engine.records import Record
from consumer.engine.repository import (
    InMemoryRepository,
    PendingWrite,
    Repository,
    Saved,
    Stored,
    Unreadable,
    Versioned,
)
from consumer.limits.events import LimitEvent
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from consumer.limits.view import view
from tests.support.generators.events import START, record

S = TypeVar("S")
T = TypeVar("T")


def memory() -> InMemoryRepository[LimitState]:
    return InMemoryRepository(Limits())


@dataclass
class FakeRetryPolicy:
    """Never waits, and gives up after `most` waits. `waits`: the store and the cause of each wait."""

    most: int = 1_000
    waits: list[tuple[str, str]] = field(default_factory=list)

    def wait(self, part: str, _attempt: int, cause: Unavailable) -> None:
        if len(self.waits) >= self.most:
            raise GaveUp(part)
        self.waits.append((part, str(cause)))


@dataclass
class Core:
    """A processor with its stores. `deliver` assigns sequence numbers, as a stream does."""

    repository: Repository[LimitState] = field(default_factory=memory)
    quarantine: QuarantineStore = field(default_factory=InMemoryQuarantine)
    retry_policy: FakeRetryPolicy = field(default_factory=FakeRetryPolicy)
    record_cap: int = 262_144
    breaker: int = 0
    cached: int = 10_000
    archive: Archive | None = None
    processor: Processor[LimitEvent, LimitState] = field(init=False)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        known: Known[LimitState] = Known(self.cached)
        clock = map(float, count()).__next__
        self.processor = Processor(
            Limits(),
            self.repository,
            self.quarantine,
            clock,
            self.record_cap,
            self.breaker,
            known,
            archive=self.archive,
        )

    def deliver(self, *data: object) -> BatchResult:
        """One batch of events, bytes or whole records."""
        numbered = [each if isinstance(each, Record) else record(each, next(self._numbers)) for each in data]
        return self.processor.process(numbered, self.retry_policy)

    def limits(self, user: str, now: int = START) -> dict[str, dict[str, Any]]:
        """The user's limits as readers see them, by id."""
        return {state.user_limit_id: view(state, now).to_json() for state in readable(self.repository, user)}

    def limit(self, user: str = "u-7Qd2", now: int = START) -> dict[str, Any]:
        """The only limit of the user."""
        (only,) = self.limits(user, now).values()
        return only


def readable(repository: Repository[S], partition: str) -> list[S]:
    """All states of the partition, which has no unreadable rows."""
    found = repository.partition(partition)
    assert not [each for each in found if isinstance(each, Unreadable)]
    return [each for each in found if not isinstance(each, Unreadable)]


def found(repository: Repository[S], key: Key) -> Versioned[S]:
    """The stored state of the key, which must be readable."""
    stored = repository.load([key])[key]
    assert isinstance(stored, Versioned)
    return stored


class Fate(Enum):
    """The result of a write."""

    STORED = "stored"
    REPLY_LOST = "stored, but the response is lost"
    THROTTLED = "not stored"


class FlakyRepository(Generic[S]):
    """A repository whose writes end as `fate` returns and whose reads fail while `unreadable` returns True.

    `before_save` runs before each save, for instance to let another writer go first.
    """

    def __init__(
        self,
        kept: Repository[S],
        fate: Callable[[Key], Fate] = lambda _key: Fate.STORED,
        unreadable: Callable[[], bool] = lambda: False,
        before_save: Callable[[], object] = lambda: None,
    ) -> None:
        self.kept = kept
        self.fate = fate
        self.unreadable = unreadable
        self.before_save = before_save
        self.saves: list[list[Key]] = []
        self.loads: list[list[Key]] = []

    def load(self, keys: Iterable[Key]) -> Mapping[Key, Stored[S]]:
        requested = list(keys)
        self.loads.append(requested)
        if self.unreadable():
            raise Unavailable("reading failed")
        return self.kept.load(requested)

    def save(self, writes: Mapping[Key, PendingWrite[S]]) -> Saved[S]:
        self.saves.append(list(writes))
        self.before_save()
        fates = {key: self.fate(key) for key in writes}
        saved = self.kept.save({key: change for key, change in writes.items() if fates[key] is not Fate.THROTTLED})
        confirmed = {key for key, fate in fates.items() if fate is Fate.STORED}
        unknown = {key: Unavailable(fate.value) for key, fate in fates.items() if fate is not Fate.STORED}
        return Saved(_only(confirmed, saved.stored), _only(confirmed, saved.conflicts), unknown)

    def partition(self, partition: str) -> Sequence[S | Unreadable]:
        return self.kept.partition(partition)


class UnreadableRepository(Generic[S]):
    """A repository in which the rows of the `odd` keys are unreadable in every operation."""

    def __init__(self, kept: Repository[S], odd: Iterable[Key] = ()) -> None:
        self.kept, self.odd = kept, set(odd)

    def load(self, keys: Iterable[Key]) -> Mapping[Key, Stored[S]]:
        requested = set(keys)
        return {**self.kept.load(requested - self.odd), **self._unreadable(requested)}

    def save(self, writes: Mapping[Key, PendingWrite[S]]) -> Saved[S]:
        saved = self.kept.save({key: change for key, change in writes.items() if key not in self.odd})
        return Saved(saved.stored, {**saved.conflicts, **self._unreadable(writes)}, saved.unknown)

    def partition(self, partition: str) -> Sequence[S | Unreadable]:
        return [*self.kept.partition(partition), *self._unreadable(self.odd).values()]

    def _unreadable(self, keys: Iterable[Key]) -> dict[Key, Unreadable]:
        return {key: Unreadable(key, "row of the table: invalid") for key in keys if key in self.odd}


def _only(keys: set[Key], of: Mapping[Key, T]) -> dict[Key, T]:
    return {key: value for key, value in of.items() if key in keys}


class FlakyQuarantine(InMemoryQuarantine):
    """A quarantine whose writes fail while `fails` returns True."""

    def __init__(self, fails: Callable[[], bool]) -> None:
        super().__init__()
        self._fails = fails

    def put(self, entries: Iterable[Quarantined]) -> None:
        if self._fails():
            raise Unavailable("the quarantine is down")
        super().put(entries)


class FlakyPlace(InMemoryPlace):
    """A place whose writes fail while `fails` returns True. `attempts`: the path of each write."""

    def __init__(self, fails: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self._fails = fails
        self.attempts: list[str] = []

    def write(self, path: str, content: bytes) -> None:
        self.attempts.append(path)
        if self._fails():
            raise Unavailable("the archive is down")
        super().write(path, content)


def times(number: int) -> Callable[[], bool]:
    """Returns True `number` times, then False."""
    left = iter(range(number))
    return lambda: next(left, None) is not None
