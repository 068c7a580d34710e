"""Aggregates of the Kinesis Producer Library, valid and broken."""

from collections.abc import Iterator, Sequence

import pytest

from consumer.engine.aggregation import RECORDS, SLICE_BYTES, SLICE_RECORDS, deaggregate, slices
from consumer.engine.errors import Reason
from consumer.engine.records import Record
from tests.support.generators import kpl
from tests.support.generators.events import position, record

USER_RECORDS: dict[str, Sequence[bytes]] = {
    "one": (b"{}",),
    "two that are equal": (b"{}", b"{}"),
    "an empty one": (b"", b"{}"),
    "one whose length takes two bytes": (b"x" * 128,),
    "one whose length takes three bytes": (b"x" * 20_000,),
    "many": tuple(f'{{"number": {number}}}'.encode() for number in range(500)),
}


@pytest.mark.parametrize("data", USER_RECORDS.values(), ids=USER_RECORDS.keys())
def test_the_records_come_out_in_their_order_each_at_its_own_place(data: Sequence[bytes]) -> None:
    whole = record(kpl.aggregate(*data), 7)
    parts = deaggregate(whole)
    assert [part.data for part in parts] == list(data)
    assert [part.position.sub_sequence for part in parts] == list(range(len(data)))
    assert {(part.position.sequence, part.arrived_at, part.fault) for part in parts} == {
        (position(7).sequence, whole.arrived_at, None)
    }
    assert all(part.aggregate is part.delivered is whole for part in parts)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xf3\x89\x9a", b"\x00" + kpl.aggregate(b"{}")])
def test_a_record_without_the_magic_is_left_alone(data: bytes) -> None:
    whole = record(data)
    assert deaggregate(whole) == [whole]


def test_everything_else_in_the_message_is_passed_over() -> None:
    tags = kpl.text(4, kpl.text(1, b"key") + kpl.text(2, b"value"))
    packed = kpl.number(1, 0) + kpl.number(2, 2**64 - 1) + kpl.text(3, b"{}") + tags + kpl.fixed32(9, 1)
    body = kpl.text(1, b"user") + kpl.text(2, b"123") + kpl.fixed64(7, 5) + kpl.text(3, packed) + kpl.text(100, b"new")
    assert [part.data for part in deaggregate(record(kpl.sealed(body)))] == [b"{}"]


def test_the_fields_of_a_record_may_come_in_any_order_and_the_last_one_counts() -> None:
    packed = kpl.text(3, b"first") + kpl.text(3, b"last") + kpl.number(1, 0)
    assert [part.data for part in deaggregate(record(kpl.sealed(kpl.text(3, packed))))] == [b"last"]


def broken(data: bytes) -> bool:
    """Whether the record is returned whole, marked as a broken aggregate."""
    (part,) = deaggregate(record(data))
    return part.data == data and part.fault is not None and part.fault.reason is Reason.AGGREGATE


AGGREGATE = kpl.aggregate(b'{"a": 1}', b'{"b": 2}')
BODY = kpl.message(b'{"a": 1}', b'{"b": 2}')


@pytest.mark.parametrize("length", range(len(kpl.MAGIC), len(AGGREGATE)))
def test_an_aggregate_that_is_cut_off(length: int) -> None:
    assert broken(AGGREGATE[:length])


@pytest.mark.parametrize("place", range(len(kpl.MAGIC), len(AGGREGATE)))
def test_an_aggregate_with_one_bit_wrong(place: int) -> None:
    spoiled = bytearray(AGGREGATE)
    spoiled[place] ^= 0x10
    assert broken(bytes(spoiled))


@pytest.mark.parametrize("length", range(len(BODY)))
def test_a_message_that_is_cut_off_under_a_right_checksum(length: int) -> None:
    data = kpl.sealed(BODY[:length])
    if BODY[:length] == kpl.message(b'{"a": 1}'):
        assert [part.data for part in deaggregate(record(data))] == [b'{"a": 1}']
    else:
        assert broken(data)


USER = kpl.text(1, b"user")
WRONG_MESSAGES = {
    "no records": USER,
    "nothing": b"",
    "a record without data": USER + kpl.text(3, kpl.number(1, 0)),
    "an empty record": kpl.text(3, b""),
    "one sound record and one without data": kpl.text(3, kpl.text(3, b"{}")) + kpl.text(3, kpl.number(1, 0)),
    "a record that is a number": USER + kpl.number(3, 5),
    "a record of fixed size": USER + kpl.fixed64(3, 5),
    "a record of fixed size that spells a record": USER + kpl.tag(3, 1) + kpl.text(3, b"{}") + kpl.number(1, 0) * 2,
    "data that is a number": kpl.text(3, kpl.number(3, 5)),
    "data of fixed size": kpl.text(3, kpl.fixed64(3, 5)),
    "data of fixed size, the smaller": kpl.text(3, kpl.fixed32(3, 5)),
    "a group": USER + kpl.tag(3, 3),
    "the end of a group": USER + kpl.tag(3, 4),
    "wire type 6": USER + kpl.tag(3, 6),
    "wire type 7": USER + kpl.tag(3, 7),
    "a number without end": USER + b"\x80" * 20,
    "a number that is cut off": USER + b"\x80",
    "a length beyond the end": USER + kpl.tag(3, 2) + kpl.varint(2**40) + b"x",
    "a fixed size beyond the end": USER + kpl.tag(9, 1) + b"x",
    "a record cut off inside": kpl.text(3, kpl.text(3, b"{}")[:-1]),
}


@pytest.mark.parametrize("body", WRONG_MESSAGES.values(), ids=WRONG_MESSAGES.keys())
def test_a_message_that_is_not_of_the_format(body: bytes) -> None:
    assert broken(kpl.sealed(body))


@pytest.mark.parametrize("sub", [0, 1])
def test_an_unpacked_record_keeps_its_number(sub: int) -> None:
    unpacked = Record(position(3)._replace(sub_sequence=sub), b"{}")
    assert deaggregate(unpacked) == [unpacked]
    assert unpacked.delivered is unpacked


def test_an_aggregate_inside_an_aggregate_is_not_opened() -> None:
    inner = kpl.aggregate(b"{}")
    first, nested = deaggregate(record(kpl.aggregate(b"{}", inner)))
    delivered_alone = Record(position(3)._replace(sub_sequence=1), inner)
    assert first.fault is None
    for part in (nested, *deaggregate(delivered_alone)):
        assert (part.data, part.position.sub_sequence) == (inner, 1)
        assert part.fault
        assert part.fault.reason is Reason.AGGREGATE


KEYS = {
    "a partition key that is not there": kpl.number(1, 5),
    "a hash key that is not there": kpl.number(1, 0) + kpl.number(2, 7),
    "a hash key that is no number": kpl.number(1, 0) + kpl.number(2, 0),
    "no partition key": b"",
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS.keys())
def test_partition_keys_and_hash_keys_do_not_matter(keys: bytes) -> None:
    body = kpl.text(1, b"user") + kpl.text(2, b"no number") + kpl.text(3, keys + kpl.text(3, b"{}"))
    assert [part.data for part in deaggregate(record(kpl.sealed(body)))] == [b"{}"]


def sizes(*delivered: list[Record]) -> list[int]:
    """The number of records in each slice."""
    return [len(each) for each in slices(delivered)]


def of_size(count: int, size: int = 0) -> list[Record]:
    return [record(b"x" * size)] * count


def test_slices_hold_so_many_records_and_split_no_aggregate() -> None:
    most = SLICE_RECORDS
    assert sizes() == []
    assert sizes(of_size(1), of_size(most - 1)) == [most]
    assert sizes(of_size(2), of_size(most - 1), of_size(1)) == [2, most]
    assert sizes(of_size(1), of_size(most + 1), of_size(1)) == [1, most + 1, 1]
    assert sizes(*[of_size(1)] * (2 * most + 1)) == [most, most, 1]


def test_slices_hold_so_many_bytes() -> None:
    half = SLICE_BYTES // 2
    assert sizes(of_size(1, half), of_size(1, half)) == [2]
    assert sizes(of_size(1, half), of_size(1, half + 1), of_size(1, half)) == [1, 1, 1]
    assert sizes(of_size(3, half), of_size(1, 1)) == [3, 1]


def test_slices_are_made_as_they_are_taken() -> None:
    """The unpacked records of a fetch must never be in memory all at once."""
    taken: list[int] = []

    def delivered() -> Iterator[list[Record]]:
        for number in range(5):
            taken.append(number)
            yield of_size(SLICE_RECORDS)

    next(slices(delivered()))
    assert taken == [0, 1]


def test_an_aggregate_of_as_many_records_as_are_taken() -> None:
    assert len(deaggregate(record(kpl.aggregate(*[b"{}"] * RECORDS)))) == RECORDS
    assert broken(kpl.aggregate(*[b"{}"] * (RECORDS + 1)))


def test_the_maximum_of_records_can_be_set() -> None:
    assert len(deaggregate(record(kpl.aggregate(b"{}", b"{}", b"{}")), 3)) == 3
    (refused,) = deaggregate(record(kpl.aggregate(b"{}", b"{}", b"{}")), 2)
    assert refused.fault
    assert refused.fault.detail == "an aggregate of more than 2 records"


FLOODS = {
    "of keys": kpl.text(1, b"") * 30_000 + kpl.text(3, kpl.text(3, b"{}")),
    "of numbers": kpl.number(9, 1) * 30_000 + kpl.text(3, kpl.text(3, b"{}")),
    "inside a record": kpl.text(3, kpl.number(9, 1) * 100 + kpl.text(3, b"{}")),
    "of data": kpl.text(3, kpl.text(3, b"{}") * 100),
}


@pytest.mark.parametrize("body", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_of_fields(body: bytes) -> None:
    assert broken(kpl.sealed(body))


def test_every_record_may_have_keys_of_its_own() -> None:
    keys = kpl.text(1, b"key") * RECORDS + kpl.text(2, b"170141183460469231731687303715884105728") * RECORDS
    packed = kpl.text(3, kpl.number(1, 300) + kpl.number(2, 300) + kpl.text(3, b"{}"))
    assert len(deaggregate(record(kpl.sealed(keys + packed * RECORDS)))) == RECORDS
