"""`consumer status` on the screen: once, or again and again."""

import json
import time
from collections.abc import Callable
from contextlib import suppress

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from consumer.admin.status import Status
from consumer.cli import status_tables, tables
from consumer.engine.errors import Unavailable

Look = Callable[[], Status]


def show(status: Status, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(status.to_json()), flush=True)
    else:
        tables.console().print(status_tables.whole(status))


def watch(look: Look, seconds: float, *, as_json: bool) -> None:
    """Until Ctrl-C, a look every so many seconds; as JSON a line each. Raises Unavailable if the first look fails."""
    status = look()
    with suppress(KeyboardInterrupt):
        if as_json:
            _print_on(status, look, seconds)
        else:
            _draw_on(status, look, seconds)


def _print_on(status: Status, look: Look, seconds: float) -> None:
    while True:
        show(status, as_json=True)
        time.sleep(seconds)
        status = look()


def _draw_on(status: Status, look: Look, seconds: float) -> None:
    shown: RenderableType = status_tables.whole(status)
    with Live(shown, console=tables.console(), auto_refresh=False) as live:
        while True:
            time.sleep(seconds)
            try:
                shown = status_tables.whole(look())
                live.update(shown, refresh=True)
            except Unavailable as cause:
                # what was seen last stays in view
                live.update(Group(shown, Text(str(cause), "bold red")), refresh=True)
