"""A record of 1 MiB takes little CPU time, whatever it contains, even if it is parsed (decision 34).

The limit is a multiple of what plain events of that size take to parse, because machines differ. Measured is the CPU
time of this thread, for both side by side, and the best of several runs, because the same work takes longer on a busy
machine. An aggregate is unpacked within the limit. Each record in it then has the same limit.
"""

import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import given, target
from hypothesis import strategies as st

from consumer.archive.place import InMemoryPlace
from consumer.archive.segment import PlaceArchive
from consumer.engine.aggregation import RECORDS, deaggregate
from consumer.engine.records import Record
from consumer.engine.wire import DEPTH, DIGITS, VALUES
from tests.support.generators import kpl
from tests.support.generators.events import created, encode, progress_changed, record
from tests.support.simulation.core import Core

MIB = 2**20
BOUND = 10
"""Where 1 MiB of plain events takes 6 ms, decision 34 promises 50: 8 times as long. The rest is for a busy machine."""
RUNS = 10

EVENT = encode(created())
PLAIN = b"[" + b",".join([EVENT] * (MIB // len(EVENT + b","))) + b"]"
HEAD = EVENT[:-1] + b',"x":'
"""An event up to the value of an unknown field."""
MANY = VALUES - 100
"""The maximum of values, minus those of the event itself."""


LONG_FIELD = b"\xc8\x80\x80\x00" + b"\xff" * 9 + b"\x01"
"""A number in an aggregate, in its longest encoding."""


def filled(fragment: bytes, head: bytes = HEAD, tail: bytes = b"}", between: bytes = b"") -> bytes:
    """Head, fragments and tail, 1 MiB in all."""
    room = MIB - len(head) - len(tail)
    return head + between.join([fragment] * (room // len(fragment + between))) + tail


def many(value: bytes, opening: bytes = b"[", closing: bytes = b"]", count: int = MANY) -> bytes:
    return HEAD + opening + b",".join([value] * count) + closing + b"}"


def names(form: str, head: bytes = HEAD + b"{", tail: bytes = b"}}") -> bytes:
    """The maximum of names, all different."""
    return head + b",".join(f'"{form % number}":1'.encode() for number in range(MANY)) + tail


def text(fragment: bytes) -> bytes:
    return filled(fragment, HEAD + b'"', b'"}')


def in_place_of(value: bytes, instead: bytes) -> bytes:
    return EVENT.replace(value, instead)


def chains(opening: bytes, inner: bytes, closing: bytes) -> bytes:
    """Values at the maximum depth, as many as are allowed."""
    depth = DEPTH - 3
    return many(opening * depth + inner + closing * depth, count=MANY // (depth + 1))


SHAPES: Mapping[str, Callable[[], bytes]] = {
    "blanks": lambda: EVENT.ljust(MIB),
    "a long text": lambda: text(b"a"),
    "escaped line breaks": lambda: text(rb"\n"),
    "escaped letters": lambda: text(rb"\u00e9"),
    "escaped pairs": lambda: text(rb"\ud83d\ude00"),
    "lone surrogates": lambda: text(rb"\ud83d"),
    "wide characters": lambda: text("\U0001f3b2".encode()),
    "commas in a text": lambda: text(b","),
    "texts of escapes": lambda: many(rb'"\n\n\n\n\n\n\n\n"'),
    "a control character at the end": lambda: text(b"a")[:-3] + b'\x00"}',
    "a bad byte at the end": lambda: EVENT.ljust(MIB - 1) + b"\xff",
    "UTF-16": lambda: EVENT.decode().ljust(MIB // 2 - 1).encode("utf-16"),
    "an id of 1 MiB": lambda: filled(b"a", EVENT[:-1] + b',"eventId":"', b'"}'),
    "an amount of 1 MiB": lambda: in_place_of(b'"1000"', b'"' + b"9" * (MIB - 1_000) + b'"'),
    "an amount of many decimals": lambda: in_place_of(b'"1000"', b'"0.' + b"0" * (MIB - 1_000) + b'1"'),
    "an integer of 1 MiB": lambda: in_place_of(b"1767225600000", b"9" * (MIB - 1_000)),
    "a decimal of 1 MiB": lambda: filled(b"9", tail=b".5}"),
    "an exponent of 1 MiB": lambda: filled(b"9", HEAD + b"1e"),
    "decimals": lambda: many(b"1.999999999999999999"),
    "exponents": lambda: many(b"1e9999999"),
    "integers": lambda: many(b"9" * 19),
    "integers as long as may be": lambda: many(b"9" * DIGITS, count=MIB // (DIGITS + 2)),
    "literals": lambda: many(b"false"),
    "names": lambda: names("%d"),
    "names with escapes": lambda: names("\\u0041%d"),
    "names in the envelope": lambda: names("%d", EVENT[:-1] + b",", b"}"),
    "names in the payload": lambda: in_place_of(b'"payload": {', names("%d", b'"payload": {', b",")),
    "one name again and again": lambda: many(b'"a":1', b"{", b"}"),
    "payloads again and again": lambda: EVENT[:-1] + b"," + b",".join([b'"payload":{}'] * (MANY // 2)) + b"}",
    "empty arrays": lambda: many(b"[]", count=MANY // 2),
    "empty objects": lambda: many(b"{}", count=MANY // 2),
    "chains of arrays": lambda: chains(b"[", b"", b"]"),
    "chains of objects": lambda: chains(b'{"a":', b"1", b"}"),
    "chains of objects with names": lambda: chains(b'{"%s":' % (b"a" * 8), b"1", b"}"),
    "arrays nested without end": lambda: b"[" * MIB,
    "objects nested without end": lambda: filled(b'{"a":', b"", b""),
    "one value too many": lambda: many(b"0", count=VALUES + 1),
    "a broken aggregate": lambda: kpl.MAGIC + b"\xff" * (MIB - 4),
    "an aggregate of one": lambda: kpl.aggregate(EVENT.ljust(MIB - 200)),
    "an aggregate of too many": lambda: kpl.sealed(kpl.text(3, kpl.text(3, b"")) * 130_000),
    "an aggregate of numbers": lambda: kpl.sealed(kpl.number(9, 1) * 500_000),
    "an aggregate of long numbers": lambda: kpl.sealed(kpl.number(9, 2**63) * 90_000),
    "an aggregate with one record at its end": lambda: kpl.sealed(
        kpl.text(9, b"a" * 45) * (3 * RECORDS - 1) + kpl.text(3, kpl.text(3, EVENT))
    ),
    "an aggregate within an aggregate": lambda: kpl.aggregate(kpl.aggregate(EVENT.ljust(MIB - 200))),
}
AGGREGATES: Mapping[str, Callable[[], bytes]] = {
    "of nothing": lambda: kpl.aggregate(*[b""] * RECORDS),
    "of no JSON": lambda: kpl.aggregate(*[b"{" * 190] * RECORDS),
    "of events": lambda: kpl.aggregate(*[encode(progress_changed(2))] * 2_500),
    "with as many fields as are read": lambda: kpl.sealed(
        kpl.text(3, LONG_FIELD * 4 + kpl.text(3, b"{}")) * RECORDS + LONG_FIELD * 2 * RECORDS
    ),
    "with tags": lambda: kpl.sealed(kpl.text(3, kpl.text(3, b"{}") + kpl.text(4, kpl.text(1, b"a" * 150))) * RECORDS),
}


@pytest.fixture(scope="module", autouse=True)
def little_to_collect() -> Iterator[None]:
    """The garbage collector leaves alone what was there before, or it would take most of the time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def cost_of(work: Callable[[], object]) -> float:
    """Seconds of CPU time."""
    gc.collect()
    start = time.thread_time()
    work()
    return time.thread_time() - start


def cost_of_plain_events() -> float:
    return cost_of(lambda: json.loads(PLAIN))


def processing(data: bytes) -> Callable[[], object]:
    """The whole processing of the record, starting with its base64."""
    whole = record(data)

    def work() -> None:
        assert Core(record_cap=MIB).deliver(whole).unsettled is None

    return work


def check_cost(work: Callable[[], object]) -> None:
    costs, plain = [], []
    for _ in range(RUNS):
        costs.append(cost_of(work))
        plain.append(cost_of_plain_events())
        if min(costs) < BOUND * min(plain):
            return
    times = min(costs) / min(plain)
    raise AssertionError(f"{1000 * min(costs):.0f} ms of CPU time, {times:.1f} times as much as plain events")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_a_record_made_to_cost(shape: Callable[[], bytes]) -> None:
    data = shape()
    assert len(data) <= MIB
    check_cost(processing(data))


@pytest.mark.parametrize("shape", AGGREGATES.values(), ids=AGGREGATES.keys())
def test_an_aggregate_made_to_cost(shape: Callable[[], bytes]) -> None:
    """All records are unpacked within the limit. After that, each of them has the limit of a record."""
    data = shape()
    assert len(data) <= MIB
    parts: list[Record] = []

    def work() -> None:
        parts[:] = deaggregate(record(data))

    check_cost(work)
    assert len(parts) > 1
    check_cost(processing(parts[0].data))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_archiving_a_record_made_to_cost(shape: Callable[[], bytes]) -> None:
    """What its archive costs in addition."""
    archive, whole = PlaceArchive(InMemoryPlace(), lambda: 0), record(shape())

    def work() -> None:
        segment = archive.segment()
        segment.add([whole])
        assert segment.write() > 0

    check_cost(work)


TOKENS = st.sampled_from(
    (
        *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\n", b"\\u0041", b"\\ud800", b'"a":', b'"payload":'),
        *(b"0", b"9" * 20, b"1.5", b"1e9", b"-", b"true", b"null", b"NaN", b" ", b"\t", b"a", b"\x00", b"\xff"),
        *("\u00e9".encode(), "\U0001f3b2".encode(), kpl.MAGIC, b"\x1a\x02", b"\x08\x01", b"\x1a\x00"),
    )
)
PLACES: Mapping[str, Callable[[bytes], bytes]] = {
    "alone": lambda fragment: filled(fragment, b"", b""),
    "an unknown value": filled,
    "elements": lambda fragment: filled(fragment, HEAD + b"[", b"]}", b","),
    "members": lambda fragment: filled(b'"a":' + fragment, HEAD + b"{", b"}}", b","),
    "a text": text,
    "an id": lambda fragment: filled(fragment, EVENT[:-1] + b',"eventId":"', b'"}'),
    "an amount": lambda fragment: in_place_of(b"1000", (fragment * MIB)[: MIB - 1_000]),
    "an aggregate": lambda fragment: kpl.sealed(filled(fragment, b"", b"")[: MIB - 20]),
    "in an aggregate": lambda fragment: kpl.aggregate(filled(fragment)[: MIB - 100]),
}


@given(st.sampled_from(sorted(PLACES)), st.lists(TOKENS, min_size=1, max_size=6).map(b"".join))
def test_a_fragment_over_and_over(place: str, fragment: bytes) -> None:
    """Hypothesis searches for the slowest record."""
    data = PLACES[place](fragment)
    work = processing(data)
    target(cost_of(work) / cost_of_plain_events(), label=place)
    check_cost(work)
