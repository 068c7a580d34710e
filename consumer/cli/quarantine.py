"""`consumer quarantine`: lists, shows, replays and drops quarantined records.

Exit codes: 0 success; 1 records are left, or a store cannot be read or does not answer; 2 usage or configuration error.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import typer

from consumer import bootstrap
from consumer.admin.replay import Replayed, replayer
from consumer.admin.replay import replay as replay_entries
from consumer.cli import quarantine_lines as lines
from consumer.cli.errors import report
from consumer.engine.errors import SettingsError, Unavailable
from consumer.engine.quarantine import Foreign, Quarantined, QuarantineStore
from consumer.engine.records import Position
from consumer.settings import CoreSettings, load

app = typer.Typer(help="Records that could not be applied: list, show, replay, drop.", no_args_is_help=True)

OptionalPosition = Annotated[str | None, typer.Argument(metavar="POSITION", help="All records if omitted.")]
PositionText = Annotated[str, typer.Argument(metavar="POSITION", help="As `list` prints it.")]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON object per line.")]


@dataclass(slots=True)
class Unreadable:
    """Reports files in the quarantine that are not entries. `lost`: how many of them may hold a record."""

    lost: int = 0

    def report(self, foreign: Foreign) -> None:
        self.lost += foreign.lost
        report(f"{lines.plain(str(foreign))}; left as it is")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List every quarantined record: position, arrival time, reason, detail. --json adds the data."""
    unreadable = Unreadable()
    for entry in _open(load(CoreSettings)).entries(unreadable.report):
        lines.write(lines.of_entry(entry), _document(entry), as_json=as_json)
    raise typer.Exit(bool(unreadable.lost))


@app.command()
def show(position: PositionText) -> None:
    """Show one record as JSON, its data in base64. The data may contain personal data."""
    print(json.dumps(_document(_find(_open(load(CoreSettings)), position)), indent=2))


@app.command()
def replay(position: OptionalPosition = None, as_json: Json = False) -> None:
    """Process quarantined records again. Records that are applied, duplicate or stale leave the quarantine.

    Prints one line per record: position, outcome, reason. Safe for records of any age, and while the service runs. Exit
    code 1: records are left in the quarantine.
    """
    settings = load(CoreSettings)
    if not settings.enable_dynamo_db:
        raise SettingsError(["ENABLE_DYNAMO_DB=false keeps limits in memory, so a replay would be lost: unset it"])
    kept, unreadable = _open(settings), Unreadable()
    entries = [_find(kept, position)] if position else kept.entries(unreadable.report)
    core = replayer(bootstrap.processor(settings))
    complete = _report(replay_entries(core, kept, entries), as_json=as_json)
    raise typer.Exit(not complete or bool(unreadable.lost))


def _report(replayed: Iterable[Replayed], *, as_json: bool) -> bool:
    """Prints each result at once, and the counts at the end, even after an error. False: records are left."""
    outcomes: Counter[str] = Counter()
    left = 0
    try:
        for each in replayed:
            outcomes[each.outcome] += 1
            left += each.left
            lines.write(lines.of_replayed(each), each.to_json(), as_json=as_json)
    finally:
        lines.write_counts(outcomes, left, as_json=as_json)
    return not left


@app.command()
def drop(position: PositionText) -> None:
    """Delete one record from the quarantine permanently."""
    kept = _open(load(CoreSettings))
    if not kept.drop(_find(kept, position)):
        raise Unavailable(f"{position}: not dropped: the entry was replaced in the meantime")


def _open(settings: CoreSettings) -> QuarantineStore:
    return bootstrap.quarantine(settings, bootstrap.pool(bootstrap.QUARANTINE_REQUESTS))


def _document(entry: Quarantined) -> dict[str, object]:
    return {"position": str(entry.record.position), **entry.to_json()}


def _find(kept: QuarantineStore, text: str) -> Quarantined:
    try:
        found = kept.find(Position.parse(text))
    except ValueError as wrong:
        raise SettingsError([f"{lines.plain(text)}: {wrong}, as `consumer quarantine list` prints it"]) from None
    if found is None:
        raise SettingsError([f"{lines.plain(text)}: not in the quarantine; `consumer quarantine list` shows what is"])
    return found
