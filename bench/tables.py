"""The results as tables: rows of cells, for the terminal and for the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import TypeAlias

from bench import goals, load, sizing
from bench.cpu import PEER
from bench.goals import Goal
from bench.model import fitted
from bench.results import Figure, Results, Rounds, ratios
from bench.sizing import MEMORY_AT, Measured

USERS = load.USERS
SIZED = ("worker", "worker-processor", "memory-jvm", "memory-supervisor", *(f"memory-{at}" for at in MEMORY_AT))
"""The figures from which the sizes are computed."""
Row: TypeAlias = Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    head: Row
    rows: Sequence[Row]


def tables(found: Results) -> list[Table]:
    """Those of which there are results."""
    every = (_cpu(found), _figures(found), _growth(found), _model(found), _sizes(found))
    return [table for table in every if table.rows]


def _cpu(found: Results) -> Table:
    head = ("CPU an event", "us", "times cheaper", "of the rounds", "requests", "writes", "MiB", "must", "aim", "met")
    peer = found.of(PEER)
    return Table("CPU", head, [_cost(peer, row) for row in found.rounds] if peer else [])


def _cost(peer: Rounds, row: Rounds) -> Row:
    each = ratios(peer, row)
    ratio, goal = median(each), goals.RATIOS.get(row.key)
    spread = f"{min(each):.1f} to {max(each):.1f}"
    counted = (f"{row.requests:.4f}", f"{row.writes:.4f}", f"{row.mib:.0f}")
    reached = goal is not None and ratio >= goal.must
    return (row.title, f"{row.median:.0f}", f"{ratio:.1f}x", spread, *counted, *_goal(goal, "x", reached=reached))


def _figures(found: Results) -> Table:
    peer = found.of(PEER)
    rows = [(each.title, *_value(each), *_reached(each, peer.median if peer else None)) for each in found.figures]
    head = ("measure", "value", "unit", "lowest to highest", "compared", "must", "aim", "met")
    return Table("Other figures", head, rows)


def _reached(figure: Figure, peer: float | None) -> Row:
    goal = goals.FIGURES.get(figure.key)
    if goal is None:
        return "", "", "", ""
    compared = goal.compared(figure.value, peer)
    return _number(compared) if goal.cpu else "", *_goal(goal, "", reached=compared <= goal.must)


def _value(figure: Figure) -> Row:
    known = figure.low is not None and figure.high is not None
    spread = f"{_number(figure.low)} to {_number(figure.high)}" if known else ""
    return _number(figure.value), figure.unit, spread


def _number(value: float | None) -> str:
    """Three digits or more; empty for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _goal(goal: Goal | None, unit: str, *, reached: bool) -> Row:
    if goal is None:
        return "", "", ""
    aim = "" if goal.aim is None else f"{goal.aim:g}{unit}"
    return f"{goal.must:g}{unit}", aim, "yes" if reached else "no"


def _growth(found: Results) -> Table:
    rows = [(growth.x, growth.y, ", ".join(f"{x:g}: {y:.0f}" for x, y in growth.points)) for growth in found.growth]
    return Table("How the cost grows", ("with", "cost", "measured"), rows)


def _model(found: Results) -> Table:
    return Table("Model", ("cost of an event",), [(formula(found),)] if found.grown("limits") else [])


def formula(found: Results) -> str:
    """How the cost of an event depends on the distinct limits."""
    limits = found.grown("limits")
    event, write = fitted(limits.points if limits else [])
    return f"us = {event:.1f} + {write:.1f} x distinct limits an event"


def _sizes(found: Results) -> Table:
    dollars = ("Kinesis", "DynamoDB", "Fargate", "a month", "with peer (a)")
    head = ("events/s", "shards", "tasks", "a task", "write units/s", *dollars)
    measured = _measured(found)
    return Table("Size", head, [_size(*measured, events) for events in sizing.LOADS] if measured else [])


def _size(measured: Measured, peer: Measured, events: int) -> Row:
    need = sizing.size(measured, events)
    task = f"{need.vcpu:g} vCPU, {need.gb:g} GB"
    dollars = [*need.dollars.values(), sum(need.dollars.values()), sum(sizing.size(peer, events).dollars.values())]
    counts = (f"{count:,.0f}" for count in (need.events, need.shards, need.tasks))
    return (*counts, task, f"{need.write_units:,.0f}", *(f"${each:,.0f}" for each in dollars))


def _measured(found: Results) -> tuple[Measured, Measured] | None:
    """What the sizes are computed from: of the service, and of peer (a) in the same daemon. None if not measured."""
    known = [value for value in map(found.figure, SIZED) if value is not None]
    up, peer = found.of("caught-up"), found.of(PEER)
    if len(known) < len(SIZED) or up is None or peer is None:
        return None
    worker, processor, jvm, supervisor, *shards = known
    data, memory, around = event_bytes(), jvm + supervisor, worker - processor
    shard = dict(zip(MEMORY_AT, shards, strict=True))
    return Measured(data, worker, up.writes, shard, memory), Measured(
        data, around + peer.median, peer.writes, shard, memory
    )


def event_bytes() -> float:
    """The data of an average event of the realistic load."""
    return mean(len(load.data(event)) for event in load.realistic(1_000).paid)


def text(found: Results) -> str:
    """All tables for a terminal."""
    machine = ", ".join(f"{name} {value}" for name, value in found.machine.items())
    return "\n".join([machine, *(line for table in tables(found) for line in ("", *_aligned(table)))]) + "\n"


def _aligned(table: Table) -> Iterator[str]:
    rows = [table.head, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def markdown(table: Table) -> str:
    lines = [table.head, ("---",) * len(table.head), *table.rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)
