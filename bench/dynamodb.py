"""A small DynamoDB in memory, over HTTP: fast enough that a client's own CPU decides. It checks every condition.

    python -m bench.dynamodb PORT

Tables are created by CreateTable. Counts.NAME of a table: GET /counts/NAME. It runs as a process of its own, so that
its CPU is not the client's. Throughput and item sizes are unlimited, and pages too unless the request limits them.
"""

import asyncio
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from bench.partiql import (
    Insert,
    Item,
    Update,
    Value,
    assign,
    assignments,
    condition,
    drop,
    statement,
)

Request: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, ...]

REASON: Mapping[int, str] = {200: "OK", 400: "Bad Request"}


class Refused(Exception):
    """An error that DynamoDB would answer. `code`: the name of the exception."""

    def __init__(self, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": detail, **more}


@dataclass(slots=True)
class Table:
    """Items by key, and counts: requests by operation, statements, written, refused, read."""

    key_names: tuple[str, ...]
    items: dict[Key, Item] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def key(self, item: Mapping[str, Value]) -> Key:
        try:
            return tuple(item[name]["S"] for name in self.key_names)
        except KeyError as missing:
            raise Refused("ValidationException", f"missing the key {missing}") from None

    def put(self, item: Item) -> None:
        self.items[self.key(item)] = item
        self.counts["written"] += 1


class Store:
    """The operations, by the name in X-Amz-Target."""

    def __init__(self) -> None:
        self._tables: dict[str, Table] = {}

    def answer(self, operation: str, request: Request) -> Answer:
        """Raises Refused."""
        operations: Mapping[str, Callable[[Request], Answer]] = {
            "CreateTable": self._create,
            "DescribeTable": self._describe,
            "ListTables": lambda _: {"TableNames": sorted(self._tables)},
            "BatchExecuteStatement": self._batch_execute,
            "BatchGetItem": self._batch_get,
            "GetItem": self._get,
            "UpdateItem": self._update,
            "DeleteItem": self._delete,
            "Query": self._query,
            "Scan": self._scan,
        }
        if operation not in operations:
            raise Refused("UnknownOperationException", operation)
        return operations[operation](request)

    def counts(self, table: str) -> Answer:
        return dict(self._table(table).counts)

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            raise Refused("ResourceNotFoundException", f"no table {name}")
        return self._tables[name]

    def _counted(self, name: str, operation: str) -> Table:
        table = self._table(name)
        table.counts[operation] += 1
        return table

    def _create(self, request: Request) -> Answer:
        name = request["TableName"]
        if name in self._tables:
            raise Refused("ResourceInUseException", f"table {name} exists")
        self._tables[name] = Table(tuple(each["AttributeName"] for each in request["KeySchema"]))
        return self._describe(request)

    def _describe(self, request: Request) -> Answer:
        name = request["TableName"]
        keys = zip(self._table(name).key_names, ("HASH", "RANGE"), strict=False)
        schema = [{"AttributeName": attribute, "KeyType": kind} for attribute, kind in keys]
        about = {"TableName": name, "TableStatus": "ACTIVE", "KeySchema": schema}
        return {"Table": about, "TableDescription": about}

    def _batch_execute(self, request: Request) -> Answer:
        wanted: Sequence[Request] = request["Statements"]
        if not 1 <= len(wanted) <= 25:
            raise Refused("ValidationException", f"{len(wanted)} statements")
        parsed = [(statement(each["Statement"]), each) for each in wanted]
        self._refuse_repeated([self._key_of(*each) for each in parsed])
        self._counted(parsed[0][0].table, "BatchExecuteStatement").counts["statements"] += len(wanted)
        return {"Responses": [self._execute(*each) for each in parsed]}

    def _refuse_repeated(self, keys: Sequence[tuple[str, Key]]) -> None:
        if len(set(keys)) < len(keys):
            raise Refused("ValidationException", "two statements of one item")

    def _key_of(self, parsed: Insert | Update, request: Request) -> tuple[str, Key]:
        item, _ = _values(parsed, request["Parameters"])
        return parsed.table, self._table(parsed.table).key(item)

    def _execute(self, parsed: Insert | Update, request: Request) -> Answer:
        table = self._table(parsed.table)
        given, values = _values(parsed, request["Parameters"])
        current = table.items.get(table.key(given))
        if isinstance(parsed, Insert):
            if current is not None:
                return _failed(table, "DuplicateItem")
            table.put(given)
        elif current is None or any(current.get(name) != value for name, value in given.items()):
            old = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            return _failed(table, "ConditionalCheckFailed", current if old else None)
        else:
            table.put(_updated(parsed, current, values))
        return {"TableName": parsed.table}

    def _batch_get(self, request: Request) -> Answer:
        responses = {}
        for name, wanted in request["RequestItems"].items():
            table, keys = self._counted(name, "BatchGetItem"), wanted["Keys"]
            if not 1 <= len(keys) <= 100 or len({table.key(key) for key in keys}) < len(keys):
                raise Refused("ValidationException", "too many keys, or one twice")
            table.counts["read"] += len(keys)
            found = (table.items.get(table.key(key)) for key in keys)
            responses[name] = [item for item in found if item is not None]
        return {"Responses": responses, "UnprocessedKeys": {}}

    def _get(self, request: Request) -> Answer:
        table = self._counted(request["TableName"], "GetItem")
        table.counts["read"] += 1
        item = table.items.get(table.key(request["Key"]))
        return {"Item": item} if item else {}

    def _update(self, request: Request) -> Answer:
        table = self._counted(request["TableName"], "UpdateItem")
        names, values = request.get("ExpressionAttributeNames", {}), request["ExpressionAttributeValues"]
        current = table.items.get(table.key(request["Key"]), {})
        self._refuse_unless(table, request)
        changed = {names.get(name, name): values[value] for name, value in assignments(request["UpdateExpression"])}
        table.put({**current, **request["Key"], **changed})
        return {}

    def _delete(self, request: Request) -> Answer:
        table = self._counted(request["TableName"], "DeleteItem")
        self._refuse_unless(table, request)
        table.items.pop(table.key(request["Key"]), None)
        return {}

    def _query(self, request: Request) -> Answer:
        table = self._counted(request["TableName"], "Query")
        about = request.get("ExpressionAttributeNames", {}), request["ExpressionAttributeValues"]
        holds = condition(request["KeyConditionExpression"])
        after = table.key(request["ExclusiveStartKey"]) if "ExclusiveStartKey" in request else ()
        items = [item for key, item in sorted(table.items.items()) if key > after and holds(item, *about)]
        part = items[: request.get("Limit")]
        # As DynamoDB: a page that is full by its Limit names its last key, even if nothing follows.
        full = len(part) == request.get("Limit")
        more = {"LastEvaluatedKey": {name: part[-1][name] for name in table.key_names}} if full else {}
        return {"Items": part, "Count": len(part), "ScannedCount": len(part), **more}

    def _refuse_unless(self, table: Table, request: Request) -> None:
        """Raises Refused if the request has a condition that does not hold."""
        wanted = request.get("ConditionExpression")
        current = table.items.get(table.key(request["Key"]), {})
        about = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        if wanted and not condition(wanted)(current, *about):
            table.counts["refused"] += 1
            raise Refused("ConditionalCheckFailedException", "The conditional request failed")

    def _scan(self, request: Request) -> Answer:
        items = list(self._table(request["TableName"]).items.values())
        return {"Items": items, "Count": len(items), "ScannedCount": len(items)}


def _values(parsed: Insert | Update, parameters: Sequence[Value]) -> tuple[Item, Sequence[Value]]:
    """The item to insert, or what the item must equal; and the values to set."""
    if isinstance(parsed, Insert):
        return dict(zip(parsed.names, parameters, strict=True)), ()
    sets = len(parsed.sets)
    return dict(zip(parsed.where, parameters[sets:], strict=True)), parameters[:sets]


def _updated(parsed: Update, current: Item, values: Sequence[Value]) -> Item:
    # deep enough: a changed map must not change the item that an earlier answer may still refer to
    item: Item = json.loads(json.dumps(current)) if any(len(path) > 1 for path in parsed.sets) else dict(current)
    for path, value in zip(parsed.sets, values, strict=True):
        assign(item, path, value)
    for path in parsed.removes:
        drop(item, path)
    return item


def _failed(table: Table, code: str, item: Item | None = None) -> Answer:
    table.counts["refused"] += 1
    more = {"Item": item} if item else {}
    return {"Error": {"Code": code, "Message": "The conditional request failed", **more}}


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, kept alive."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            first, headers = _head(self._received[:end])
            size = end + 4 + int(headers.get("content-length", "0"))
            if len(self._received) < size:
                return
            body, self._received = self._received[end + 4 : size], self._received[size:]
            self._reply(*self._handled(first, headers, body))

    def _handled(self, first: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Answer]:
        try:
            if first.startswith("GET /counts/"):
                return 200, self._store.counts(first.split()[1].removeprefix("/counts/"))
            operation = headers.get("x-amz-target", "").rpartition(".")[2]
            return 200, self._store.answer(operation, json.loads(body or b"{}"))
        except Refused as refused:
            return 400, refused.body
        except (ValueError, LookupError, TypeError) as wrong:
            return 400, Refused("ValidationException", f"{type(wrong).__name__}: {wrong}").body

    def _reply(self, status: int, answer: Answer) -> None:
        body = json.dumps(answer, separators=(",", ":")).encode()
        head = (
            f"HTTP/1.1 {status} {REASON[status]}\r\nContent-Type: application/x-amz-json-1.0\r\n"
            f"x-amz-crc32: {zlib.crc32(body)}\r\nx-amzn-RequestId: 0\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        if self._transport:
            self._transport.write(head.encode() + body)


def _head(text: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = text.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def serve(port: int) -> None:
    store = Store()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(store), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
