"""`consumer status`: prints the state of the application once or at intervals, or serves it as metrics."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import tables
from consumer.cli.parameters import Json
from consumer.engine.errors import SettingsError, Unavailable
from consumer.settings import Settings, load

if TYPE_CHECKING:
    from rich.console import RenderableType

    from consumer.admin.status import Status

WATCH_SECONDS, SERVE_SECONDS = 5.0, 30.0


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
    lag: Annotated[
        bool, typer.Option("--lag/--no-lag", help="Read one record of each shard to determine the lag.")
    ] = True,
    serve: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Serve the status as metrics at HOST:PORT, until SIGTERM or Ctrl-C."),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help=f"Time between refreshes. Default: {WATCH_SECONDS:g} with --watch, {SERVE_SECONDS:g} with --serve.",
            min=1,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show shards, owners, checkpoints, lag, workers, leader and quarantine, read from KCL's tables and the stream.

    With --serve, the same is served to Prometheus, with /livez, /healthz and /readyz.
    """
    if serve is not None:
        if watch or as_json:
            raise SettingsError(["--serve cannot be combined with --watch or --json"])
        from consumer.cli import watcher

        watcher.serve(load(Settings), serve, every or SERVE_SECONDS, lag=lag)
    from consumer.admin.observer import Observer

    look = partial(Observer.of(load(Settings)).look, lag=lag)
    if watch:
        _watch(look, every or WATCH_SECONDS, as_json=as_json)
    else:
        _show(look(), as_json=as_json)


def _show(status: "Status", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(status.to_json()), flush=True)
    else:
        tables.console().print(_drawn(status))


def _drawn(status: "Status") -> "RenderableType":
    from consumer.cli import status_tables

    return status_tables.whole(status)


def _watch(look: Callable[[], "Status"], seconds: float, *, as_json: bool) -> None:
    """Shows a new status every `seconds` until Ctrl-C, as JSON on one line. Raises Unavailable if the first fails."""
    status = look()
    with suppress(KeyboardInterrupt):
        if as_json:
            _print_repeatedly(status, look, seconds)
        else:
            _draw_repeatedly(status, look, seconds)


def _print_repeatedly(status: "Status", look: Callable[[], "Status"], seconds: float) -> None:
    while True:
        _show(status, as_json=True)
        time.sleep(seconds)
        status = look()


def _draw_repeatedly(status: "Status", look: Callable[[], "Status"], seconds: float) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    shown = _drawn(status)
    with Live(shown, console=tables.console(), auto_refresh=False) as live:
        while True:
            time.sleep(seconds)
            try:
                shown = _drawn(look())
                live.update(shown, refresh=True)
            except Unavailable as cause:
                # keep the last status on the screen, with the error below it
                live.update(Group(shown, Text(str(cause), "bold red")), refresh=True)
