"""How the CPU of an event grows: with the records a batch, the limits a batch, and the backlog."""

from bench import load
from bench.child import Shape
from bench.contenders import Service
from bench.load import Load
from bench.results import Growth, Report
from bench.runs import run
from bench.store import Store

BATCHES = (100, 300, 1_000, 3_000, 10_000)
LIMITS = (1, 100, 250, 500, 750, 1_000)
BACKLOGS = (1_000, 3_000, 10_000, 30_000, 60_000)
BATCH = 1_000
US = "us of CPU an event"


def measure(store: Store, size: float, report: Report) -> list[Growth]:
    """At every size, a batch of the largest kind is full."""
    realistic = load.realistic(max(BATCHES[-1], round(20_000 * size)))
    several = max(4_000, round(10_000 * size))
    backlogs = [events for events in BACKLOGS if events <= max(BACKLOGS[0], BACKLOGS[-1] * size)]
    batches = [(batch, _micros(store, realistic, Shape(batch), report)) for batch in BATCHES]
    limits = [(each / BATCH, _micros(store, load.spread(several, each), Shape(BATCH), report)) for each in LIMITS]
    behind = Shape(BATCH, behind=True)
    backlog = [(events, _micros(store, load.realistic(events), behind, report)) for events in backlogs]
    of = f"batches of {BATCH:,}"
    return [
        Growth("batch", "Records a batch", "records a batch, caught up", US, batches),
        Growth("limits", "Distinct limits", f"distinct limits an event, {of}", US, limits),
        Growth("backlog", "Backlog", f"events of the backlog, {of}", US, backlog),
    ]


def _micros(store: Store, made: Load, shape: Shape, report: Report) -> float:
    cost = run(Service(), store, made, shape)
    about = f"{len(made.paid):,} events of {len(made.setup):,} limits, batches of {shape.batch:,}"
    report(f"growth: {about}: {cost.micros:.1f} us")
    return cost.micros
