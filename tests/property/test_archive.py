"""An archive with repeats, in objects of any size and order, leads to the limits that its events lead to."""

from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from consumer import bootstrap
from consumer.admin.rebuild import _Folder as Rebuilding
from consumer.admin.replay import replayer
from consumer.admin.sources import Origin, Source
from consumer.admin.verify import Folder as Verifying
from consumer.archive.place import InMemoryPlace
from consumer.archive.reading import records
from consumer.engine.records import Record
from consumer.engine.retry_policy import NoRetry
from consumer.limits.state import LimitState, merge
from consumer.settings import RecordSettings
from tests.property.strategies import deliveries, histories
from tests.property.test_delivery import POISON
from tests.support.generators.archived import STREAM, numbered, write
from tests.support.generators.events import encode

ORIGIN = Origin("dir:", STREAM)


@st.composite
def archives(draw: st.DrawFn) -> tuple[list[Record], list[list[Record]]]:
    """The records of a shard, and objects in each of which some of them are in order: together all, at least once."""
    data = [*map(encode, draw(histories())), *draw(st.lists(POISON.filter(bool), max_size=2))]
    records = numbered(draw(st.permutations(data)))
    parts = [sorted(set(part), key=lambda each: int(each.position.sequence)) for part in draw(deliveries(records))]
    return records, [part for part in parts if part]


def written(objects: Sequence[Sequence[Record]]) -> InMemoryPlace:
    place = InMemoryPlace()
    for each in objects:
        write(place, each)
    return place


@given(archives(), st.randoms())
def test_rebuilding_in_any_order_is_delivery(given: tuple[list[Record], list[list[Record]]], random: Random) -> None:
    place = written(given[1])
    delivered, expected = bootstrap.in_memory_processor(RecordSettings())
    # Not all of what was written: an object overwrites another one that has the same first and last number.
    kept = {record.position: record for path, content in place.files.items() for record in records(path, content)}
    delivered.process(list(kept.values()), NoRetry())

    core, rebuilt = bootstrap.in_memory_processor(RecordSettings())
    rebuilding = Rebuilding(replayer(core), Source(place, ORIGIN), None)
    files = list(rebuilding.source.files())
    random.shuffle(files)
    for found in files:
        rebuilding(found)
    assert rebuilt.states() == expected.states()

    joined: dict[tuple[str, str], LimitState] = {}
    verifying = Verifying(core, rebuilding.source, lambda _: True)
    for found in files:
        for (user, limit, *_), state in verifying(found).decoded().items():
            joined[user, limit] = merge(joined.get((user, limit), state), state)
    assert [joined[key] for key in sorted(joined)] == expected.states()
