"""One run of a contender: set up, deliver the load in batches, measure, and check the table."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import load
from bench.child import BEHIND, CAUGHT_UP, Child, child
from bench.contenders import Contender
from bench.load import Event, Load
from bench.store import Store

SETUP_BATCH = 1_000
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Shape:
    """How the load is delivered.

    batch    records a batch
    behind   whether the daemon says that the shard is behind, except in the last batch
    replay   whether the load was delivered before: then all its events are known
    """

    batch: int = 1_000
    behind: bool = False
    replay: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run cost: CPU seconds for `events`, and the store's counts, both without the set-up."""

    events: int
    cpu_seconds: float
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def micros(self) -> float:
        """Microseconds of CPU an event."""
        return 1e6 * self.cpu_seconds / self.events


def run(contender: Contender, store: Store, made: Load, shape: Shape) -> Cost:
    """The cost of the paid events of a load. Raises Failed if the table is wrong afterwards."""
    table = f"limits-{next(_numbers)}"
    store.create(table)
    with TemporaryDirectory(prefix="bench-") as directory:
        command = contender.command(store, table, Path(directory))
        with child(command, Path(directory, "log")) as running:
            _deliver(running, made.setup, Shape(SETUP_BATCH), first=1)
            if shape.replay:
                _deliver(running, made.paid, Shape(10_000), first=1 + len(made.setup))
            cost = _measured(running, store, table, made, shape)
    contender.check(store.items(table), made.events)
    return cost


def _measured(running: Child, store: Store, table: str, made: Load, shape: Shape) -> Cost:
    batches = list(load.batches(made.paid, shape.batch, first=1 + len(made.setup)))
    before, cpu = store.counts(table), running.cpu_seconds()
    send(running, batches, behind=shape.behind)
    running.shut_down()
    cpu = running.cpu_seconds() - cpu
    counts = {name: count - before.get(name, 0) for name, count in store.counts(table).items()}
    return Cost(len(made.paid), cpu, counts)


def send(running: Child, batches: Sequence[Sequence[bytes]], *, behind: bool) -> None:
    """Delivers the batches. The last one is never behind, so that nothing is held back after it."""
    for number, batch in enumerate(batches, 1):
        running.process(batch, BEHIND if behind and number < len(batches) else CAUGHT_UP)


def _deliver(running: Child, events: Sequence[Event], shape: Shape, first: int) -> None:
    send(running, list(load.batches(events, shape.batch, first)), behind=shape.behind)
