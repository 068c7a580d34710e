"""`consumer archive`: works on the archive as a whole."""

import typer

from consumer import bootstrap, limit_readers
from consumer.cli.errors import report
from consumer.cli.parameters import Since, checked_moment, millis
from consumer.limits.history import AHEAD_MILLIS
from consumer.monitoring import logs
from consumer.settings import HistorySettings, load

app = typer.Typer(help="The archive of the stream.")


@app.callback()
def archive() -> None:
    """The archive of the stream."""


@app.command()
def index(since: Since = None) -> None:
    """Index what is new in the archive, so that the history of a user need not read all of it. Run it every hour.

    Exit code 1: an object cannot be read. It is not indexed, and every history reads it.
    """
    moment = checked_moment(since)
    settings = load(HistorySettings)
    logs.configure(settings.log_level)
    hours = objects = unreadable = 0
    for done in limit_readers.indexer(settings).run(
        bootstrap.now_millis() + AHEAD_MILLIS, 0 if moment is None else millis(moment)
    ):
        hours, objects, unreadable = hours + 1, objects + done.added, unreadable + done.unreadable
        print(f"{done.hour:%Y-%m-%dT%H}Z: {done.added} objects", flush=True)
    print(f"indexed {objects} objects in {hours} hours")
    if unreadable:
        report(f"{unreadable} objects cannot be read and are not indexed; the lines above name them")
    raise typer.Exit(bool(unreadable))
