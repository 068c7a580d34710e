"""The history of a limit ends where the fold and the table end, and no record of a user hides from it."""

import gzip
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from consumer.archive.finding import Finder
from consumer.archive.index import FOLDER
from consumer.archive.indexing import Indexer
from consumer.archive.lines import decode
from consumer.engine.aggregation import deaggregate
from consumer.engine.errors import Rejected
from consumer.engine.projection import Ignored
from consumer.engine.records import Position, Record
from consumer.limits.claims import claims, owner, users
from consumer.limits.history import in_order, last_states, steps
from consumer.limits.projection import Limits
from tests.property.hostile import SINGLE
from tests.property.strategies import events, odd_events
from tests.support.generators.events import START, Event, encode
from tests.support.simulation.archive import NotedPlace, keep
from tests.support.simulation.core import Core, memory

CAP = 262_144
HOUR = 3_600_000
HISTORIES = st.lists(events(limits=("l-1", "l-2")) | odd_events(), max_size=12)


def archived(history: Sequence[Event]) -> list[Record]:
    return [
        Record(Position("limits", "shard", str(number)), encode(event), START + number)
        for number, event in enumerate(history, 10)
    ]


@given(HISTORIES, st.data())
def test_the_last_states_are_what_the_table_holds(history: Sequence[Event], data: st.DataObject) -> None:
    records = archived(history)
    table = memory()
    core = Core(table)
    outcomes = [next(iter(core.deliver(each).record_outcomes)) for each in records]
    # Repeats, in any order: as an archive may have them.
    repeated = st.lists(st.sampled_from(records), max_size=5) if records else st.just([])
    read = data.draw(st.permutations([*records, *data.draw(repeated)]))
    found = list(steps(Limits(), in_order(read), CAP))
    assert [step.outcome.outcome for step in found] == [each.outcome for each in outcomes if each]
    kept = {(state.user_id, state.user_limit_id): state for state in table.states()}
    assert {("u-1", limit): state for limit, state in last_states(found).items()} == kept


@given(st.lists(events(limits=("l-1",)), min_size=1, max_size=8))
def test_each_state_is_the_fold_of_the_events_until_then(history: Sequence[Event]) -> None:
    records = archived(history)
    found = list(steps(Limits(), records, CAP))
    for length, step in enumerate(found, 1):
        core = Core()
        core.deliver(*records[:length])
        assert step.state is not None
        assert core.repository.partition("u-1") == [step.state]


@given(SINGLE | events().map(encode) | odd_events().map(encode))
def test_whatever_can_be_applied_claims_its_user_its_limit_and_its_id(data: bytes) -> None:
    try:
        event = Limits().decode(data)
    except Rejected:
        return
    if not isinstance(event, Ignored):
        found = claims(data)
        assert event.payload.user_id in found.users
        assert owner(data) == event.payload.user_id
        assert (found.limit, found.event_id) == (event.payload.user_limit_id, event.event_id)


POSITIONS = st.tuples(st.integers(0, 3), st.integers(1, 20))
"""The hour, and the place in it."""


@st.composite
def deliveries(draw: st.DrawFn) -> list[Record]:
    """Records of a few users within a few hours, in the order of their shard."""
    data = st.one_of(events(users=("u-1", "u-2", "\u00fc")).map(encode), SINGLE)
    places = draw(st.lists(POSITIONS, min_size=1, max_size=5).map(sorted))
    return [
        Record(Position("limits", "shard", f"{hour}{place:02}"), draw(data), START + hour * HOUR + place)
        for hour, place in places
    ]


@given(st.lists(st.tuples(deliveries(), st.booleans()), max_size=5), st.sampled_from(["u-1", "u-2", "\u00fc", "u-x"]))
def test_no_index_hides_a_record(written: Sequence[tuple[Sequence[Record], bool]], user: str) -> None:
    """Whenever the archive was indexed, the user's records are those that reading everything finds."""
    place, until = NotedPlace(), START + 10 * HOUR
    with ThreadPoolExecutor(1) as pool:
        for delivery, is_indexed in written:
            keep(place, delivery)
            if is_indexed:
                list(Indexer(place, "limits", users, pool).run(until))
        found = Finder(place, "limits", users, pool).records_of(user, until)
        bare = NotedPlace({path: content for path, content in place.files.items() if not path.startswith(FOLDER)})
        wanted = Finder(bare, "limits", users, pool).records_of(user, until)
    assert found.unreadable == wanted.unreadable == []
    assert contents(found.records) == contents(wanted.records)
    every = [decode(line) for content in bare.files.values() for line in gzip.decompress(content).splitlines()]
    named = [part for record in every for part in deaggregate(record) if user in users(part.data)]
    assert contents(found.records) == contents(named)


def contents(records: Iterable[Record]) -> set[tuple[Position, bytes]]:
    return {(record.position, record.data) for record in records}
