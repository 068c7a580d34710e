"""One run of a contender: set up, deliver the load, measure, and check the table."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.child import Shape, cpu_seconds, pss_bytes
from bench.contenders import Contender
from bench.load import Load
from bench.store import Store

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run cost: CPU seconds for `events`, and the store's counts, both without the set-up.

    `pss`: the memory of the process after it, in bytes.
    """

    events: int
    cpu_seconds: float
    pss: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def micros(self) -> float:
        """Microseconds of CPU an event."""
        return 1e6 * self.cpu_seconds / self.events


def run(contender: Contender, store: Store, made: Load, shape: Shape, *, replay: bool = False) -> Cost:
    """The cost of the paid events of a load. `replay`: they were delivered before, so all of them are known.

    Raises Failed if the table is wrong afterwards.
    """
    table = f"limits-{next(_numbers)}"
    store.create(table)
    with (
        TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as directory,
        contender.started(store, table, Path(directory)) as running,
    ):
        running.deliver(made.setup, Shape(), first=1)
        if replay:
            running.deliver(made.paid, Shape(10_000), first=1 + len(made.setup))
        before, cpu = store.counts(table), cpu_seconds(running.pid)
        running.deliver(made.paid, shape, first=1 + len(made.setup))
        cpu = cpu_seconds(running.pid) - cpu
        pss = pss_bytes(running.pid)
        counts = {name: count - before.get(name, 0) for name, count in store.counts(table).items()}
    contender.check(store.items(table), made.events)
    return Cost(len(made.paid), cpu, pss, counts)
