"""A line of the archive: one user record as JSON. It can be read, and folded, without any other line."""

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

import msgspec

from consumer.engine.records import Position, Record, arrival_of
from consumer.engine.wire import DEPTH, is_deeper

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ANY_JSON = msgspec.json.Decoder(msgspec.Raw)


class Line(msgspec.Struct, frozen=True):
    """A user record. `arrived_at` is in epoch milliseconds, 0 if unknown; `data` is what the producer sent."""

    stream: str
    shard: str
    sequence_number: str
    sub_sequence_number: int
    arrived_at: int
    data: bytes

    def record(self) -> Record:
        position = Position(self.stream, self.shard, self.sequence_number, self.sub_sequence_number)
        return Record(position, self.data, self.arrived_at)


class _Stored(msgspec.Struct, frozen=True, rename="camel"):
    """A line as it is written: `event` is the JSON of a record as it came, `data` the base64 of any other record."""

    stream: str
    shard: str
    sequence_number: str
    sub_sequence_number: Annotated[int, msgspec.Meta(ge=0)]
    arrived_at: Annotated[datetime, msgspec.Meta(tz=True)] | None
    event: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: bytes | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(_Stored)


def encode(stream: str, record: Record) -> bytes:
    """One line without its newline. The arrival time is an ISO 8601 text in UTC with milliseconds, null if unknown."""
    _, shard, sequence, sub_sequence = record.position
    number = sequence if sequence.isdecimal() else json.dumps(sequence)[1:-1]
    position = f'{_origin(stream, shard)}{number}","subSequenceNumber":{sub_sequence},"arrivedAt":'
    return b"%b%b,%b}" % (position.encode(), _time(record.arrived_at), _content(record))


def decode(line: bytes) -> Line:
    """The line from the output of `encode`. Raises ValueError, whose text never contains data of the record."""
    try:
        stored = _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ValueError(f"not a line of an archive: {_reason(error)}") from None
    except RecursionError:
        raise ValueError("not a line of an archive: nested too deeply") from None
    arrived_at = arrival_of((stored.arrived_at - _EPOCH) // _MILLISECOND) if stored.arrived_at else 0
    sequence, sub_sequence = stored.sequence_number, stored.sub_sequence_number
    return Line(stored.stream, stored.shard, sequence, sub_sequence, arrived_at, _data(stored))


def _reason(error: Exception) -> str:
    return "not UTF-8" if isinstance(error, UnicodeError) else str(error)


def _data(stored: _Stored) -> bytes:
    if isinstance(stored.event, msgspec.Raw):
        return bytes(stored.event)
    if isinstance(stored.data, bytes):
        return stored.data
    raise ValueError("not a line of an archive: neither `event` nor `data`")


@lru_cache(maxsize=16)
def _origin(stream: str, shard: str) -> str:
    """The start of every line of a shard."""
    return f'{{"stream":{json.dumps(stream)},"shard":{json.dumps(shard)},"sequenceNumber":"'


def _time(arrived_at: int) -> bytes:
    if not arrived_at:
        return b"null"
    seconds, millis = divmod(arrived_at, 1_000)
    return b'"%b.%03dZ"' % (_second(seconds), millis)


@lru_cache(maxsize=16)
def _second(seconds: int) -> bytes:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


def _content(record: Record) -> bytes:
    if record.fault is None and _is_json(record.data):
        return b'"event":' + record.data
    return b'"data":"%b"' % base64.b64encode(record.data)


def _is_json(data: bytes) -> bool:
    """Whether the data is a JSON text that fits on a line as it is, and that every reader can parse."""
    # Readers split lines at \r too. Blanks around the text would be lost, because they are not part of its value.
    if b"\n" in data or b"\r" in data or not data[:1] > b" " or not data[-1:] > b" ":
        return False
    try:
        _ANY_JSON.decode(data)
        if not data.isascii():
            data.decode()  # msgspec does not look into the strings that it skips
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return data.count(b"{") + data.count(b"[") <= DEPTH or not is_deeper(msgspec.json.decode(data), DEPTH)
