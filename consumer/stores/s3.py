"""The quarantine in S3: one object per record. The key holds what a listing shows (engine/entry_names.py)."""

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError

from consumer.engine.entry_names import may_be_entry, named, stem, summary_of
from consumer.engine.quarantine import (
    Copy,
    Foreign,
    Listed,
    NotAnEntry,
    OnForeign,
    Quarantined,
    by_position,
    groups,
    positions,
    read,
    refuse,
    with_copies,
)
from consumer.engine.records import Position
from consumer.stores.aws import unavailable
from consumer.stores.parallel import Window, all_of, put_each

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

TOGETHER, TOGETHER_BYTES = 32, 8 * 1024 * 1024
"""How many objects are read at once, and how many bytes in total. A larger object is read alone."""

GONE = frozenset({"NoSuchKey"})
CHANGED = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
UNREADABLE = frozenset({"AccessDenied", "InvalidObjectState"})
"""Error codes that may concern a single object, like those of KMS. They do not stop the listing."""


def prefix_of(path: str, default: str = "quarantine") -> str:
    """The prefix of all keys for an address s3://bucket/path. `default` replaces an empty path."""
    return f"{path.strip('/') or default}/".removeprefix("/")


class S3Quarantine:
    """One object per entry in `bucket`, below `prefix`; requests run on `pool`."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str, pool: Executor) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix_of(prefix)
        self._pool = pool

    def put(self, entries: Iterable[Quarantined]) -> None:
        put_each(self._pool, self._put, list(entries))

    def listing(self, on_foreign: OnForeign = refuse) -> Iterator[Listed]:
        found = by_position(self._copies("", on_foreign))
        for some in groups(found, self._weight, TOGETHER, TOGETHER_BYTES):
            # Most keys say all. Only where one does not, there is work for the pool.
            described = map if all(map(_is_described, some)) else self._pool.map
            yield from _known(described(self._described, some), on_foreign)

    def find(self, position: Position) -> Listed | None:
        # List first: without more permissions, GetObject answers the same for absent and for forbidden objects.
        copies = list(by_position(self._copies(f"{stem(position)}.", lambda _: None)))
        return next(_known(map(self._described, copies), refuse), None)

    def read(self, listed: Iterable[Listed], on_foreign: OnForeign = refuse) -> Iterator[tuple[Listed, Quarantined]]:
        window: Window[Listed] = Window(lambda each: each.newest.size, TOGETHER, TOGETHER_BYTES)
        yield from _known(window.results(self._pool, self._inspect, listed), on_foreign)

    def entries(self, on_foreign: OnForeign = refuse) -> Iterator[Quarantined]:
        return (entry for _, entry in self.read(self.listing(on_foreign), on_foreign))

    def drop(self, listed: Sequence[Listed]) -> Sequence[bool]:
        """Deletes each object on the condition of its ETag, so that S3 keeps an object that was replaced meanwhile."""
        return all_of(self._pool, self._drop, listed)

    def size(self) -> int:
        """Counts by listing the bucket, which needs no permission to read objects."""
        return positions(copy.path for copy in self._copies("", lambda _: None))

    def _copies(self, start: str, on_foreign: OnForeign) -> Iterator[Copy]:
        """The objects that may be entries and whose path begins with `start`. The others go to `on_foreign`."""
        request = self._client.get_paginator("list_objects_v2")
        pages = request.paginate(Bucket=self._bucket, Prefix=self._prefix + start)
        with self._unavailable():
            for found in (each for page in pages for each in page.get("Contents", [])):
                path = found["Key"].removeprefix(self._prefix)
                if found["Size"] > 0 and may_be_entry(path):
                    modified = int(found["LastModified"].timestamp() * 1_000)
                    yield Copy(path, found["ETag"], modified, found["Size"])
                else:
                    on_foreign(Foreign(self._place(path), "not an entry of the quarantine"))

    def _weight(self, copies: Sequence[Copy]) -> int:
        """The bytes that are read to list an entry."""
        return 0 if _is_described(copies) else copies[-1].size

    def _described(self, copies: Sequence[Copy]) -> Listed | Foreign | None:
        """From the key, or from the object if the key does not say all. None if it was removed after the listing."""
        summary = summary_of(copies[-1].path)
        if summary:
            return Listed(summary, copies)
        found = self._entry(copies[-1])
        return Listed(found.summary, copies) if isinstance(found, Quarantined) else found

    def _inspect(self, listed: Listed) -> tuple[Listed, Quarantined] | Foreign | None:
        """The entry, or what is there instead. None if it was removed after the listing."""
        *others, last = listed.copies
        newest = self._entry(last)
        if not isinstance(newest, Quarantined):
            return newest
        older = ((copy, self._entry(copy)) for copy in others)
        return with_copies(
            [*((copy, entry) for copy, entry in older if isinstance(entry, Quarantined)), (last, newest)]
        )

    def _entry(self, copy: Copy) -> Quarantined | Foreign | None:
        """The entry, or what is there instead. None if it was removed after the listing."""
        foreign = partial(Foreign, self._place(copy.path), lost=True)
        try:
            with self._unavailable():
                try:
                    response = self._client.get_object(Bucket=self._bucket, Key=self._prefix + copy.path)
                    return read(copy.path, response["Body"].read())
                except ClientError as error:
                    if _code(error) in GONE:
                        return None
                    if not _of_one_object(error):
                        raise
                    return foreign(_code(error))
        except NotAnEntry as reason:
            return foreign(str(reason))

    def _put(self, entry: Quarantined) -> None:
        with self._unavailable():
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + named(entry.summary),
                Body=json.dumps(entry.to_json()).encode(),
                ContentType="application/json",
            )

    def _drop(self, listed: Listed) -> bool:
        # The newest goes last: until then it is the one that is listed.
        return all(self._delete(copy) for copy in listed.copies)

    def _delete(self, copy: Copy) -> bool:
        with self._unavailable():
            try:
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + copy.path, IfMatch=copy.version)
            except ClientError as error:
                if _code(error) in GONE | CHANGED:
                    return _code(error) in GONE
                raise
        return True

    def _place(self, path: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{path}"

    def _unavailable(self) -> AbstractContextManager[None]:
        return unavailable(f"quarantine bucket {self._bucket}")


def _is_described(copies: Sequence[Copy]) -> bool:
    return summary_of(copies[-1].path) is not None


def _known(found: Iterable[T | Foreign | None], on_foreign: OnForeign) -> Iterator[T]:
    """What was found. Everything else is passed to `on_foreign`, unless it is gone."""
    for each in found:
        if isinstance(each, Foreign):
            on_foreign(each)
        elif each is not None:
            yield each


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown error"))


def _of_one_object(error: ClientError) -> bool:
    return _code(error) in UNREADABLE or _code(error).startswith("KMS.")
