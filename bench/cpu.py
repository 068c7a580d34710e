"""CPU an event: the service and its peers in turns, in several rounds, on one load."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench import load
from bench.contenders import Contender, SampleShape, Service
from bench.load import Load
from bench.results import Rounds
from bench.runs import Cost, Shape, run
from bench.store import Store

PEER = "sample-shape"
REQUESTS = ("BatchExecuteStatement", "BatchGetItem", "UpdateItem", "GetItem")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    events  paid events of a run at size 1
    load    makes the load of so many events
    """

    key: str
    title: str
    contender: Contender
    shape: Shape
    events: int
    load: Callable[[int], Load] = load.realistic


ROWS: Sequence[Row] = (
    Row(PEER, "peer (a): sample shape", SampleShape(), Shape(), 4_000),
    Row("caught-up", "caught up, batches of 1,000", Service(), Shape(), 20_000),
    Row("behind-1000", "behind, batches of 1,000", Service(), Shape(behind=True), 40_000),
    Row("behind-10000", "behind, batches of 10,000", Service(), Shape(10_000, behind=True), 40_000),
    Row("replay", "replay of known events, batches of 1,000", Service(), Shape(behind=True, replay=True), 40_000),
    Row(
        "worst-case",
        "every event another limit, batches of 1,000",
        Service(),
        Shape(),
        5_000,
        lambda events: load.spread(events, events),
    ),
)


def measure(store: Store, rows: Iterable[Row], rounds: int, size: float, report: Callable[[str], None]) -> list[Rounds]:
    """Each row once per round, so that a change of the machine's load meets all of them."""
    chosen = list(rows)
    loads = [row.load(max(1_000, round(row.events * size))) for row in chosen]
    costs: list[list[Cost]] = [[] for _ in chosen]
    for number in range(1, rounds + 1):
        for row, made, found in zip(chosen, loads, costs, strict=True):
            found.append(run(row.contender, store, made, row.shape))
            report(f"round {number} of {rounds}: {row.title}: {found[-1].micros:.1f} us")
    return [_rounds(row, found) for row, found in zip(chosen, costs, strict=True)]


def _rounds(row: Row, costs: Sequence[Cost]) -> Rounds:
    events = sum(cost.events for cost in costs)
    requests = sum(cost.counts.get(name, 0) for cost in costs for name in REQUESTS)
    writes = sum(cost.counts.get("written", 0) for cost in costs)
    return Rounds(row.key, row.title, [cost.micros for cost in costs], requests / events, writes / events)
