"""Reads an archive: its objects by time, and their records.

A record that was delivered again is in two objects. Who reads both counts it once, by its position, or merges it.
"""

import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
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
