"""`consumer rewind`: shows from where to where the checkpoints go, asks, and sets them."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import tables
from consumer.cli.parameters import Json
from consumer.engine.errors import SettingsError
from consumer.settings import Settings, load

if TYPE_CHECKING:
    from consumer.admin.rewind import Plan, Rewinder
    from consumer.leases.rewinding import Move

TO = "Where reading continues: trim-horizon, latest, a time such as 2026-01-31T00:00:00Z, or a sequence number."


def rewind(
    to: Annotated[str, typer.Option("--to", metavar="PLACE", help=TO)],
    shard: Annotated[str | None, typer.Option(metavar="SHARD", help="Only this shard.")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show from where to where.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask for confirmation, not even before records are skipped.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Set the checkpoints of a stopped application, so that it reads records again, or skips them.

    Watches the leases for the failover time first, and refuses if a worker runs. Records that are read again change
    nothing that was right. Records that are skipped are never read. Exit code 1: a worker runs, or the answer was no.
    """
    from consumer.admin.rewind import Rewinder, target_of
    from consumer.cli.rewind_tables import whole

    if not (yes or dry_run) and (as_json or not sys.stdin.isatty()):
        raise SettingsError(["--yes or --dry-run is required: a confirmation needs a terminal, and no --json"])
    target, rewinder = target_of(to), Rewinder.of(load(Settings))
    planned = rewinder.plan(target, shard)
    if as_json:
        _apply_as_json(rewinder, planned, dry_run=dry_run)
        return
    tables.console().print(whole(planned))
    if planned.writes and not dry_run:
        if not yes:
            confirm(planned)
        rewinder.apply(planned, lambda move: print(f"set {move.shard}"))


def _apply_as_json(rewinder: "Rewinder", planned: "Plan", *, dry_run: bool) -> None:
    """Prints the plan, and which shards were set, also if a worker started in the meantime."""
    done: list[Move] = []
    try:
        if not dry_run:
            rewinder.apply(planned, done.append)
    finally:
        document = planned.to_json()
        shards = [{**each, "set": each["shard"] in {move.shard for move in done}} for each in document["shards"]]
        print(json.dumps({**document, "shards": shards}))


def confirm(planned: "Plan") -> None:
    """Asks before checkpoints are set, and first, separately, before records are skipped. Raises typer.Abort."""
    from consumer.cli.rewind_tables import shards, skipped

    if planned.skips:
        typer.confirm(f"{skipped(planned.skips)} Skip them?", abort=True, err=True)
    question = f"Set the checkpoints of {shards(planned.writes)} of application {planned.application}?"
    typer.confirm(question, abort=True, err=True)
