"""Where records are read from again: the archive of a stream, or any folder or prefix with files of records."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from consumer import bootstrap
from consumer.admin.files import records_in
from consumer.admin.retries import for_minutes
from consumer.archive import names
from consumer.archive.place import Found, Place
from consumer.archive.reading import Damaged, OnDamage, arrived_within, objects, records
from consumer.engine.errors import SettingsError
from consumer.engine.records import Record
from consumer.settings import AwsSettings


@dataclass(frozen=True, slots=True)
class Origin:
    """The description of a source, for another process, too.

    place   `s3://bucket/prefix` or `dir:PATH`
    stream  of the archive in the place; None: every file there, whatever wrote it
    file    the only file that is read
    """

    place: str
    stream: str | None = None
    file: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def opened(self, settings: AwsSettings) -> "Source":
        return Source(bootstrap.place_of(settings, self.place), self)


def origin_of(text: str, since: datetime | None = None, until: datetime | None = None) -> Origin:
    """The origin at an address in S3, in a folder, or in a file. Raises SettingsError if there is none."""
    if text.startswith(("s3://", "dir:")):
        return Origin(text, since=since, until=until)
    path = Path(text)
    if path.is_dir():
        return Origin(f"dir:{path}", since=since, until=until)
    if not path.is_file():
        raise SettingsError([f"{text}: no such file or folder; an address in S3 begins with s3://"])
    return Origin(f"dir:{path.parent}", file=path.name, since=since, until=until)


@dataclass(frozen=True, slots=True)
class Source:
    """The records of a place that arrived between `since` and, exclusively, `until`."""

    place: Place
    origin: Origin

    def files(self) -> Iterator[Found]:
        """The files, sorted by path. Raises Unavailable, and SettingsError if a time is given for files without one."""
        if self.origin.stream is None:
            yield from filter(self._is_chosen, self.place.list(self.origin.file or ""))
        else:
            since, until = self.origin.since, self.origin.until
            # With both ends, only the folders of the hours between them are listed.
            end = until or (since and datetime.now(UTC) + names.HOUR)
            chosen = objects(self.place, self.origin.stream, since, end)
            yield from (found for _, found in chosen)

    def records(self, path: str, on_damage: OnDamage) -> Iterator[Record]:
        """The records in a file, in their order. One that is in the file, or in another one, again is repeated.

        The content of the file is in memory. Raises Unavailable if it could not be read for minutes.
        """
        content = for_minutes("read", partial(self.place.read, path))
        if names.parse(path) is None:
            yield from _foreign(path, content, on_damage)
            return
        since, until = self.origin.since, self.origin.until
        found = records(path, content, on_damage)
        if since is None and until is None:
            yield from found
        else:
            yield from (record for record in found if arrived_within(record.arrived_at, since, until))

    def all_records(self, on_damage: OnDamage, on_read: Callable[[int], object]) -> Iterator[Record]:
        """The records of all files. Calls `on_read` with the size of each file.

        Where a text was delivered in place of a record's data, that is damage.
        """
        for found in self.files():
            for record in self.records(found.path, on_damage):
                if record.fault is None:
                    yield record
                else:
                    on_damage(Damaged(f"{found.path}: {record.position}: {record.fault}"))
            on_read(found.size)

    def _is_chosen(self, found: Found) -> bool:
        if self.origin.file is not None and found.path != self.origin.file:
            return False
        if self.origin.file is None and any(part.startswith(("_", ".")) for part in found.path.split("/")):
            return False  # an index, a marker: Athena and Spark leave them out as well
        if self.origin.since is None and self.origin.until is None:
            return True
        name = names.parse(found.path)
        if name is None:
            raise SettingsError([f"{found.path}: the name has no time: --since and --until need an archive"])
        return name.is_within(self.origin.since, self.origin.until)


def _foreign(path: str, content: bytes, on_damage: OnDamage) -> Iterator[Record]:
    try:
        yield from records_in(path, content)
    except SettingsError as damaged:
        on_damage(Damaged(str(damaged)))
