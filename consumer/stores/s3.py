"""The quarantine in S3: one object a record, under a key made of its position."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from consumer.engine.errors import Unavailable
from consumer.engine.quarantine import Quarantined, path_of
from consumer.engine.records import Position
from consumer.stores.aws import unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def prefix_of(path: str) -> str:
    """What every key begins with, for the path of an address s3://bucket/path."""
    return f"{path.strip('/') or 'quarantine'}/"


class S3Quarantine:
    """`<prefix>/<stream>/<shard>/<sequence>[-<sub>].json` in `bucket`; requests run on `pool`."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str, pool: Executor) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix_of(prefix)
        self._pool = pool

    def put(self, entries: Iterable[Quarantined]) -> None:
        left = list(entries)
        while left:
            failed = [tried for tried in self._pool.map(self._try, left) if tried]
            if len(failed) == len(left):
                raise failed[0][1]
            # some are kept: with all of them begun anew, they would hardly ever all succeed at once
            left = [entry for entry, _ in failed]

    def entries(self) -> Iterator[Quarantined]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        with unavailable(f"quarantine bucket {self._bucket}"):
            for page in pages:
                for found in page.get("Contents", []):
                    body = self._client.get_object(Bucket=self._bucket, Key=found["Key"])["Body"].read()
                    yield Quarantined.from_json(json.loads(body))

    def size(self) -> int:
        """How many records are kept. Lists them only: needs no right to read one."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        with unavailable(f"quarantine bucket {self._bucket}"):
            return sum(page["KeyCount"] for page in pages)

    def drop(self, position: Position) -> None:
        with unavailable(f"quarantine bucket {self._bucket}"):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(position))

    def _try(self, entry: Quarantined) -> tuple[Quarantined, Unavailable] | None:
        """The entry and what was in its way, None when it is kept."""
        try:
            self._put(entry)
        except Unavailable as cause:
            return entry, cause
        return None

    def _put(self, entry: Quarantined) -> None:
        with unavailable(f"quarantine bucket {self._bucket}"):
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._key(entry.record.position),
                Body=json.dumps(entry.to_json()).encode(),
                ContentType="application/json",
            )

    def _key(self, position: Position) -> str:
        return self._prefix + path_of(position)
