"""Reads an archive: its objects, their lines as JSON, and the data of its records."""

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

from consumer.archive.lines import decode
from consumer.archive.place import Place
from consumer.engine.records import Position


def objects(place: Place) -> dict[str, list[dict[str, Any]]]:
    """The lines of each object, by path."""
    return {found.path: list(_lines(place.read(found.path))) for found in place.list()}


def archived(place: Place) -> list[dict[str, Any]]:
    """All lines, in the order of the objects' paths."""
    return [line for lines in objects(place).values() for line in lines]


def numbers(place: Place) -> list[list[str]]:
    """The sequence numbers in each object."""
    return [[line["sequenceNumber"] for line in lines] for lines in objects(place).values()]


def data_of(line: dict[str, Any]) -> Any:
    """The JSON value of a line, or the bytes of what is none."""
    return line["event"] if "event" in line else base64.b64decode(line["data"], validate=True)


def data_by_position(place: Place) -> dict[Position, bytes]:
    """The bytes of every record, whatever its copies. They must not differ."""
    found: dict[Position, bytes] = {}
    for each in place.list():
        for line in gzip.decompress(place.read(each.path)).splitlines():
            record = decode(line)
            assert found.setdefault(record.position, record.data) == record.data
    return found


def _lines(content: bytes) -> Iterator[dict[str, Any]]:
    text = gzip.decompress(content)
    assert text.endswith(b"\n")
    yield from map(json.loads, text[:-1].split(b"\n"))
