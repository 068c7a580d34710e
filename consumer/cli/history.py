"""`consumer history`: what each archived event of a user did to his limits."""

import json
from typing import Annotated

import typer

from consumer import limit_readers
from consumer.cli import tables
from consumer.cli.errors import report
from consumer.cli.parameters import AnyLimitId, Json, UserId, checked_moment, millis
from consumer.limits import answers
from consumer.limits.history import History, last_states
from consumer.limits.view import view
from consumer.settings import HistorySettings, load


def history(
    user_id: UserId,
    limit_id: AnyLimitId = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only what had arrived by then, and the state then: 2026-01-31T00:00:00Z, or 36h for 36 hours ago.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show each archived event of a user, or of one limit: its outcome, what it changed, and the state after it.

    The last lines are the limits after the last of these events. Exit code 1: a part of the archive cannot be read.
    """
    moment = checked_moment(as_of)
    reader = limit_readers.histories(load(HistorySettings))
    found = reader.of_user(user_id, None if moment is None else millis(moment))
    if as_json:
        print(json.dumps(_document(user_id, limit_id, found)))
    else:
        _print(limit_id, found)
    report(*(f"the archive cannot be read completely: {line}" for line in found.unreadable))
    raise typer.Exit(bool(found.unreadable))


def _print(limit_id: str | None, found: History) -> None:
    from consumer.cli.history_tables import steps_table

    steps = found.of_limit(limit_id)
    if not steps:
        print(
            "the archive has no event of this limit" if limit_id else "the archive has no event of this user's limits"
        )
        return
    console = tables.console()
    console.print(steps_table(steps))
    console.print(tables.limits_table(view(state, found.as_of) for state in last_states(steps).values()))


def _document(user_id: str, limit_id: str | None, found: History) -> dict[str, object]:
    steps = found.of_limit(limit_id)
    return {
        "userId": user_id,
        "asOf": found.as_of,
        "steps": [answers.step(step).to_json() for step in steps],
        "states": [view(state, found.as_of).to_json() for state in last_states(steps).values()],
        "unreadable": list(found.unreadable),
    }
