"""MiniStack whose tables stream what PartiQL statements write, as DynamoDB does. Run it with MiniStack's Python.

MiniStack writes the records of a table's stream for every other kind of write.
"""

import copy
import importlib
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

STATEMENTS = ("_partiql_insert", "_partiql_update")

in_statement: ContextVar[bool] = ContextVar("in_statement", default=False)


def stream_partiql() -> None:
    dynamodb: Any = importlib.import_module("ministack.services.dynamodb")
    for name in STATEMENTS:
        setattr(dynamodb, name, _marked(getattr(dynamodb, name)))
    write = dynamodb._set_item

    def set_item(table: dict[str, Any], partition: str, sort: str, item: dict[str, Any]) -> None:
        old = copy.deepcopy(table["items"].get(partition, {}).get(sort))
        write(table, partition, sort, item)
        if in_statement.get():
            dynamodb._emit_stream_event(table["TableName"], "MODIFY" if old else "INSERT", old, copy.deepcopy(item))

    dynamodb._set_item = set_item


def _marked(execute: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        token = in_statement.set(True)
        try:
            return execute(*arguments)
        finally:
            in_statement.reset(token)

    return run


if __name__ == "__main__":
    stream_partiql()
    importlib.import_module("ministack.app").main()
