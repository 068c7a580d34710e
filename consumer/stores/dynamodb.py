"""States in a DynamoDB table, one item per state, written by conditional PartiQL statements, 25 per request.

Statements are batched because a request takes CPU whatever its size.
The responses to the statements were verified on DynamoDB Local and are described in docs/decisions/.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from consumer.engine.errors import Malformed, Unavailable
from consumer.engine.projection import Codec, Key, Plain
from consumer.engine.repository import Page, PendingWrite, Saved, Stored, Unreadable, Versioned
from consumer.stores.attributes import deserialize, serialize
from consumer.stores.aws import unavailable
from consumer.stores.raw_json import RawJson
from consumer.stores.versions import version_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        BatchStatementErrorTypeDef,
        BatchStatementRequestTypeDef,
        BatchStatementResponseTypeDef,
    )

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

STATEMENTS = 25
"""Maximum number of statements in a BatchExecuteStatement."""
GETS = 100
"""Maximum number of keys in a BatchGetItem."""
FORMS = 1_000
"""How many texts of statements are kept. They differ in their attributes only, so there are few."""
VERSION = "version"
MALFORMED = (Malformed, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""Exceptions of a codec for attributes that it did not write. Only the message of Malformed is free of stored data."""


@dataclass(frozen=True, slots=True)
class _Request(Generic[S]):
    """A write of up to STATEMENTS keys. `ours`: what each key holds afterwards, in the order of the statements."""

    ours: Mapping[Key, Versioned[S]]
    statements: "Sequence[BatchStatementRequestTypeDef]"


class DynamoRepository(Generic[S]):
    """Implements engine.repository.Repository. Requests run on `pool`; no key is in two of them at the same time."""

    def __init__(self, client: "DynamoDBClient | RawJson", table: str, codec: Codec[S], pool: Executor) -> None:
        self._client = client
        self._table = table
        self._codec = codec
        self._pool = pool

    def load(self, keys: Iterable[Key]) -> dict[Key, Stored[S]]:
        found: dict[Key, Stored[S]] = {}
        for part in self._each(self._get, list(_chunks(keys, GETS))):
            found |= part
        return found

    def save(self, writes: Mapping[Key, PendingWrite[S]]) -> Saved[S]:
        stored: dict[Key, Versioned[S]] = {}
        conflicts: dict[Key, Stored[S] | None] = {}
        unknown: dict[Key, Unavailable] = {}
        # Threads only wait for responses. If they computed as well, they would take more CPU for it.
        requests = [self._request(chunk) for chunk in _chunks(writes.items(), STATEMENTS)]
        for request, responses in zip(requests, self._each(self._write, requests), strict=True):
            part = self._classified(request.ours, responses)
            stored |= part.stored
            conflicts |= part.conflicts
            unknown |= part.unknown
        return Saved(stored, conflicts, unknown)

    def partition(self, partition: str) -> list[S | Unreadable]:
        found = self.page(partition).stored.values()
        return [each.state if isinstance(each, Versioned) else each for each in found]

    def page(
        self, partition: str, after: str | None = None, most: int | None = None, *, consistent: bool = True
    ) -> Page[S]:
        # One item more than requested shows whether there are more.
        more: dict[str, Any] = {} if most is None else {"Limit": most + 1}
        if after is not None:
            more["ExclusiveStartKey"] = self._key_attributes((partition, after))
        items = list(islice(self._query((partition,), more, consistent=consistent), more.get("Limit")))
        found = {self._key(item): self._stored(item) for item in items[:most]}
        return Page(found, next(reversed(found))[1] if len(found) < len(items) else None)

    def find(self, key: Key, *, consistent: bool = True) -> Stored[S] | None:
        return next((self._stored(item) for item in self._query(key, {}, consistent=consistent)), None)

    def scan(self) -> Iterator[dict[Key, Stored[S]]]:
        request: dict[str, Any] = {"TableName": self._table, "ConsistentRead": True}
        while True:
            with unavailable(f"scan of {self._table}"):
                page = self._client.scan(**request)
            yield {self._key(item): self._stored(item) for item in page["Items"]}
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _query(self, key: Sequence[str], more: Mapping[str, Any], *, consistent: bool) -> Iterator[Mapping[str, Any]]:
        """The items whose key begins with `key`. A further request is made when its first item is needed."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": consistent,
            "KeyConditionExpression": " AND ".join(f"#key{place} = :key{place}" for place in range(len(key))),
            "ExpressionAttributeNames": {f"#key{place}": self._codec.key_names[place] for place in range(len(key))},
            "ExpressionAttributeValues": {f":key{place}": {"S": value} for place, value in enumerate(key)},
            **more,
        }
        while True:
            with unavailable(f"query of {self._table}"):
                page = self._client.query(**request)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
            if "Limit" in request:
                request["Limit"] -= len(page["Items"])

    def forget(self, key: Key, found: Stored[S]) -> bool:
        version: Any = {"S": found.version} if isinstance(found, Versioned) else found.version
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(#version)"}
        if version is not None:
            condition["ConditionExpression"] = "#version = :version"
            condition["ExpressionAttributeValues"] = {":version": version}
        with unavailable(f"deletion in {self._table}"):
            try:
                self._client.delete_item(
                    TableName=self._table,
                    Key=self._key_attributes(key),
                    ExpressionAttributeNames={"#version": VERSION},
                    **condition,
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                # boto3 retries a request whose response was lost. The first attempt may already have deleted the item.
                return not self.load([key])
        return True

    def _each(self, send: Callable[[T], R], requests: Sequence[T]) -> Iterator[R]:
        # A single request does not need another thread.
        return map(send, requests) if len(requests) < 2 else self._pool.map(send, requests)

    def _get(self, keys: Sequence[Key]) -> dict[Key, Stored[S]]:
        pending: list[Any] = [self._key_attributes(key) for key in keys]
        found: dict[Key, Stored[S]] = {}
        while pending:
            with unavailable(f"read of {self._table}"):
                response = self._client.batch_get_item(
                    RequestItems={self._table: {"Keys": pending, "ConsistentRead": True}}
                )
            items = response["Responses"].get(self._table, [])
            found |= {self._key(item): self._stored(item) for item in items}
            left = response["UnprocessedKeys"]
            unread = list(left[self._table]["Keys"]) if left else []
            # Continue while any key is read. A response without progress is left to the retry policy of the caller.
            if len(unread) == len(pending):
                raise Unavailable(f"read of {self._table}: throttled")
            pending = unread
        return found

    def _request(self, writes: Sequence[tuple[Key, PendingWrite[S]]]) -> _Request[S]:
        wanted = [self._codec.dump(change.state) for _, change in writes]
        versions = [version_of(attributes) for attributes in wanted]
        return _Request(
            {key: Versioned(change.state, version) for (key, change), version in zip(writes, versions, strict=True)},
            [
                self._statement(change.expected, attributes, version)
                for (_, change), attributes, version in zip(writes, wanted, versions, strict=True)
            ],
        )

    def _write(self, request: _Request[S]) -> "Sequence[BatchStatementResponseTypeDef] | Unavailable":
        try:
            with unavailable(f"write to {self._table}"):
                return self._client.batch_execute_statement(Statements=request.statements)["Responses"]
        except Unavailable as cause:
            return cause

    def _classified(
        self, ours: Mapping[Key, Versioned[S]], responses: "Sequence[BatchStatementResponseTypeDef] | Unavailable"
    ) -> Saved[S]:
        """Sorts the keys by the response to their statement. Each key ends up in exactly one of the three mappings."""
        if isinstance(responses, Unavailable):
            # After a timeout each statement may or may not have been executed.
            return Saved(unknown=dict.fromkeys(ours, responses))
        stored: dict[Key, Versioned[S]] = {}
        conflicts: dict[Key, Stored[S] | None] = {}
        unknown: dict[Key, Unavailable] = {}
        existing: list[Key] = []
        for key, response in zip(ours, responses, strict=True):
            error = response.get("Error")
            if error is None:
                stored[key] = ours[key]
            elif error.get("Code") == "DuplicateItem":
                existing.append(key)
            elif error.get("Code") == "ConditionalCheckFailed":
                conflicts[key] = self._current(error)
            else:
                unknown[key] = Unavailable(f"write to {self._table}: {error.get('Code')}")
        try:
            # The error of an INSERT does not contain the item, unlike that of an UPDATE.
            current = self._get(existing)
        except Unavailable as cause:
            unknown |= dict.fromkeys(existing, cause)
        else:
            conflicts |= {key: current.get(key) for key in existing}
        # A retry whose first response was lost conflicts with its own write. The version is a fingerprint of the state,
        # so an equal version proves that the state is stored, regardless of the writer.
        same = {key for key, found in conflicts.items() if _version(found) == ours[key].version}
        stored |= {key: ours[key] for key in same}
        return Saved(stored, {key: conflicts[key] for key in conflicts.keys() - same}, unknown)

    def _statement(
        self, expected: Versioned[S] | None, attributes: Mapping[str, Plain], version: str
    ) -> "BatchStatementRequestTypeDef":
        values = {**attributes, VERSION: version}
        if expected is None:
            statement, parameters = _insert(self._table, tuple(values)), list(values.values())
        else:
            statement, parameters = self._update(expected, values)
        return {
            "Statement": statement,
            "Parameters": [serialize(parameter) for parameter in parameters],
            # A refused UPDATE then returns the current item and saves a read.
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def _update(self, expected: Versioned[S], values: Mapping[str, Plain]) -> tuple[str, list[Plain]]:
        """Only what differs from the expected state is written. The version in the condition vouches for the rest."""
        names = self._codec.key_names
        before = self._codec.dump(expected.state)
        changed = tuple(name for name, value in values.items() if before.get(name) != value)
        # Only attributes that the expected state had are removed. Attributes that this version does not know stay.
        gone = tuple(sorted(before.keys() - values.keys()))
        parameters = [*(values[name] for name in (*changed, *names)), expected.version]
        return _update(self._table, names, changed, gone), parameters

    def _current(self, error: "BatchStatementErrorTypeDef") -> Stored[S] | None:
        item = error.get("Item")
        return self._stored(item) if item else None

    def _stored(self, item: Mapping[str, Any]) -> Stored[S]:
        version = item.get(VERSION, {}).get("S")
        if not version:
            return self._unreadable(item, f"{VERSION}: a string is needed")
        try:
            attributes = {name: deserialize(value) for name, value in item.items() if name != VERSION}
            return Versioned(self._codec.load(attributes), version)
        except MALFORMED as wrong:
            return self._unreadable(item, str(wrong) if isinstance(wrong, Malformed) else type(wrong).__name__)

    def _unreadable(self, item: Mapping[str, Any], wrong: str) -> Unreadable:
        key = self._key(item)
        return Unreadable(key, f"row {hashed(key)} of the table {self._table}: {wrong}", item.get(VERSION))

    def _key(self, item: Mapping[str, Any]) -> Key:
        partition, sort = self._codec.key_names
        return (item[partition]["S"], item[sort]["S"])

    def _key_attributes(self, key: Key) -> dict[str, Any]:
        return {name: {"S": value} for name, value in zip(self._codec.key_names, key, strict=True)}


def _version(found: Stored[S] | None) -> str | None:
    return found.version if isinstance(found, Versioned) else None


def hashed(key: Key) -> str:
    """16 hex digits that identify a key in logs and in the quarantine, which must not contain the key itself."""
    return hashlib.blake2b(json.dumps(key).encode(), digest_size=8).hexdigest()


@lru_cache(FORMS)
def _insert(table: str, names: Sequence[str]) -> str:
    fields = ", ".join(f"'{name}': ?" for name in names)
    return f'INSERT INTO "{table}" VALUE {{{fields}}}'


@lru_cache(FORMS)
def _update(table: str, key_names: Sequence[str], changed: Sequence[str], gone: Sequence[str]) -> str:
    clauses = [f'SET "{name}" = ?' for name in changed] + [f'REMOVE "{name}"' for name in gone]
    where = " AND ".join(f'"{name}" = ?' for name in (*key_names, VERSION))
    return f'UPDATE "{table}" {" ".join(clauses)} WHERE {where}'


def _chunks(values: Iterable[T], size: int) -> Iterable[list[T]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
