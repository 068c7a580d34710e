"""`consumer apply`: folds a file of events in memory, without AWS."""

import json
from typing import Annotated

import typer

from consumer import bootstrap
from consumer.admin.files import read_records
from consumer.cli import tables
from consumer.cli.parameters import FILE_HELP, Json
from consumer.settings import RecordSettings, load


def apply(file: Annotated[str, typer.Argument(metavar="FILE", help=FILE_HELP)], as_json: Json = False) -> None:
    """Apply a file of events without AWS: the same processing as in the service, with the states in memory."""
    from consumer.admin.apply import apply

    applied, now = apply(load(RecordSettings), read_records(file)), bootstrap.now_millis()
    if as_json:
        print(json.dumps(applied.to_json(now), default=str))
        return
    console = tables.console()
    console.print(tables.states_table(applied.projection, applied.states, now))
    console.print(tables.outcomes_table(applied.to_json(now)["outcomes"], applied.warnings))
    if applied.quarantined:
        console.print(tables.quarantine_table(applied.quarantined))
