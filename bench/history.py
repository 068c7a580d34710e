"""Measures how the history of a user is found among many events: `python -m bench.history --events 10000000`.

The archive is one month of a stream with one shard, with an object for each minute, in a directory. S3 would add the
time of its requests, whose numbers are shown: up to limit_readers.ARCHIVE_REQUESTS of them run at the same time.
Ten million events need 0.6 GB in TMPDIR and 5 minutes of a core.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from consumer.archive.finding import Finder
from consumer.archive.index import FOLDER
from consumer.archive.indexing import Indexer
from consumer.archive.place import Found
from consumer.archive.segment import PlaceArchive
from consumer.engine.records import Position, Record
from consumer.limit_readers import ARCHIVE_REQUESTS
from consumer.limits.claims import users
from consumer.limits.history import HistoryReader
from consumer.limits.projection import Limits
from consumer.stores.places import DirectoryPlace

START = 1_767_225_600_000
MINUTE = 60_000
MINUTES = 30 * 24 * 60
STREAM = "limits"
LIST = 1_000
"""Objects in an answer of S3 to a list."""


class Counted(DirectoryPlace):
    """Counts the requests that S3 would get."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._folder = root
        self.lists = self.reads = self.read_bytes = 0

    def write(self, path: str, content: bytes) -> None:
        """Without waiting for the disk."""
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def read(self, path: str) -> bytes:
        content = super().read(path)
        self.reads, self.read_bytes = self.reads + 1, self.read_bytes + len(content)
        return content

    def list(self, prefix: str = "") -> Iterator[Found]:
        self.lists += 1
        for number, found in enumerate(super().list(prefix), 1):
            self.lists += number % LIST == 0
            yield found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures how the history of a user is found in an archive.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    chosen = parser.parse_args()
    with TemporaryDirectory() as folder, ThreadPoolExecutor(ARCHIVE_REQUESTS) as pool:
        place = Counted(Path(folder))
        _show("write", place, lambda: _fill(place, chosen.events, chosen.users))
        _show("index", place, lambda: list(_indexer(place, pool).run(START + MINUTES * MINUTE)))
        _show("index again", place, lambda: list(_indexer(place, pool).run(START + MINUTES * MINUTE)))
        size = sum(found.size for found in DirectoryPlace(Path(folder)).list(FOLDER))
        sys.stdout.write(f"index: {size:,} bytes\n")
        reader = HistoryReader(Finder(place, STREAM, users, pool), Limits(), 262_144, lambda: START + MINUTES * MINUTE)
        for user in ("u-1", "u-2", "u-3", "u-nobody"):
            _show(f"history of {user}", place, partial(_steps, reader, user))
        for path in [found.path for found in DirectoryPlace(Path(folder)).list(FOLDER)]:
            (Path(folder) / path).unlink()
        _show("without an index", place, partial(_steps, reader, "u-1"))


def _steps(reader: HistoryReader, user: str) -> int:
    return len(reader.of_user(user).steps)


def _indexer(place: Counted, pool: ThreadPoolExecutor) -> Indexer:
    return Indexer(place, STREAM, users, pool)


def _show(what: str, place: Counted, run: Callable[[], object]) -> None:
    start, cpu = time.monotonic(), time.process_time()
    found = run()
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu
    said = len(found) if isinstance(found, list) else found
    requests = f"{place.lists:,} lists, {place.reads:,} reads of {place.read_bytes:,} bytes"
    sys.stdout.write(f"{what}: {seconds:,.1f} s, {cpu:,.1f} s of CPU, {requests}, {said}\n")
    sys.stdout.flush()
    place.lists = place.reads = place.read_bytes = 0


def _fill(place: Counted, events: int, users_of_stream: int) -> int:
    """Writes the archive. Returns the number of objects."""
    archive, chosen, objects = PlaceArchive(place, lambda: START), random.Random(1), 0
    each = max(1, events // MINUTES)
    for minute in range(min(MINUTES, events)):
        segment = archive.segment()
        segment.add(list(_records(minute, each, chosen, users_of_stream)))
        while segment.left:
            segment.write()
            objects += 1
    return objects


def _records(minute: int, each: int, chosen: random.Random, users_of_stream: int) -> Iterator[Record]:
    for number in range(each):
        at = START + minute * MINUTE + number * (MINUTE // each)
        sequence = minute * each + number + 1
        data = _event(f"u-{chosen.randrange(users_of_stream)}", sequence, at)
        yield Record(Position(STREAM, "shardId-000000000000", f"{sequence:056}"), data, at)


def _event(user: str, sequence: int, at: int) -> bytes:
    return (
        f'{{"aggregateId":"{user}","context":{{"correlationId":"c-{sequence}"}},"createdAt":{at},'
        f'"eventId":"e-{sequence}","payload":{{"amount":"{sequence % 500}","brandId":"000000000000000000000001",'
        f'"currencyCode":"SEK","previousProgress":"{sequence % 9_000}","userId":"{user}","userLimitId":"l-day"}},'
        f'"sequenceNumber":{sequence},"source":"limitUser","type":"USER_LIMIT_PROGRESS_CHANGED"}}'
    ).encode()


if __name__ == "__main__":
    main()
