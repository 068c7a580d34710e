"""What record processors cost together: memory and CPU with 1 to 16 shards on this machine, and while behind."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import forks, load
from bench.child import Child, Shape, pss_bytes
from bench.contenders import Service
from bench.forks import Group
from bench.load import Event, Load
from bench.results import Figure, Growth, Report
from bench.sizing import MEMORY_AT
from bench.store import Store
from tests.support.driven.background import background

COUNTS = (1, 2, 4, 8, 16)
SETUP = load.USERS * len(load.PERIODS)
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
    """For each of COUNTS a worker of its own. Raises Failed if a table is wrong."""
    memory, cpu = [], []
    for count in COUNTS:
        mib, micros = _worker(store, count)
        memory.append((float(count), mib))
        cpu.append((float(count), micros))
        report(f"{count} shards: {mib:.1f} MiB a shard, {micros:.1f} us an event")
    figures = [
        Figure(f"memory-{round(count)}", f"PSS a shard at {round(count)}", "MiB", mib)
        for count, mib in memory
        if round(count) in MEMORY_AT
    ]
    across = f"record processors, forked from {forks.FORK_FROM} on"
    return figures, [
        Growth("shards-memory", "Memory and shards", across, "MiB a shard (PSS)", memory),
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


def _worker(store: Store, count: int) -> tuple[float, float]:
    """The record processors of a worker with so many shards: MiB a shard, and microseconds of CPU an event."""
    table = f"shards-{count}"
    store.create(table)
    loads = [load.realistic(WARM + TOGETHER, number, first=load.USERS * number) for number in range(count)]
    with TemporaryDirectory(prefix="bench-shards-", ignore_cleanup_errors=True) as directory:
        command = Service().command(store, table, Path(directory))
        with forks.started(command, count, Path(directory)) as group:
            found = _measured(group, loads)
    Service().check(store.items(table), [event for made in loads for event in made.events])
    return found


def _measured(group: Group, loads: Sequence[Load]) -> tuple[float, float]:
    shards = [Shard(child, made.events) for child, made in zip(group.children, loads, strict=True)]
    for each in shards:
        each.deliver(SETUP + WARM, Shape())
    return group.pss_bytes() / len(shards) / MIB, _together(group, shards)


def _started(stack: ExitStack, store: Store, table: str, events: Sequence[Event]) -> Shard:
    store.create(table)
    directory = Path(stack.enter_context(TemporaryDirectory(prefix="bench-shard-", ignore_cleanup_errors=True)))
    shard = Shard(stack.enter_context(Service().started(store, table, directory)), events)
    shard.deliver(SETUP + WARM, Shape())
    return shard


def _together(group: Group, shards: Sequence[Shard]) -> float:
    """Microseconds of CPU an event while all shards work at the same time."""
    before = group.cpu_seconds()
    with ThreadPoolExecutor(len(shards)) as pool:
        for done in [pool.submit(each.deliver, TOGETHER, Shape()) for each in shards]:
            done.result()
    return 1e6 * (group.cpu_seconds() - before) / (TOGETHER * len(shards))


def _largest(pid: int, found: list[int], over: threading.Event) -> None:
    """Collects the memory of a process, in bytes, until `over` is set."""
    while not over.wait(PAUSE):
        found.append(pss_bytes(pid))
