"""`consumer quarantine`: look at what was set aside, and send it through the core again."""

import json
import sys
from typing import Annotated

import typer

from consumer import bootstrap
from consumer.engine.errors import SettingsError, Unavailable
from consumer.engine.patience import NoPatience
from consumer.engine.quarantine import Quarantine, Quarantined
from consumer.entrypoints import screen
from consumer.settings import CoreSettings, load

app = typer.Typer(help="Records that could not be applied: list, show, replay, drop.", no_args_is_help=True)

OptionalPosition = Annotated[str | None, typer.Argument(metavar="POSITION", help="All, when left out.")]
PositionText = Annotated[str, typer.Argument(metavar="POSITION", help="As `list` shows it.")]


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line, whole.")] = False) -> None:
    """Everything set aside: position, reason, detail."""
    kept = _open().entries()
    if as_json:
        sys.stdout.writelines(f"{json.dumps(entry.to_json())}\n" for entry in kept)
    else:
        screen.console().print(screen.quarantine_table(kept))


@app.command()
def show(position: PositionText) -> None:
    """One record as JSON, its bytes in base64. They may hold personal data."""
    print(json.dumps(_find(_open(), position).to_json(), indent=2))


@app.command()
def replay(position: OptionalPosition = None) -> None:
    """Put records through the core again, safe at any age; what can be applied now leaves the quarantine."""
    settings = load(CoreSettings)
    kept = _open()
    entries = [_find(kept, position)] if position else list(kept.entries())
    core = bootstrap.processor(settings)
    left = 0
    for entry in entries:
        result = core.process([entry.record], NoPatience())
        if result.unsettled:
            raise Unavailable("the store did not answer: the rest was not replayed")
        if result.quarantined:
            left += 1
        else:
            kept.drop(entry.record.position)
    print(f"{len(entries) - left} applied, {left} still rejected")
    raise typer.Exit(1 if left else 0)


@app.command()
def drop(position: PositionText) -> None:
    """Forget one record for good."""
    kept = _open()
    kept.drop(_find(kept, position).record.position)


def _open() -> Quarantine:
    return bootstrap.quarantine(load(CoreSettings), bootstrap.pool())


def _find(kept: Quarantine, position: str) -> Quarantined:
    for entry in kept.entries():
        if str(entry.record.position) == position:
            return entry
    raise SettingsError([f"{position}: not in the quarantine; `consumer quarantine list` shows what is"])
