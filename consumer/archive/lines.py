"""A line of the archive: one user record as JSON. It can be read, and folded, without any other line."""

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

import msgspec

from consumer.engine.errors import Reason, Rejected
from consumer.engine.records import LATEST_ARRIVAL, Position, Record
from consumer.engine.wire import DEPTH, parse_object

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SUB_SEQUENCE, _ARRIVED_AT = b'","subSequenceNumber":', b',"arrivedAt":'
_MILLIS = [b'.%03dZ"' % number for number in range(1_000)]
_BLANK = ord(" ")
_SHORT = 10 * DEPTH
"""A text of so many bytes may be nested deeper than DEPTH, but never too deep for a reader."""
_ANY_JSON = msgspec.json.Decoder(msgspec.Raw)
_FAULT = b'","fault":"%s"}' % Reason.RECORD_DATA.encode()


class _Stored(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A line as it is written: `event` is the JSON of a record as it came, `data` the base64 of any other record.

    `fault`: RECORD_DATA if `data` is not the record's data, but what was delivered in its place.
    """

    stream: str
    shard: str
    sequence_number: str
    sub_sequence_number: Annotated[int, msgspec.Meta(ge=0)]
    arrived_at: Annotated[datetime, msgspec.Meta(tz=True)] | None
    event: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: bytes | msgspec.UnsetType = msgspec.UNSET
    fault: str | None = None


_DECODER = msgspec.json.Decoder(_Stored)


def encode(stream: str, record: Record) -> bytes:
    """One line without its newline. The arrival time is an ISO 8601 text in UTC with milliseconds, null if unknown."""
    (_, shard, sequence, sub_sequence), data, arrived_at, fault, _ = record
    origin, second = _frame(stream, shard, arrived_at // 1_000)
    number = sequence.encode(errors="surrogatepass")
    if not number.isdigit():
        number = _escaped(sequence)
    sub = b"%d" % sub_sequence if sub_sequence else b"0"
    second, millis = (second, _MILLIS[arrived_at % 1_000]) if arrived_at else (b"null", b"")
    as_json = fault is None and _is_json(data)
    if as_json:
        name, value, end = b',"event":', data, b"}"
    else:
        name, value, end = b',"data":"', base64.b64encode(data), b'"}' if fault is None else _FAULT
    return b"".join((origin, number, _SUB_SEQUENCE, sub, _ARRIVED_AT, second, millis, name, value, end))


def decode(line: bytes) -> Record:
    """The record from the output of `encode`. Raises ValueError, whose text never contains data of the record."""
    try:
        stored = _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ValueError(f"not a line of an archive: {_reason(error)}") from None
    except RecursionError:
        raise ValueError("not a line of an archive: nested too deeply") from None
    position = Position(stored.stream, stored.shard, stored.sequence_number, stored.sub_sequence_number)
    arrived_at = (stored.arrived_at - _EPOCH) // _MILLISECOND if stored.arrived_at else 0
    # A text may look like an event. Whoever folds it must reject it, as the service did.
    fault = Rejected(Reason.RECORD_DATA, "data is not base64") if stored.fault else None
    return Record(position, _data(stored), arrived_at if 0 <= arrived_at < LATEST_ARRIVAL else 0, fault)


def _reason(error: Exception) -> str:
    return "not UTF-8" if isinstance(error, UnicodeError) else str(error)


def _data(stored: _Stored) -> bytes:
    if isinstance(stored.event, msgspec.Raw):
        return bytes(stored.event)
    if isinstance(stored.data, bytes):
        return stored.data
    raise ValueError("not a line of an archive: neither `event` nor `data`")


@lru_cache(maxsize=16)
def _frame(stream: str, shard: str, seconds: int) -> tuple[bytes, bytes]:
    """What lines of one shard and one second have in common: their start, and the start of their arrival time."""
    origin = f'{{"stream":{json.dumps(stream)},"shard":{json.dumps(shard)},"sequenceNumber":"'
    return origin.encode(), datetime.fromtimestamp(seconds, UTC).strftime('"%Y-%m-%dT%H:%M:%S').encode()


def _escaped(text: str) -> bytes:
    """A text as it is inside a JSON string."""
    return json.dumps(text)[1:-1].encode()


def _is_json(data: bytes) -> bool:
    """Whether the data is a JSON text that fits on a line as it is, and that every reader can parse."""
    # Readers split lines at \r too. Blanks around the text would be lost, because they are not part of its value.
    if not data or data[0] <= _BLANK or data[-1] <= _BLANK or b"\n" in data or b"\r" in data:
        return False
    try:
        _ANY_JSON.decode(data)
        if not data.isascii():
            data.decode()  # msgspec does not look into the strings that it skips
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return len(data) <= _SHORT or data.count(b"{") + data.count(b"[") <= DEPTH or _is_plain(data)


def _is_plain(data: bytes) -> bool:
    """Whether it is an object that the service would read, which is bounded in depth and number of values."""
    try:
        parse_object(data)
    except Rejected:
        return False
    return True
