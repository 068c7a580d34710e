"""CPU an event: the service and its peers in turns, in several rounds, on one load."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from bench import load
from bench.child import Failed, Shape
from bench.contenders import Contender, SampleShape, Service
from bench.load import Load
from bench.others import AsyncReader, LambdaPowertools
from bench.results import Rounds
from bench.runs import Cost, run
from bench.store import Store
from tests.support.emulators.aws import ministack

PEER, LAMBDA, ASYNC = "sample-shape", "lambda-powertools", "async-kinesis"
REQUESTS = ("BatchExecuteStatement", "BatchGetItem", "UpdateItem", "GetItem")
LEAST_EVENTS = 1_000
HUNDREDS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    events  paid events of a run at size 1
    load    makes the load of so many events
    replay  whether the events are delivered a second time, and only that is measured
    """

    key: str
    title: str
    contender: Contender
    shape: Shape
    events: int
    load: Callable[[int], Load] = load.realistic
    replay: bool = False


BATCH = Shape()
BEHIND = Shape(behind=True)
SERVICE: Sequence[Row] = (
    Row("caught-up", "caught up, batches of 1,000", Service(), BATCH, 20_000),
    Row("behind-1000", "behind, batches of 1,000", Service(), BEHIND, 40_000),
    Row("behind-10000", "behind, batches of 10,000", Service(), Shape(10_000, behind=True), 40_000),
    Row("replay", "replay of known events, behind, batches of 1,000", Service(), BEHIND, 40_000, replay=True),
    Row("worst-case", "every event another limit, batches of 1,000", Service(), BATCH, 5_000, load.all_different),
)
PEERS: Sequence[Row] = (
    Row(PEER, "peer (a): sample shape, one write a record", SampleShape(), BATCH, 4_000),
    Row(LAMBDA, "peer (b): Lambda with Powertools", LambdaPowertools(), BATCH, 4_000),
)
KEYS = (*(row.key for row in (*PEERS, *SERVICE)), ASYNC)


@contextmanager
def rows(keys: Iterable[str]) -> Iterator[list[Row]]:
    """The rows of these keys. Peer (a) is always among them: the others are compared with it."""
    wanted = {PEER, *keys}
    chosen = [row for row in (*PEERS, *SERVICE) if row.key in wanted]
    if ASYNC not in wanted:
        yield chosen
        return
    with ministack() as aws:
        reader = Row(ASYNC, "peer (c): async-kinesis, reading included", AsyncReader(aws.endpoint), BATCH, 4_000)
        peers = [row for row in chosen if row in PEERS]
        yield [*peers, reader, *(row for row in chosen if row not in PEERS)]


def measure(
    store: Store, chosen: Sequence[Row], rounds: int, size: float, report: Callable[[str], None]
) -> list[Rounds]:
    """Each row once per round, so that a change of the machine's load meets all of them."""
    loads = [row.load(_events(row, size)) for row in chosen]
    costs: list[list[Cost]] = [[] for _ in chosen]
    for number in range(1, rounds + 1):
        for row, made, found in zip(chosen, loads, costs, strict=True):
            found.append(_cost(store, row, made))
            report(f"round {number} of {rounds}: {row.title}: {found[-1].micros:.1f} us")
    return [_rounds(row, found) for row, found in zip(chosen, costs, strict=True)]


def _cost(store: Store, row: Row, made: Load) -> Cost:
    cost = run(row.contender, store, made, row.shape, replay=row.replay)
    if row.replay and cost.counts.get("written", 0):
        raise Failed(f"the replay of known events made {cost.counts['written']} writes")
    return cost


def _events(row: Row, size: float) -> int:
    return max(LEAST_EVENTS, round(row.events * size / HUNDREDS) * HUNDREDS)


def _rounds(row: Row, costs: Sequence[Cost]) -> Rounds:
    events = sum(cost.events for cost in costs)
    requests = sum(cost.counts.get(name, 0) for cost in costs for name in REQUESTS)
    writes = sum(cost.counts.get("written", 0) for cost in costs)
    mib = median(cost.pss for cost in costs) / 2**20
    return Rounds(row.key, row.title, [cost.micros for cost in costs], requests / events, writes / events, mib)
