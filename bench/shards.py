"""What record processors cost together: memory and CPU with 1 to 16 shards on this machine, and while behind."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import load
from bench.child import Child, Shape, cpu_seconds, pss_bytes
from bench.contenders import Service
from bench.load import Event
from bench.results import Figure, Growth, Report
from bench.store import Store
from tests.support.driven.background import background

COUNTS = (1, 2, 4, 8, 16)
SHOWN = (1, 4, 16)
WARM = 3_000
"""Paid events of each record processor before its memory is read: three batches."""
TOGETHER = 3_000
"""Paid events of each record processor while all work at the same time."""
EVENTS_BEHIND = 40_000
MIB = 2**20
PAUSE = 0.05


@dataclass(slots=True)
class Shard:
    """A record processor and the events of its shard."""

    child: Child
    events: Sequence[Event]
    delivered: int = 0

    def deliver(self, count: int, shape: Shape) -> None:
        part = self.events[self.delivered : self.delivered + count]
        self.child.deliver(part, shape, first=1 + self.delivered)
        self.delivered += len(part)


def measure(store: Store, report: Report) -> tuple[list[Figure], list[Growth]]:
    made = load.realistic(WARM + TOGETHER * len(COUNTS)).events
    memory, cpu = [], []
    with ExitStack() as stack:
        shards: list[Shard] = []
        for count in COUNTS:
            while len(shards) < count:
                shards.append(_started(stack, store, f"shard-{len(shards)}", made))
            memory.append((float(count), sum(pss_bytes(each.child.pid) for each in shards) / count / MIB))
            cpu.append((float(count), _together(shards)))
            report(f"{count} shards: {memory[-1][1]:.1f} MiB a shard, {cpu[-1][1]:.1f} us an event")
    figures = [
        Figure(f"memory-{round(count)}", f"PSS a shard at {round(count)}", "MiB", size)
        for count, size in memory
        if round(count) in SHOWN
    ]
    return figures, [
        Growth("shards-memory", "Memory and shards", "record processors", "MiB a shard (PSS)", memory),
        Growth("shards-cpu", "CPU and shards", "record processors at work together", "us of CPU an event", cpu),
    ]


def behind(store: Store, events: int, report: Report) -> list[Figure]:
    """The largest memory of one record processor that works off a backlog."""
    figures = []
    for batch in (1_000, 10_000):
        with ExitStack() as stack:
            shard = _started(stack, store, f"behind-{batch}", load.realistic(WARM + events).events)
            pid, found = shard.child.pid, [pss_bytes(shard.child.pid)]
            with background(partial(_largest, pid, found), "memory"):
                shard.deliver(events, Shape(batch, behind=True))
        title = f"PSS while behind, batches of {batch:,}"
        figures.append(Figure(f"memory-behind-{batch}", title, "MiB", max(found) / MIB))
        report(f"{title}: {max(found) / MIB:.1f} MiB")
    return figures


def _started(stack: ExitStack, store: Store, table: str, events: Sequence[Event]) -> Shard:
    store.create(table)
    directory = Path(stack.enter_context(TemporaryDirectory(prefix="bench-shard-", ignore_cleanup_errors=True)))
    shard = Shard(stack.enter_context(Service().started(store, table, directory)), events)
    shard.deliver(load.USERS * len(load.PERIODS) + WARM, Shape())
    return shard


def _together(shards: Sequence[Shard]) -> float:
    """Microseconds of CPU an event while all shards work at the same time."""
    before = sum(cpu_seconds(each.child.pid) for each in shards)
    with ThreadPoolExecutor(len(shards)) as pool:
        for done in [pool.submit(each.deliver, TOGETHER, Shape()) for each in shards]:
            done.result()
    seconds = sum(cpu_seconds(each.child.pid) for each in shards) - before
    return 1e6 * seconds / (TOGETHER * len(shards))


def _largest(pid: int, found: list[int], over: threading.Event) -> None:
    """Collects the memory of a process, in bytes, until `over` is set."""
    while not over.wait(PAUSE):
        found.append(pss_bytes(pid))
