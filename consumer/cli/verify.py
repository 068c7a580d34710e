"""`consumer verify`: compares the limits in the table with those that the archive leads to."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from botocore.config import Config
from rich import box
from rich.table import Table

from consumer import bootstrap
from consumer.cli import tables
from consumer.cli.errors import report
from consumer.cli.parameters import Json, Processes, Since, checked_key, checked_moment, cores
from consumer.cli.progress import reading
from consumer.cli.rebuild import archive_of, nothing_in
from consumer.engine.errors import SettingsError
from consumer.settings import Settings, load, variable
from consumer.stores.aws import CLIENT

if TYPE_CHECKING:
    from consumer.admin.verify import Finding, Plan, Verified

LISTED = 20
"""The most findings to show. --json has more."""
TABLE = CLIENT.merge(Config(retries={"mode": "standard", "total_max_attempts": 8}))
"""A scan competes with the service for the capacity of the table, and begins again if it fails."""

User = Annotated[str | None, typer.Option(metavar="USER_ID", help="Only this partition key: for limits, a user.")]
Sample = Annotated[
    str | None,
    typer.Option(metavar="SHARE", help="Only the limits of so many users, such as 5%: always the same ones."),
]
Patience = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0.0,
        help="How long limits that differ are checked again, because events may be on their way; without it, three"
        " times CONSUMER_ARCHIVE_SECONDS.",
    ),
]
Counts = Annotated[
    bool, typer.Option("--counts", help="Print only counts: for logs, which should not name users and their limits.")
]
Textfile = Annotated[
    Path | None, typer.Option("--metrics", metavar="FILE", help="Write the metrics for Prometheus to this file.")
]
Emf = Annotated[bool, typer.Option("--emf", help="Print the metrics as a line for CloudWatch.")]


def verify(  # noqa: PLR0913 - the options of the command
    *,
    since: Since = None,
    user: User = None,
    sample: Sample = None,
    patience: Patience = None,
    processes: Processes = None,
    metrics: Textfile = None,
    emf: Emf = False,
    counts: Counts = False,
    as_json: Json = False,
) -> None:
    """Compare the limits in the table with the archive: effects that it lacks, and contents that no event has.

    Changes nothing, and is right while the service writes. With --since, only missing effects can be found.
    Exit code 1: a limit differs, a part of the archive could not be read, or a store does not answer.
    """
    if user is not None and sample is not None:
        raise typer.BadParameter("--user and --sample exclude each other")
    settings = load(Settings)
    wait = 3 * settings.archive_seconds if patience is None else patience
    found = _run(_plan(settings, since, checked_key(user), _share(sample)), wait, processes or cores())
    if as_json:
        print(json.dumps(found.to_json(counts=counts), default=str))
    else:
        show(found, counts=counts)
    _publish(settings, found, metrics, emf=emf)
    raise typer.Exit(not found.ok)


def _plan(settings: Settings, since: str | None, user: str | None, sample: float) -> "Plan":
    from consumer.admin.sources import Origin
    from consumer.admin.verify import Plan

    if not settings.enable_dynamo_db:
        raise SettingsError([f"{variable('enable_dynamo_db')}=false: there is no table to verify"])
    origin = Origin(archive_of(settings), settings.stream_name, since=checked_moment(since))
    return Plan(settings, origin, user, sample)


def _share(text: str | None) -> float:
    """The share of the users, 0 to 1. Raises BadParameter."""
    if text is None:
        return 1.0
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise typer.BadParameter("use a share of the users such as 5%")
    return share


def _run(plan: "Plan", patience: float, processes: int) -> "Verified":
    from consumer.admin.verify import Verification

    table = bootstrap.repository(plan.settings, bootstrap.pool(), TABLE)
    source = plan.origin.opened(plan.settings)
    sizes = [found.size for found in source.files()]
    if not sizes:
        raise nothing_in(plan.origin)
    with reading(sum(sizes)) as progress:
        made = Verification(plan, table, patience, progress.advance, progress.phase)
        return made.run(source, sum(sizes), processes)


def _publish(settings: Settings, found: "Verified", file: Path | None, *, emf: bool) -> None:
    from consumer.admin.verify_metrics import publish, write_textfile
    from consumer.monitoring.emf import EmfSink

    if emf:
        sink = EmfSink(print, bootstrap.now_millis)
        publish(found, settings.table_name, sink)
        sink.flush()
    if file is not None:
        write_textfile(found, settings.table_name, file)


def show(found: "Verified", *, counts: bool = False) -> None:
    """Each finding, both states side by side, unless only counts are wanted; then the counts."""
    listed = [] if counts else found.findings[:LISTED]
    for finding in listed:
        print(f"{' '.join(json.dumps(part) for part in finding.key)}: {', '.join(finding.kinds)}")
        tables.console().print(_side_by_side(finding))
    records = found.outcomes.total()
    print(f"{found.files:,} files, {records:,} records, {found.limits:,} {found.plural} in {found.seconds:,.0f} s")
    unexplained = "not checked with --since" if found.partial else f"{found.unexplained:,}"
    print(f"missing: {found.missing:,}  unexplained: {unexplained}")
    left = len(found.findings) - len(listed) + found.unlisted
    report(*([f"{left:,} {found.plural} that differ are not shown"] if left else []), *found.damage[:LISTED])


def _side_by_side(finding: "Finding") -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for heading in ("attribute", "table", "archive"):
        table.add_column(heading, overflow="fold")
    for name, stored, archived in finding.differs:
        table.add_row(name, tables.cell(stored), tables.cell(archived))
    if finding.detail:
        table.add_row("", finding.detail, "")
    return table
