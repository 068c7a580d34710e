"""Reads an archive: every record once, those of a shard in their order, in memory for a few objects.

A record that was delivered again is in two objects: of the same hour and shard, and with ranges in their names that
overlap. Only then are the positions of the earlier object read once more, to leave them out of the later one.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import NoReturn, TypeAlias

from consumer.archive.lines import decode
from consumer.archive.names import HOUR, Name, hours, parse, prefix
from consumer.archive.place import Found, Place
from consumer.engine.records import Record

_GZIP = 31
"""What zlib calls its format."""
_PIECE = 64 * 1024
"""Bytes that are decompressed at a time: of a damaged object, all pieces before the damage can be read."""
_EPOCH = datetime.fromtimestamp(0, UTC)
_DAYS_OF_HOURS = 31 * 24
"""A longer time is read from one listing of the whole stream: it needs fewer requests than a listing of each hour."""

_Position: TypeAlias = tuple[str, int]
"""Sequence number and index in an aggregate."""


class Damaged(ValueError):
    """A part of an object cannot be read. The message names the object and the line, and no data of a record."""


def refuse(damage: Damaged) -> NoReturn:
    raise damage


OnDamage: TypeAlias = Callable[[Damaged], object]
"""Called for each part that cannot be read. Unless it raises, reading goes on behind that part."""


def objects(
    place: Place, stream: str, since: datetime | None = None, until: datetime | None = None
) -> Iterator[tuple[Name, Found]]:
    """The objects with what arrived between `since` and, exclusively, `until`, by hour. Raises Unavailable."""
    for found in _listed(place, stream, since, until):
        name = parse(found.path)
        if name and name.stream == stream and name.is_within(since, until):
            yield name, found


def records(path: str, content: bytes, on_damage: OnDamage = refuse) -> Iterator[Record]:
    """The records of an object, in their order."""
    number = 0
    try:
        for number, line in enumerate(_split(_inflated(content)), 1):
            try:
                found = decode(line)
            except ValueError as error:
                on_damage(Damaged(f"{path}: line {number}: {error}"))
            else:
                yield found
    except (EOFError, zlib.error) as error:
        on_damage(Damaged(f"{path}: damaged behind line {number}: {error}"))


def read(
    place: Place,
    stream: str,
    since: datetime | None = None,
    until: datetime | None = None,
    on_damage: OnDamage = refuse,
) -> Iterator[Record]:
    """Every record of the stream once that arrived between `since` and, exclusively, `until`.

    Sorted by hour, then by shard, then by position. A parent comes before its children, which have later names.
    Raises Unavailable.
    """
    found = (name for name, _ in objects(place, stream, since, until))
    for _, of_hour in groupby(found, lambda name: name.hour):
        for _, of_shard in groupby(sorted(of_hour, key=_order), lambda name: name.shard):
            for record in _of_shard(place, of_shard, on_damage):
                if arrived_within(record.arrived_at, since, until):
                    yield record


def _of_shard(place: Place, names: Iterator[Name], on_damage: OnDamage) -> Iterator[Record]:
    """The records of a shard within an hour, each position once."""
    before: list[Name] = []
    for name in names:
        repeats = _repeats(place, name, before)
        yield from _distinct(records(name.path(), place.read(name.path()), on_damage), repeats)
        # The names that follow begin at the same number or at a higher one.
        before = [each for each in (*before, name) if _number(each.last) >= _number(name.first)]


def _inflated(content: bytes) -> Iterator[bytes]:
    """The text of a gzip file in pieces. Raises EOFError and zlib.error behind what can be read."""
    rest = memoryview(content)
    while rest:
        member = zlib.decompressobj(wbits=_GZIP)
        while rest and not member.eof:
            yield member.decompress(rest[:_PIECE])
            rest = rest[len(rest[:_PIECE]) - len(member.unused_data) :]
        if not member.eof:
            raise EOFError("the end is missing")


def _split(pieces: Iterator[bytes]) -> Iterator[bytes]:
    left = b""
    for piece in pieces:
        *whole, left = (left + piece).split(b"\n")
        yield from whole
    if left:
        yield left


def arrived_within(arrived_at: int, since: datetime | None, until: datetime | None) -> bool:
    """Whether a record arrived in the time. One whose arrival is not known did: it must not be missed."""
    if not arrived_at or (since is None and until is None):
        return True
    arrived = _EPOCH + timedelta(milliseconds=arrived_at)
    return (since is None or since <= arrived) and (until is None or arrived < until)


def _listed(place: Place, stream: str, since: datetime | None, until: datetime | None) -> Iterator[Found]:
    if since is None or until is None or until - since > _DAYS_OF_HOURS * HOUR:
        yield from place.list(f"{prefix(stream, _EPOCH).partition('/')[0]}/")
        return
    for hour in hours(since, until):
        yield from place.list(prefix(stream, hour))


def _order(name: Name) -> tuple[str, tuple[int, str], tuple[int, str]]:
    return name.shard, _number(name.first), _number(name.last)


def _number(sequence: str) -> tuple[int, str]:
    """Sorts sequence numbers as numbers, and whatever else stands in their place behind them."""
    return (int(sequence), "") if sequence.isdecimal() and sequence.isascii() else (2**256, sequence)


def _repeats(place: Place, name: Name, before: Sequence[Name]) -> set[_Position]:
    """The positions of earlier objects that may also be in the object of the name."""
    first, last = _number(name.first), _number(name.last)
    overlapping = [each for each in before if _number(each.last) >= first and _number(each.first) <= last]
    return {
        _position(record)
        for each in overlapping
        for record in records(each.path(), place.read(each.path()), lambda _: None)
        if first <= _number(record.position.sequence) <= last
    }


def _distinct(found: Iterator[Record], left_out: set[_Position]) -> Iterator[Record]:
    """The records whose positions are not left out, each once."""
    if not left_out:
        yield from found
        return
    for record in found:
        if _position(record) not in left_out:
            left_out.add(_position(record))
            yield record


def _position(record: Record) -> _Position:
    return record.position.sequence, record.position.sub_sequence
