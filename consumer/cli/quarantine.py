"""`consumer quarantine`: lists, shows, replays, drops and exports quarantined records.

Exit codes: 0 success; 1 records are left, or a store cannot be read or does not answer; 2 usage or configuration error.
"""

import json
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from consumer import bootstrap
from consumer.admin import invoke
from consumer.admin.export import lines as lines_of
from consumer.admin.export import new_file
from consumer.admin.inspection import inspect
from consumer.admin.replay import Pace, Replay, Replayed, replayer
from consumer.admin.selection import Selection
from consumer.cli import quarantine_lines as lines
from consumer.cli import tables
from consumer.cli.errors import report
from consumer.cli.quarantine_options import (
    DryRun,
    Limit,
    OptionalPosition,
    Reasons,
    Shards,
    Since,
    Types,
    Until,
    Yes,
    selection,
)
from consumer.engine.errors import SettingsError
from consumer.engine.quarantine import Foreign, Listed, Quarantined, QuarantineStore, groups, refuse
from consumer.engine.records import Position
from consumer.settings import CoreSettings, load

RATE = 500
DROPPED_TOGETHER = 320
"""20 for each thread."""

app = typer.Typer(help="Records that could not be applied: list, show, replay, drop, export.", no_args_is_help=True)

PositionText = Annotated[str, typer.Argument(metavar="POSITION", help="As `list` prints it.")]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON object per line.")]


@dataclass(slots=True)
class Chosen:
    """One record, or those that the options select. `lost`: how many files may hold other records."""

    kept: QuarantineStore
    one: Listed | None
    selection: Selection
    lost: int = 0
    _reported: set[str] = field(default_factory=set)

    @property
    def is_all(self) -> bool:
        return not self.one and self.selection == Selection()

    def listed(self) -> Iterable[Listed]:
        return [self.one] if self.one else self.selection.of(self.kept.listing(self.report))

    def read(self) -> Iterator[Quarantined]:
        return (entry for _, entry in self.kept.read(self.listed(), self.report))

    def to_drop(self) -> list[Listed]:
        """The listed records. One that is given or has copies is read: a copy may hold another record, which stays."""
        listed = list(self.listed())
        to_read = {each.summary.position: each for each in listed if self.one or len(each.copies) > 1}
        known = {each.summary.position: each for each, _ in self.kept.read(to_read.values(), self.report)}
        return [known.get(at, each) for each in listed if (at := each.summary.position) in known or at not in to_read]

    def report(self, foreign: Foreign) -> None:
        """Reports, once, a file in the quarantine that is not an entry. Raises Unavailable for the only record."""
        if self.one:
            refuse(foreign)
        if foreign.place not in self._reported:
            self._reported.add(foreign.place)
            self.lost += foreign.lost
            report(f"{lines.plain(str(foreign))}; left as it is")


@app.command("list")
def list_(  # noqa: PLR0913 - the options of the command
    *,
    reason: Reasons = None,
    kind: Types = None,
    shard: Shards = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """List quarantined records: position, arrival time, reason, type, detail. The data is not read."""
    chosen = _chosen(load(CoreSettings), None, selection(reason, kind, shard, (since, until), limit))
    for listed in chosen.listed():
        lines.write(lines.of_summary(listed.summary), lines.document(listed.summary), as_json=as_json)
    raise typer.Exit(bool(chosen.lost))


@app.command()
def show(position: PositionText, as_json: Json = False) -> None:
    """Show one record: its event, its bytes, and what is wrong with it. The data may contain personal data."""
    settings = load(CoreSettings)
    entry = next(_chosen(settings, position, Selection()).read(), None)
    if entry is None:
        raise _missing(position)
    inspected = inspect(settings, entry)
    if as_json:
        records = [each.to_json() for each in inspected]
        document = {"position": str(entry.record.position), **entry.to_json(), "records": records}
        print(json.dumps(document, indent=2, default=str))
    else:
        lines.write_shown(entry, inspected)


@app.command()
def replay(  # noqa: PLR0913 - the options of the command
    position: OptionalPosition = None,
    *,
    reason: Reasons = None,
    kind: Types = None,
    shard: Shards = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    rate: Annotated[
        int, typer.Option(metavar="N", min=0, help="At most N records per second; 0 for as many as possible.")
    ] = RATE,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Process quarantined records again. Records that are applied, duplicate or stale leave the quarantine.

    Prints one line per record: position, outcome, reason. Safe for records of any age, and while the service runs. Exit
    code 1: records are left in the quarantine.
    """
    settings = load(CoreSettings)
    if not settings.enable_dynamo_db:
        raise SettingsError(["ENABLE_DYNAMO_DB=false keeps limits in memory, so a replay would be lost: unset it"])
    chosen = _chosen(settings, position, selection(reason, kind, shard, (since, until), limit))
    total = _total(chosen, ask=not (yes or dry_run))
    core = replayer(bootstrap.processor(settings), dry_run=dry_run)
    replaying = Replay(core, chosen.kept, dry_run, Pace(rate))
    complete = _report(replaying.of(chosen.listed(), chosen.report), total, as_json=as_json)
    raise typer.Exit(not complete or bool(chosen.lost))


def _total(chosen: Chosen, *, ask: bool) -> int | None:
    """The number of records for the progress bar on a terminal, where a replay of several is confirmed."""
    if not tables.console(error=True).is_terminal:
        return None
    total = sum(1 for _ in chosen.listed())
    if ask and total > 1 and sys.stdin.isatty():
        typer.confirm(f"Replay {lines.records(total)}?", abort=True, err=True)
    return total


def _report(replayed: Iterable[Replayed], total: int | None, *, as_json: bool) -> bool:
    """Prints each result at once, and the counts at the end, even after an error. False: records are left."""
    counts = lines.Counts()
    try:
        with tables.progress(quiet=True) as bar:
            task = bar.add_task("replay", total=total)
            console = None if bar.disable else bar.console
            for each in replayed:
                counts.add(each)
                lines.write(lines.of_replayed(each), each.to_json(), as_json=as_json, console=console)
                bar.advance(task)
    finally:
        counts.write(as_json=as_json)
    return not counts.left


@app.command()
def drop(  # noqa: PLR0913 - the options of the command
    position: OptionalPosition = None,
    *,
    reason: Reasons = None,
    kind: Types = None,
    shard: Shards = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete quarantined records permanently: one, or those that the options select. Exit code 1: some are left."""
    chosen = _chosen(load(CoreSettings), position, selection(reason, kind, shard, (since, until), limit))
    if chosen.is_all:
        raise SettingsError(["drop deletes permanently: give a POSITION, or an option that selects, such as --reason"])
    # What is dropped is what is confirmed, not what arrives in between.
    listed = chosen.to_drop()
    if dry_run:
        for each in listed:
            lines.write(lines.of_summary(each.summary), lines.document(each.summary), as_json=as_json)
        raise typer.Exit(bool(chosen.lost))
    if listed and not (chosen.one or yes):
        _confirm(f"drop {lines.records(len(listed))} from the quarantine permanently")
    left = _drop(chosen.kept, listed)
    lines.write_dropped(len(listed) - len(left), left, as_json=as_json)
    raise typer.Exit(bool(left or chosen.lost))


def _drop(kept: QuarantineStore, listed: Sequence[Listed]) -> list[Position]:
    """The positions of records that stay, because they were replaced in the meantime."""
    left: list[Position] = []
    with tables.progress(quiet=True) as bar:
        task = bar.add_task("drop", total=len(listed))
        for some in groups(listed, lambda _: 0, DROPPED_TOGETHER, 1):
            gone = kept.drop(some)
            left += [each.summary.position for each, is_gone in zip(some, gone, strict=True) if not is_gone]
            bar.advance(task, len(some))
    return left


def _confirm(deed: str) -> None:
    if not sys.stdin.isatty():
        raise SettingsError([f"--yes is required to {deed}: there is no terminal for the confirmation"])
    typer.confirm(f"{deed[0].upper()}{deed[1:]}?", abort=True, err=True)


@app.command()
def export(  # noqa: PLR0913 - the options of the command
    position: OptionalPosition = None,
    *,
    reason: Reasons = None,
    kind: Types = None,
    shard: Shards = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write a new file, instead of standard output.")
    ] = None,
) -> None:
    """Write quarantined records as JSON lines that `apply`, `put` and `lambda-invoke` read. The quarantine keeps them.

    The data may contain personal data. Exit code 1: something in the quarantine cannot be read.
    """
    chosen = _chosen(load(CoreSettings), position, selection(reason, kind, shard, (since, until), limit))
    first = invoke.run_number(bootstrap.now_millis(), random.randrange)
    count = 0
    with new_file(to) if to else nullcontext(sys.stdout) as file, tables.progress(quiet=True) as bar:
        task = bar.add_task("export", total=None)
        for line in lines_of(chosen.read(), first):
            file.write(f"{line}\n")
            count += 1
            bar.advance(task)
    sys.stderr.write(f"{lines.records(count)} exported\n")
    raise typer.Exit(bool(chosen.lost))


def _chosen(settings: CoreSettings, position: str | None, selected: Selection) -> Chosen:
    kept = _open(settings)
    if position is None:
        return Chosen(kept, None, selected)
    if selected != Selection():
        raise SettingsError([f"{lines.plain(position)}: give a POSITION or options that select, not both"])
    return Chosen(kept, _find(kept, position), selected)


def _open(settings: CoreSettings) -> QuarantineStore:
    return bootstrap.quarantine(settings, bootstrap.pool(bootstrap.QUARANTINE_REQUESTS))


def _find(kept: QuarantineStore, text: str) -> Listed:
    try:
        found = kept.find(Position.parse(text))
    except ValueError as wrong:
        raise SettingsError([f"{lines.plain(text)}: {wrong}, as `consumer quarantine list` prints it"]) from None
    if found is None:
        raise _missing(text)
    return found


def _missing(text: str) -> SettingsError:
    return SettingsError([f"{lines.plain(text)}: not in the quarantine; `consumer quarantine list` shows what is"])
