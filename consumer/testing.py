"""Checks that a projection keeps its promises to the engine, for the tests of its author.

    from consumer.testing import CHECKS, Subject

    WALLET = Subject(Wallet(), records())

    @pytest.mark.parametrize("check", CHECKS)
    def test_the_wallet_keeps_the_promises_of_a_projection(check: Check) -> None:
        check(WALLET)

    def test_a_late_total_changes_nothing() -> None:
        assert applied(Wallet(), third, second).outcomes == [Outcome.APPLIED, Outcome.STALE]

Each check draws records, events and states with Hypothesis (the extra `limits-consumer[testing]`), in the profile that
is loaded. It raises an AssertionError that says which promise is broken; Hypothesis adds the smallest example.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from consumer.engine.errors import Malformed, Rejected
from consumer.engine.folding import Outcome
from consumer.engine.processor import Processor
from consumer.engine.projection import Ignored, Plain, Projection, Review
from consumer.engine.quarantine import InMemoryQuarantine
from consumer.engine.records import Position, Record
from consumer.engine.repository import InMemoryRepository, fingerprint
from consumer.engine.retry_policy import NoRetry
from consumer.stores.attributes import deserialize, serialize

E = TypeVar("E")
S = TypeVar("S")

KEY_BYTES = (2048, 1024)
"""The most that DynamoDB takes in a partition key and in a sort key, in UTF-8."""
_EVENTS = 5
"""A state is the merge of at most this many events."""


@dataclass(frozen=True, slots=True)
class Subject(Generic[E, S]):
    """A projection, and the records with which it is checked.

    records  data that `decode` turns into events of one key. They should collide: few sequence numbers or times, few
             ids, the same event with two contents. What never collides proves nothing about `merge`
    """

    projection: Projection[E, S]
    records: SearchStrategy[bytes]

    def events(self) -> SearchStrategy[E]:
        return self.records.map(self._event)

    def states(self) -> SearchStrategy[S]:
        """States after a few events."""
        some = st.lists(self.events().map(self.projection.state_of), min_size=1, max_size=_EVENTS)
        return some.map(lambda states: reduce(self.projection.merge, states))

    def _event(self, data: bytes) -> E:
        event = self.projection.decode(data)
        if isinstance(event, Ignored):
            _fail(f"records: {data!r} is ignored; give records that decode to events")
        return event


Check: TypeAlias = Callable[[Subject[Any, Any]], None]


def records_have_one_key(subject: Subject[E, S]) -> None:
    """All records have the same key: states of different keys are never merged."""
    key = subject.projection.key

    def check(one: E, other: E) -> None:
        _expect(key(one) == key(other), f"records: two keys, {key(one)} and {key(other)}; give records of one key")

    _for_all(check, one=subject.events(), other=subject.events())


def merge_is_commutative(subject: Subject[E, S]) -> None:
    """The order of two states makes no difference."""
    merge = subject.projection.merge

    def check(left: S, right: S) -> None:
        _expect_same(subject, merge(left, right), merge(right, left), "merge(left, right) is not merge(right, left)")

    _for_all(check, left=subject.states(), right=subject.states())


def merge_is_associative(subject: Subject[E, S]) -> None:
    """Batches make no difference."""
    merge = subject.projection.merge

    def check(one: S, two: S, three: S) -> None:
        broken = "merge(merge(one, two), three) is not merge(one, merge(two, three))"
        _expect_same(subject, merge(merge(one, two), three), merge(one, merge(two, three)), broken)

    _for_all(check, one=subject.states(), two=subject.states(), three=subject.states())


def merge_is_idempotent(subject: Subject[E, S]) -> None:
    """What is merged a second time changes nothing."""
    merge = subject.projection.merge

    def check(left: S, right: S) -> None:
        both = merge(left, right)
        _expect_same(subject, merge(left, left), left, "merge(left, left) is not left")
        _expect_same(subject, merge(both, right), both, "merge(merge(left, right), right) is not merge(left, right)")

    _for_all(check, left=subject.states(), right=subject.states())


def merge_returns_left_if_equal(subject: Subject[E, S]) -> None:
    """`merge` returns `left` itself, not an equal copy, if `right` adds nothing: replays are compared by identity."""

    def check(left: S, right: S) -> None:
        merged = subject.projection.merge(left, right)
        _expect(merged is left or merged != left, "merge returned a copy that equals left; return left itself")

    _for_all(check, left=subject.states(), right=subject.states())


def merge_changes_no_argument(subject: Subject[E, S]) -> None:
    """States are values: the cache holds them while they are merged."""
    dump = subject.projection.dump

    def check(left: S, right: S) -> None:
        before = deepcopy((dump(left), dump(right)))
        subject.projection.merge(left, right)
        _expect((dump(left), dump(right)) == before, "merge changed one of its arguments; return a new state")

    _for_all(check, left=subject.states(), right=subject.states())


def states_survive_the_table(subject: Subject[E, S]) -> None:
    """`load(dump(state)) == state`, also after DynamoDB, which turns each number into a Decimal without final zeros.

    Both have the same version. `load` ignores unknown attributes, such as those of a later release.
    """
    projection = subject.projection

    def check(state: S) -> None:
        attributes = projection.dump(state)
        _expect_same(subject, _loaded(projection, attributes), state, "load(dump(state)) is not state")
        stored = {name: deserialize(serialize(value)) for name, value in attributes.items()} | {"unknown to load": {}}
        broken = f"load of what DynamoDB returns, {stored}, is not state"
        _expect_same(subject, _loaded(projection, stored), state, broken)

    _for_all(check, state=subject.states())


def attributes_keep_their_types(subject: Subject[E, S]) -> None:
    """An attribute has the same type in every dump: a store compares dumps, and True equals 1."""

    def check(one: S, other: S) -> None:
        ours, theirs = (dict(_types(subject.projection.dump(state))) for state in (one, other))
        for path in ours.keys() & theirs.keys():
            names = sorted({ours[path].__name__, theirs[path].__name__})
            _expect(len(names) == 1, f"{path}: {' in one dump, '.join(names)} in another")

    _for_all(check, one=subject.states(), other=subject.states())


def keys_are_attributes(subject: Subject[E, S]) -> None:
    """`dump` writes the key of the events under `key_names`, also after a merge."""
    projection = subject.projection

    def check(event: E, state: S) -> None:
        for kept in (projection.state_of(event), projection.merge(projection.state_of(event), state)):
            attributes = projection.dump(kept)
            found = tuple(attributes.get(name) for name in projection.key_names)
            _expect(found == projection.key(event), f"dump: {found} under {projection.key_names}, not the event's key")

    _for_all(check, event=subject.events(), state=subject.states())


def decode_refuses_or_returns(subject: Subject[E, S]) -> None:
    """`decode` raises Rejected, or returns an event that can be stored, whatever the data. All else stops a shard."""

    def check(record: bytes, cut: int, instead: bytes) -> None:
        for data in (record[:cut] + instead, instead, instead + record[cut:], *_odd_records(record)):
            _expect_refused_or_storable(subject.projection, data)

    _for_all(check, record=subject.records, cut=st.integers(0, 300), instead=st.binary(max_size=20))


def load_refuses_or_returns(subject: Subject[E, S]) -> None:
    """`load` raises Malformed, or returns a state that can be stored, whatever another program wrote into a row."""

    def check(state: S) -> None:
        for row in _variants(subject.projection.dump(state), _ODD_STORED):
            _expect_refused_or_state(subject.projection, row)

    _for_all(check, state=subject.states())


def review_agrees_with_merge(subject: Subject[E, S]) -> None:
    """The first event of a key is not repeated. An event that was applied is, when it is delivered again at once."""
    projection = subject.projection

    def check(stored: S | None, event: E) -> None:
        alone = projection.state_of(event)
        merged = alone if stored is None else projection.merge(stored, alone)
        changes = merged != stored
        found = _reviewed(lambda: projection.review(stored, event, alone, changes=changes))
        if isinstance(found, Review) and changes:
            _expect(stored is not None or not found.repeated, "review called the first event of a key repeated")
            again = _reviewed(lambda: projection.review(merged, event, alone, changes=False))
            _expect(isinstance(again, Review) and again.repeated, "review did not recognise an event that it just saw")

    _for_all(check, stored=st.none() | subject.states(), event=subject.events())


def review_overtaken_agrees(subject: Subject[E, S]) -> None:
    """The shortcut finds what `review` finds, and only for events that change nothing."""
    projection = subject.projection

    def check(stored: S, event: E) -> None:
        found = _reviewed(lambda: projection.review_overtaken(stored, event))
        if found is None:
            return
        alone = projection.state_of(event)
        unchanged = projection.merge(stored, alone) == stored
        _expect(unchanged or not isinstance(found, Review), "review_overtaken found an event that changes the state")
        full = _reviewed(lambda: projection.review(stored, event, alone, changes=not unchanged))
        _expect(full == found, f"review_overtaken found {found}, review {full}")

    _for_all(check, stored=subject.states(), event=subject.events())


CHECKS: Sequence[Check] = (
    records_have_one_key,
    merge_is_commutative,
    merge_is_associative,
    merge_is_idempotent,
    merge_returns_left_if_equal,
    merge_changes_no_argument,
    states_survive_the_table,
    attributes_keep_their_types,
    keys_are_attributes,
    decode_refuses_or_returns,
    load_refuses_or_returns,
    review_agrees_with_merge,
    review_overtaken_agrees,
)
"""Every promise of a projection. All hold, or the guarantees of the service do not."""


@dataclass(frozen=True, slots=True)
class Applied(Generic[S]):
    """What became of some records.

    states       what is stored then, by key
    outcomes     one for each record
    warnings     each warning with how often it was raised
    quarantined  the Reason for each quarantined record
    """

    states: Sequence[S]
    outcomes: Sequence[Outcome]
    warnings: Mapping[str, int]
    quarantined: Sequence[str]


def applied(projection: Projection[E, S], *data: bytes) -> Applied[S]:
    """Applies records in this order to a table in memory, which is empty before."""
    kept: InMemoryRepository[S] = InMemoryRepository(projection)
    core: Processor[E, S] = Processor(projection, kept, InMemoryQuarantine(), clock=lambda: 0.0)
    records = [Record(Position("test", "shardId-000000000000", str(at)), each) for at, each in enumerate(data)]
    result = core.process(records, NoRetry())
    return Applied(
        kept.states(),
        [each.outcome for each in result.record_outcomes if each],
        dict(result.warnings),
        [entry.reason for entry in result.quarantined],
    )


def _for_all(check: Callable[..., None], **drawn: SearchStrategy[Any]) -> None:
    # no deadline, because machines differ; the first failure alone, so that it is an AssertionError
    settings(deadline=None, report_multiple_bugs=False)(given(**drawn)(check))()


def _fail(broken: str) -> NoReturn:
    raise AssertionError(broken)


def _expect(condition: bool, broken: str) -> None:
    if not condition:
        _fail(broken)


def _expect_same(subject: Subject[E, S], found: S, expected: S, broken: str) -> None:
    _expect(found == expected, f"{broken}: {found} differs from {expected}")
    ours, theirs = subject.projection.dump(found), subject.projection.dump(expected)
    _expect(fingerprint(ours) == fingerprint(theirs), f"{broken}: equal states are dumped as {ours} and {theirs}")


def _loaded(projection: Projection[E, S], attributes: Mapping[str, Plain]) -> S:
    try:
        return projection.load(attributes)
    except Exception as error:
        raise AssertionError(f"load raised {type(error).__name__} for what dump wrote: {attributes}") from error


def _expect_refused_or_storable(projection: Projection[E, S], data: bytes) -> None:
    try:
        event = projection.decode(data)
    except Rejected:
        return
    except Exception as error:
        raise AssertionError(f"decode raised {type(error).__name__}, not Rejected, for {data!r}") from error
    if not isinstance(event, Ignored):
        _expect_labels(projection, event)
        _expect_storable(projection, event)


def _expect_refused_or_state(projection: Projection[E, S], row: Mapping[str, Any]) -> None:
    try:
        state = projection.load(row)
    except Malformed:
        return
    except Exception as error:
        raise AssertionError(f"load raised {type(error).__name__}, not Malformed, for {row}") from error
    _expect(projection.load(projection.dump(state)) == state, f"dump and load change the state that {row} holds")


def _expect_labels(projection: Projection[E, S], event: E) -> None:
    kind, at, name = projection.type_of(event), projection.time_of(event), projection.correlation_id(event)
    _expect(isinstance(kind, str), f"type_of: {kind!r} is not a string")
    _expect(type(at) is int, f"time_of: {at!r} is not an integer")
    _expect(name is None or isinstance(name, str), f"correlation_id: {name!r} is neither a string nor None")


def _expect_storable(projection: Projection[E, S], event: E) -> None:
    key, attributes = projection.key(event), projection.dump(projection.state_of(event))
    try:
        sizes = [len(part.encode()) for part in key]
        json.dumps({name: serialize(value) for name, value in attributes.items()}, ensure_ascii=False).encode()
    except (ArithmeticError, ValueError, AttributeError) as error:
        raise AssertionError(f"decode returned an event that DynamoDB cannot store: {attributes}") from error
    fits = len(sizes) == len(KEY_BYTES) and all(0 < size <= most for size, most in zip(sizes, KEY_BYTES, strict=True))
    _expect(fits, f"key: parts of {sizes} bytes; DynamoDB takes 1 to {KEY_BYTES[0]} and 1 to {KEY_BYTES[1]}")


def _reviewed(review: Callable[[], Review | None]) -> Review | str | None:
    """The review, or the reason why the event is rejected."""
    try:
        return review()
    except Rejected as rejected:
        return f"rejected: {rejected.reason}"


def _types(attributes: Mapping[str, Plain], path: str = "") -> Iterator[tuple[str, type]]:
    """The path and the type of each attribute, those in maps included."""
    for name, value in attributes.items():
        _expect(isinstance(value, _STORED), f"{path}{name}: {type(value).__name__} is not the type of an attribute")
        yield f"{path}{name}", dict if isinstance(value, Mapping) else type(value)
        if isinstance(value, Mapping):
            yield from _types(value, f"{path}{name}.")


_STORED = (str, int, bool, Decimal, Mapping)
_ODD: Sequence[Any] = (
    None,
    True,
    0,
    -1,
    1.5,
    2**63,
    10**45,
    1e300,
    "",
    " ",
    "1",
    "\ud800",
    "\0",
    "\U0001f3b2",
    "x" * 3_000,
    [],
    {},
)
_ODD_STORED: Sequence[Any] = (
    None,
    True,
    b"",
    set(),
    [],
    {},
    "",
    "\ud800",
    *map(Decimal, ("0", "-1", "1.5", "1E+100", "NaN")),
)


def _odd_records(record: bytes) -> Iterator[bytes]:
    """Variants of a record in JSON; none of any other record."""
    try:
        document = json.loads(record)
    except ValueError:
        return
    if isinstance(document, dict):
        yield from (json.dumps(each).encode() for each in _variants(document, _ODD))


def _variants(whole: Mapping[str, Any], odd: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Copies in which one member, at any depth, is missing or has an odd value."""
    for name, value in whole.items():
        yield {other: whole[other] for other in whole if other != name}
        yield from ({**whole, name: each} for each in odd)
        if isinstance(value, Mapping):
            yield from ({**whole, name: each} for each in _variants(value, odd))
