"""`consumer rebuild`: rebuilds limits from an archive, or from files of events."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import tables
from consumer.cli.errors import report
from consumer.cli.parameters import (
    Json,
    Processes,
    Since,
    Until,
    checked_key,
    checked_moment,
    cores,
)
from consumer.cli.progress import reading
from consumer.engine.errors import SettingsError
from consumer.settings import Settings, load, variable

if TYPE_CHECKING:
    from consumer.admin.rebuild import Done, Plan, Total
    from consumer.admin.sources import Origin

LISTED = 20
"""The most damages of files to list."""

Into = Annotated[
    str | None, typer.Option("--into", metavar="TABLE", help="Another table than that of the settings. It must exist.")
]
Place = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="PLACE",
        help="s3://bucket/prefix, a folder or a file: an archive, or files of events, gzipped or not. Without it: the"
        " archive of the stream.",
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option("--resume", metavar="FILE", help="Where the progress is kept; without it, in the current directory."),
]
User = Annotated[str | None, typer.Option(metavar="USER_ID", help="Only this partition key: for limits, a user.")]


def rebuild(  # noqa: PLR0913 - the options of the command
    *,
    place: Place = None,
    since: Since = None,
    until: Until = None,
    user: User = None,
    into: Into = None,
    processes: Processes = None,
    resume: Resume = None,
    as_json: Json = False,
) -> None:
    """Rebuild limits from an archive: every event is merged into the table as on delivery.

    Safe for a table in use, and any number of times. After Ctrl-C or a crash, the same command goes on where it was.
    Exit code 1: a part of a file could not be read, or a store does not answer.
    """
    from consumer.admin.rebuild import Done, check

    plan = _plan(load(Settings, **({"table_name": into} if into else {})), place, since, until, checked_key(user))
    check(plan)
    done = Done(resume or plan.progress_file(), plan.about())
    if done.paths:
        report(f"{len(done.paths)} files were done before: {done}")
    total = _run(plan, done, processes or cores())
    done.finish()
    _show(total, as_json=as_json)
    raise typer.Exit(bool(total.damage))


def _plan(settings: Settings, place: str | None, since: str | None, until: str | None, user: str | None) -> "Plan":
    from consumer.admin.rebuild import Plan
    from consumer.admin.sources import Origin, origin_of

    if not settings.enable_dynamo_db:
        raise SettingsError([f"{variable('enable_dynamo_db')}=false keeps limits in memory: unset it"])
    times = checked_moment(since), checked_moment(until)
    if place is not None:
        return Plan(settings, origin_of(place, *times), user)
    return Plan(settings, Origin(archive_of(settings), settings.stream_name, None, *times), user)


def archive_of(settings: Settings) -> str:
    """The place of the archive. Raises SettingsError if there is none."""
    if settings.archive is None:
        raise SettingsError([f"{variable('archive')} is not set: there is no archive to read"])
    return settings.archive


def nothing_in(origin: "Origin") -> SettingsError:
    what = "files" if origin.stream is None else f"objects of the stream {origin.stream}"
    return SettingsError([f"{origin.place}: there are no {what} of that time"])


def _run(plan: "Plan", done: "Done", processes: int) -> "Total":
    from consumer.admin.rebuild import Total, rebuild

    source, total = plan.origin.opened(plan.settings), Total()
    sizes = [found.size for found in source.files() if found.path not in done.paths]
    if not sizes and not done.paths:
        done.finish()
        raise nothing_in(plan.origin)
    with reading(sum(sizes)) as progress:
        left = (found for found in source.files() if found.path not in done.paths)
        for each in rebuild(plan, left, processes):
            done.add(each.path)
            total.add(each)
            progress.advance(each.size, each.outcomes.total())
    return total


def _show(total: "Total", *, as_json: bool) -> None:
    document = total.to_json()
    if as_json:
        print(json.dumps(document))
        return
    tables.console().print(tables.outcomes_table(document["outcomes"], {}))
    if document["reasons"]:
        tables.console().print(tables.reasons_table(document["reasons"]))
    print(f"{total.files:,} files, {total.writes:,} states written")
    more = [f"{len(total.damage) - LISTED:,} more damages like these"] if len(total.damage) > LISTED else []
    report(*total.damage[:LISTED], *more)
