"""The history of limits: what each event of a user did, in order of arrival, and the state after it. Pure functions.

The outcomes are those of a consumer that gets these events in this order, whatever happened when they first arrived.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from consumer.engine.decoding import decode
from consumer.engine.errors import Rejected
from consumer.engine.folding import Outcome, RecordOutcome, fold
from consumer.engine.projection import Ignored, Key
from consumer.engine.quarantine import UNREADABLE
from consumer.engine.records import Position, Record
from consumer.limits.claims import Claims, claims
from consumer.limits.events import LimitEvent
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from consumer.limits.view import UserLimit, view

AHEAD_MILLIS = 3_600_000
"""How far the clock of Kinesis may be ahead of ours: what arrives now may be dated later."""
NOT_LISTED = frozenset({"userId", "userLimitId", "lastSequenceNumber", "lastEventAt"})
"""Fields that are no changes: the key, and what every event sets."""


class Change(NamedTuple):
    """A field of the view of a limit, with its values in JSON before and after an event. None: the field is absent."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Step:
    """An event of a user, and what it did.

    about    what the event claims. A refused one may claim anything
    outcome  `rejected` says why, if the event was refused
    state    of the limit after the event. None if there is none, or if the event names no limit
    event    None if the record could not be decoded
    """

    record: Record
    about: Claims
    outcome: RecordOutcome
    changes: Sequence[Change]
    state: LimitState | None
    event: LimitEvent | None

    @property
    def is_refused(self) -> bool:
        return self.outcome.outcome is Outcome.QUARANTINED

    @property
    def is_first(self) -> bool:
        """Whether nothing was known of the limit before."""
        return any(change.field == "progress" and change.before is None for change in self.changes)

    def limit(self) -> UserLimit | None:
        """The limit after the event, as of its arrival."""
        return None if self.state is None else view(self.state, self.record.arrived_at)


def in_order(records: Iterable[Record]) -> list[Record]:
    """The records in order of arrival, each once.

    Within a shard the sequence numbers give the order, between shards the times of arrival. Times within a shard may
    go back a little, so a record counts as arrived no earlier than those before it.
    """
    shards: dict[tuple[str, str], dict[Position, Record]] = defaultdict(dict)
    for record in records:
        shards[record.position.stream, record.position.shard].setdefault(record.position, record)
    return [record for _, _, record in sorted(place for each in shards.values() for place in _places(each.values()))]


def _places(of_shard: Iterable[Record]) -> Iterator[tuple[int, tuple[str, str, int, str, int], Record]]:
    latest = 0
    for record in sorted(of_shard, key=lambda each: _number(each.position)):
        latest = max(latest, record.arrived_at)
        stream, shard, *_ = record.position
        yield latest, (stream, shard, *_number(record.position)), record


def _number(position: Position) -> tuple[int, str, int]:
    """Sequence numbers are decimal numbers without leading zeros: the longer one is the greater one."""
    return len(position.sequence), position.sequence, position.sub_sequence


def steps(limits: Limits, records: Iterable[Record], record_cap: int) -> Iterator[Step]:
    """The steps of one user's records, which are in order of arrival. Events of types that are ignored have none.

    record_cap  bytes: a larger record is refused
    """
    states: dict[Key, LimitState] = {}
    for record in records:
        about = claims(record.data)
        try:
            event = decode(limits, record, record_cap)
        except Rejected as rejected:
            yield _refused(record, about, rejected, states)
            continue
        if not isinstance(event, Ignored):
            yield _step(limits, record, about, event, states)


def _refused(record: Record, about: Claims, rejected: Rejected, states: Mapping[Key, LimitState]) -> Step:
    outcome = RecordOutcome(UNREADABLE, Outcome.QUARANTINED, rejected=rejected.bare())
    named = [states.get((user, about.limit)) for user in about.users] if about.limit else []
    return Step(record, about, outcome, (), next(filter(None, named), None), None)


def _step(limits: Limits, record: Record, about: Claims, event: LimitEvent, states: dict[Key, LimitState]) -> Step:
    key = limits.key(event)
    before = states.get(key)
    folded = fold(limits, before, [event])
    if folded.state is not None:
        states[key] = folded.state
    changes = tuple(_changes(before, folded.state, record.arrived_at))
    return Step(record, about, folded.record_outcomes[0], changes, folded.state, event)


def _changes(before: LimitState | None, after: LimitState | None, at: int) -> Iterator[Change]:
    """What an event that arrived `at` changed. Both states are seen as of then, so that time alone changes nothing."""
    old, new = _seen(before, at), _seen(after, at)
    for field in (*new, *(name for name in old if name not in new)):
        if field not in NOT_LISTED and old.get(field) != new.get(field):
            yield Change(field, old.get(field), new.get(field))


def _seen(state: LimitState | None, at: int) -> dict[str, Any]:
    return {} if state is None else view(state, at).to_json()


def last_states(found: Iterable[Step]) -> dict[str, LimitState]:
    """Each limit after its last event, by id."""
    return {step.state.user_limit_id: step.state for step in found if step.state is not None}


class FoundRecords(Protocol):
    """The records of a user, and what could not be read: one line each."""

    @property
    def records(self) -> Sequence[Record]: ...

    @property
    def unreadable(self) -> Sequence[str]: ...


class RecordFinder(Protocol):
    """Finds what an archive has of a user. Implemented by archive.finding.Finder, which says what it raises."""

    def records_of(self, user: str, until: int, most_objects: int | None = None) -> FoundRecords: ...


@dataclass(frozen=True, slots=True)
class History:
    """The steps of a user until `as_of`, epoch milliseconds, in order of arrival.

    unreadable  what could not be read of the archive, one line each: there may be further steps in it
    """

    as_of: int
    steps: Sequence[Step]
    unreadable: Sequence[str]

    def of_limit(self, user_limit_id: str | None) -> list[Step]:
        """The steps of one limit; None: all of them, also those that name none."""
        return [step for step in self.steps if user_limit_id is None or step.about.limit == user_limit_id]


@dataclass(frozen=True, slots=True)
class HistoryReader:
    """The histories in an archive. It blocks, and raises what the finder raises.

    record_cap  bytes: a larger record is refused
    now_millis  epoch milliseconds
    """

    finder: RecordFinder
    limits: Limits
    record_cap: int
    now_millis: Callable[[], int]

    def of_user(self, user: str, as_of: int | None = None, most_objects: int | None = None) -> History:
        """Until `as_of`, epoch milliseconds; None: until now."""
        now = self.now_millis()
        until = now + AHEAD_MILLIS if as_of is None else min(as_of, now + AHEAD_MILLIS)
        found = self.finder.records_of(user, until, most_objects)
        made = tuple(steps(self.limits, in_order(found.records), self.record_cap))
        return History(now if as_of is None else as_of, made, found.unreadable)
