"""Aggregates of the Kinesis Producer Library (KPL): magic number, protobuf message, MD5 digest of the message.

The KPL's aggregation-format.md defines the format. Lambda does not unpack aggregates, and the KCL is kept from it (see
consumer/daemon/aggregator_shim.py). Partition keys and hash keys are ignored: each event names its user.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import islice

from consumer.engine.errors import Reason, Rejected
from consumer.engine.records import Position, Record

MAGIC = b"\xf3\x89\x9a\xc2"
RECORDS = 5_000
"""The default maximum of user records in an aggregate. A record of 1 MiB holds at most 4,000 of the smallest events
that can be applied, but 262,000 empty ones, which would take a second to unpack."""
SLICE_RECORDS = 10_000
SLICE_BYTES = 4 * 1024 * 1024
"""The size of a slice in records and in bytes of data. Only a single aggregate may exceed it. A fetch of 10 MiB can
contain a million records, which together would take gigabytes and minutes."""
_DIGEST = 16
_RECORDS_FIELD = 3
_DATA_FIELD = 3
_FIELDS = 5
"""Maximum of fields in a user record. The KPL writes up to three."""
_FIELDS_A_RECORD = 3
"""Maximum of fields in the aggregate, per user record. The KPL writes up to three."""
_VARINT, _LENGTH = 0, 2
_FIXED = {1: 8, 5: 4}
"""Bytes of a number, by wire type."""
_NUMBER = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]")
"""A varint of up to 64 bits. Its value is not needed, and decoding it would take as long as all the rest."""


def deaggregate(record: Record, most: int = RECORDS) -> list[Record]:
    """The user records of an aggregate with their sub-sequence numbers. Any other record is returned unchanged.

    An aggregate is returned whole, with `fault` set, if it is broken, has more than `most` records, or was itself
    inside an aggregate.
    """
    if record.fault or not record.data.startswith(MAGIC):
        return [record]
    if record.position.sub_sequence:
        return [record._replace(fault=nested())]
    try:
        parts = _user_records(record.data, most)
    except Rejected as fault:
        return [record._replace(fault=fault.bare())]
    return [_part(record, index, data) for index, data in enumerate(parts)]


def slices(delivered: Iterable[list[Record]], times: int = 1) -> Iterator[list[Record]]:
    """Groups delivered records, each given as its user records, into slices up to SLICE_RECORDS and SLICE_BYTES.

    `times`: they are so many times as large.
    """
    held: list[Record] = []
    size = 0
    for parts in delivered:
        more = len(parts[0].data) if len(parts) == 1 else sum(len(part.data) for part in parts)
        if held and (len(held) + len(parts) > times * SLICE_RECORDS or size + more > times * SLICE_BYTES):
            yield held
            held, size = [], 0
        held += parts
        size += more
    if held:
        yield held


def _part(whole: Record, index: int, data: bytes) -> Record:
    position = Position(whole.position.stream, whole.position.shard, whole.position.sequence, index)
    return Record(position, data, whole.arrived_at, nested() if data.startswith(MAGIC) else None, whole)


def _user_records(data: bytes, most: int) -> list[bytes]:
    # The digest is checked before anything is parsed: a record that only starts with the magic number fails here.
    message, digest = data[len(MAGIC) : -_DIGEST], data[-_DIGEST:]
    if hashlib.md5(message, usedforsecurity=False).digest() != digest:
        raise _broken("its checksum is wrong")
    # Generators and `islice`: an aggregate with too many records is refused without unpacking all of them.
    found = (value for field, value in _fields(message, _FIELDS_A_RECORD * most) if field == _RECORDS_FIELD)
    parts = [_data_of(value) for value in islice(found, most + 1)]
    if not parts:
        raise _broken("it holds no record")
    if len(parts) > most:
        raise Rejected(Reason.AGGREGATE, f"an aggregate of more than {most} records")
    return parts


def _data_of(message: object) -> bytes:
    if not isinstance(message, bytes):
        raise _broken("a record is not a message")
    # Protobuf: of a field that occurs more than once, the last value counts.
    found = [value for field, value in _fields(message, _FIELDS) if field == _DATA_FIELD]
    if not found or not isinstance(found[-1], bytes):
        raise _broken("a record has no data")
    return found[-1]


def _fields(message: bytes, most: int) -> Iterator[tuple[int, bytes | None]]:
    """Field numbers and values of a protobuf message. The value is None unless the field is length-delimited."""
    at = 0
    for _ in range(most):
        if at == len(message):
            return
        tag, at = _varint(message, at)
        value, at = _value(message, at, tag & 7)
        yield tag >> 3, value
    if at < len(message):
        raise _broken(f"a message of more than {most} fields")


def _value(message: bytes, at: int, wire_type: int) -> tuple[bytes | None, int]:
    if wire_type == _LENGTH:
        length, at = _varint(message, at)
        return _bytes(message, at, length), at + length
    if wire_type == _VARINT:
        number = _NUMBER.match(message, at)
        if number is None:
            raise _broken("a number is cut off, or too long")
        return None, number.end()
    if wire_type not in _FIXED:
        raise _broken(f"wire type {wire_type} is unknown")
    _bytes(message, at, _FIXED[wire_type])
    return None, at + _FIXED[wire_type]


def _bytes(message: bytes, at: int, length: int) -> bytes:
    if at + length > len(message):
        raise _broken("it is cut off")
    return message[at : at + length]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A tag or a length. Four bytes are enough for a record of 1 MiB."""
    number = 0
    for shift in range(0, 28, 7):
        if at >= len(message):
            raise _broken("it is cut off")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise _broken("a number is too long")


def nested() -> Rejected:
    """The fault of an aggregate inside an aggregate."""
    return Rejected(Reason.AGGREGATE, "an aggregate inside an aggregate")


def _broken(why: str) -> Rejected:
    return Rejected(Reason.AGGREGATE, f"a broken KPL aggregate: {why}")
