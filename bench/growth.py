"""How the CPU of an event grows: with the records a batch, the limits a batch, and the backlog."""

from collections.abc import Iterable
from statistics import linear_regression

from bench import load
from bench.child import Shape
from bench.contenders import Service
from bench.load import Load
from bench.results import Growth, Point, Report
from bench.runs import run
from bench.store import Store

BATCHES = (100, 300, 1_000, 3_000, 10_000)
LIMITS = (1, 10, 50, 100, 250, 500, 1_000)
BACKLOGS = (1_000, 3_000, 10_000, 30_000, 60_000)
BATCH = 1_000
US = "us of CPU an event"


def measure(store: Store, size: float, report: Report) -> list[Growth]:
    events = max(4_000, round(20_000 * size))
    realistic = load.realistic(events)
    batches = [(batch, _micros(store, realistic, Shape(batch), report)) for batch in BATCHES]
    backlogs = [
        (events, _micros(store, load.realistic(events), Shape(BATCH, behind=True), report))
        for events in BACKLOGS
        if events <= max(BACKLOGS[2], BACKLOGS[-1] * size)
    ]
    limits = _limits(store, size, report)
    return [
        Growth("batch", "Records a batch", "records a batch, caught up", US, batches),
        Growth(
            "limits",
            "Distinct limits",
            f"distinct limits an event, batches of {BATCH:,}",
            US,
            limits,
        ),
        Growth("backlog", "Backlog", f"events of the backlog, batches of {BATCH:,}", US, backlogs),
    ]


def _limits(store: Store, size: float, report: Report) -> list[Point]:
    events = max(4_000, round(10_000 * size))
    return [(limits / BATCH, _micros(store, load.spread(events, limits), Shape(BATCH), report)) for limits in LIMITS]


def model(limits: Iterable[Point]) -> tuple[float, float]:
    """The cost of an event without its write, and of a write: us = a + b x distinct limits an event."""
    points = list(limits)
    fit = linear_regression([x for x, _ in points], [y for _, y in points])
    return fit.intercept, fit.slope


def _micros(store: Store, made: Load, shape: Shape, report: Report) -> float:
    cost = run(Service(), store, made, shape)
    report(f"growth: {len(made.paid):,} events, batches of {shape.batch:,}: {cost.micros:.1f} us")
    return cost.micros
