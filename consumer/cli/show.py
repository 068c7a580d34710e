"""`consumer show`: shows stored states, whatever the projection."""

import json
from collections.abc import Sequence
from typing import Any

import typer

from consumer import bootstrap, projections
from consumer.cli import tables
from consumer.cli.errors import report
from consumer.cli.parameters import Json, PartitionKey, SortKey
from consumer.engine import optional_parts
from consumer.engine.repository import Unreadable, Versioned
from consumer.settings import AwsSettings, load


def show(key: PartitionKey, sort_key: SortKey = None, as_json: Json = False) -> None:
    """Show the states that are stored under a partition key, or one of them. Exit code 1: one cannot be read."""
    settings = load(AwsSettings)
    projection, rows = projections.load(settings.projection), _rows(settings, key, sort_key)
    now, states = bootstrap.now_millis(), [row for row in rows if not isinstance(row, Unreadable)]
    if as_json:
        print(json.dumps([optional_parts.document(projection, state, now) for state in states], default=str))
    elif states:
        tables.console().print(tables.states_table(projection, states, now))
    elif not rows:
        print(f"no {optional_parts.plural(projection)} are stored under this key")
    unreadable = [row for row in rows if isinstance(row, Unreadable)]
    report(*(f"the state under {json.dumps(row.key)} cannot be read: {row.detail}" for row in unreadable))
    raise typer.Exit(bool(unreadable))


def _rows(settings: AwsSettings, key: str, sort_key: str | None) -> Sequence[Any]:
    """States, and rows that are not valid states."""
    repository = bootstrap.repository(settings, bootstrap.pool())
    if sort_key is None:
        return repository.partition(key)
    found = repository.find((key, sort_key))
    return [] if found is None else [found.state if isinstance(found, Versioned) else found]
