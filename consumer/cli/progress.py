"""The progress of commands that read files: a bar, records per second, and the time left."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from consumer.cli import tables


@dataclass(slots=True)
class Reading:
    """The progress of reading files."""

    bar: Progress
    task: TaskID
    records: int = 0

    def advance(self, size: int, records: int) -> None:
        """So many more bytes and records were read."""
        self.records += records
        elapsed = self.bar.tasks[self.task].elapsed or 0.0
        rate = f", {self.records / elapsed:,.0f} per second" if elapsed else ""
        self.bar.update(self.task, advance=size, records=f"{self.records:,} records{rate}")

    def phase(self, text: str) -> None:
        self.bar.update(self.task, description=text)


@contextmanager
def reading(total: int) -> Iterator[Reading]:
    """A bar on stderr for files of `total` bytes, if that is a terminal."""
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[records]}"), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=tables.console(error=True)) as bar:
        yield Reading(bar, bar.add_task("read", total=total, records=""))
