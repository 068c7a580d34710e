"""The progress of commands that read files: a bar, events per second, and the time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from consumer.cli import tables

Advance = Callable[[int, int], None]
"""Called with bytes and events that were read."""


@contextmanager
def reading(total: int) -> Iterator[Advance]:
    """A bar on stderr for files of `total` bytes, if that is a terminal."""
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[events]}"), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=tables.console(error=True)) as bar:
        task, counted = bar.add_task("read", total=total, events=""), 0

        def advance(size: int, events: int) -> None:
            nonlocal counted
            counted += events
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = f", {counted / elapsed:,.0f} per second" if elapsed else ""
            bar.update(task, advance=size, events=f"{counted:,} events{rate}")

        yield advance
