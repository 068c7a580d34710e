"""The quarantine in S3: one object per record. The key is derived from the position of the record."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import ClientError

from consumer.engine.errors import Unavailable
from consumer.engine.quarantine import (
    Foreign,
    NotAnEntry,
    Quarantined,
    groups,
    may_be_entry,
    path_of,
    read,
    refuse,
)
from consumer.engine.records import Position
from consumer.stores.aws import unavailable
from consumer.stores.parallel import put_each

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TOGETHER, TOGETHER_BYTES = 32, 8 * 1024 * 1024
"""How many objects are read at once, and how many bytes in total. A larger object is read alone."""

GONE = frozenset({"NoSuchKey"})
CHANGED = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
UNREADABLE = frozenset({"AccessDenied", "InvalidObjectState"})
"""Error codes that may concern a single object, like those of KMS. They do not stop the listing."""


class _Object(NamedTuple):
    key: str
    size: int


def prefix_of(path: str) -> str:
    """The prefix of all keys for an address s3://bucket/path."""
    return f"{path.strip('/') or 'quarantine'}/"


class S3Quarantine:
    """`<prefix>/<stream>/<shard>/<sequence>[-<sub>].json` in `bucket`; requests run on `pool`."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str, pool: Executor) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix_of(prefix)
        self._pool = pool

    def put(self, entries: Iterable[Quarantined]) -> None:
        put_each(self._pool, self._put, list(entries))

    def entries(self, on_foreign: Callable[[Foreign], object] = refuse) -> Iterator[Quarantined]:
        with self._unavailable():
            for some in groups(self._objects(), lambda each: each.size, TOGETHER, TOGETHER_BYTES):
                for found in self._pool.map(self._inspect, some):
                    if isinstance(found, Foreign):
                        on_foreign(found)
                    elif found:
                        yield found

    def find(self, position: Position) -> Quarantined | None:
        found = self._find(position)
        return found and found[0]

    def drop(self, entry: Quarantined) -> bool:
        """Deletes the object on the condition of its ETag, so that S3 keeps an object that was replaced meanwhile."""
        found = self._find(entry.record.position)
        if found is None:
            return True
        kept, etag = found
        return kept == entry and self._delete(self._prefix + path_of(entry.record.position), etag)

    def size(self) -> int:
        """Counts by listing the bucket, which needs no permission to read objects."""
        return sum(self._may_be_entry(found) for found in self._objects())

    def _objects(self) -> Iterator[_Object]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        with self._unavailable():
            for page in pages:
                for found in page.get("Contents", []):
                    yield _Object(found["Key"], found["Size"])

    def _may_be_entry(self, found: _Object) -> bool:
        return found.size > 0 and may_be_entry(found.key.removeprefix(self._prefix))

    def _inspect(self, found: _Object) -> Quarantined | Foreign | None:
        """The entry, or what is there instead. None if it was removed after the listing."""
        foreign = partial(Foreign, self._place(found.key))
        if not self._may_be_entry(found):
            return foreign("not an entry of the quarantine")
        try:
            return self._get(found.key)[0]
        except NotAnEntry as reason:
            return foreign(str(reason), lost=True)
        except ClientError as error:
            if _code(error) in GONE:
                return None
            if not _of_one_object(error):
                raise
            return foreign(_code(error), lost=True)

    def _find(self, position: Position) -> tuple[Quarantined, str] | None:
        """The entry and its ETag."""
        key = self._prefix + path_of(position)
        with self._unavailable():
            # List first: without more permissions, GetObject answers the same for absent and for forbidden objects.
            listed = self._client.list_objects_v2(Bucket=self._bucket, Prefix=key, MaxKeys=1)
            if [found["Key"] for found in listed.get("Contents", [])] != [key]:
                return None
            try:
                return self._get(key)
            except NotAnEntry as reason:
                raise Unavailable(f"{self._place(key)}: {reason}") from None

    def _get(self, key: str) -> tuple[Quarantined, str]:
        """Raises NotAnEntry, and boto3's errors."""
        response = self._client.get_object(Bucket=self._bucket, Key=key)
        return read(key.removeprefix(self._prefix), response["Body"].read()), response["ETag"]

    def _put(self, entry: Quarantined) -> None:
        with self._unavailable():
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + path_of(entry.record.position),
                Body=json.dumps(entry.to_json()).encode(),
                ContentType="application/json",
            )

    def _delete(self, key: str, etag: str) -> bool:
        with self._unavailable():
            try:
                self._client.delete_object(Bucket=self._bucket, Key=key, IfMatch=etag)
            except ClientError as error:
                if _code(error) in GONE | CHANGED:
                    return _code(error) in GONE
                raise
        return True

    def _place(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def _unavailable(self) -> AbstractContextManager[None]:
        return unavailable(f"quarantine bucket {self._bucket}")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown error"))


def _of_one_object(error: ClientError) -> bool:
    return _code(error) in UNREADABLE or _code(error).startswith("KMS.")
