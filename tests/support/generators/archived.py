"""Archives for tests: objects as the service writes them, from records."""

import gzip
from collections.abc import Iterable, Sequence

from consumer.archive import lines
from consumer.archive.names import Name, hour_of
from consumer.archive.place import Place
from consumer.engine.records import Position, Record
from tests.support.generators.events import START

STREAM = "limits"
SHARD = "shardId-000000000000"


def numbered(
    data: Iterable[bytes], first: int = 1, shard: str = SHARD, every_millis: int = 1_000, stream: str = STREAM
) -> list[Record]:
    """Records with ascending positions and times of arrival."""
    return [
        Record(Position(stream, shard, str(number)), each, START + every_millis * number)
        for number, each in enumerate(data, first)
    ]


def write(place: Place, records: Sequence[Record]) -> str:
    """Writes the records, which arrived on one shard within an hour, as one object. Returns its path."""
    first, last = records[0], records[-1]
    stream = first.position.stream
    name = Name(
        stream, hour_of(first.arrived_at), first.position.shard, first.position.sequence, last.position.sequence
    )
    text = b"".join(lines.encode(stream, record) + b"\n" for record in records)
    place.write(name.path(), gzip.compress(text, 1))
    return name.path()
