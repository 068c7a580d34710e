"""What the charts show: the samples of the last minutes as curves, and as the rows of a table. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from consumer.engine.folding import Outcome
from consumer.pages.charts import Chart, figure, svg
from consumer.pages.rates import Point, by_minute, points
from consumer.pages.sampling import WINDOW_SECONDS, Sample
from consumer.pages.texts import UNKNOWN, time_of_day

RATE, SECONDS = "records per second", "seconds"
HEADS = ("Minute", "All", *(outcome.capitalize() for outcome in Outcome), "Behind")
"""Of the columns of the table."""


class Curve(NamedTuple):
    title: str
    last: str
    image: Markup


class Worker(NamedTuple):
    """`problem` is empty if the metrics at the address could be read."""

    address: str
    problem: str


@dataclass(frozen=True, slots=True)
class Throughput:
    """`curves` are empty until there are two samples. `rows`: one per minute, the latest first, under HEADS."""

    workers: Sequence[Worker]
    curves: Sequence[Curve]
    rows: Sequence[Sequence[str]]

    @property
    def missing(self) -> int:
        """How many workers are not in the latest values."""
        return sum(bool(worker.problem) for worker in self.workers)


def throughput(samples: Sequence[Sample], addresses: Sequence[str], now: float) -> Throughput:
    """`now`: Unix seconds."""
    found = points(samples)
    return Throughput(
        _workers(samples, addresses),
        [_curve(kind, found, now) for kind in _CURVES] if found else [],
        [_row(point) for point in reversed(by_minute(found))],
    )


def _workers(samples: Sequence[Sample], addresses: Sequence[str]) -> list[Worker]:
    failures = samples[-1].failures if samples else dict.fromkeys(addresses, "not read yet")
    return [Worker(address, failures.get(address, "")) for address in addresses]


_Value = Callable[[Point], float | None]


def _rate(outcome: Outcome) -> _Value:
    return lambda point: point.rate(outcome)


class _Kind(NamedTuple):
    name: str
    title: str
    unit: str
    value: _Value


_CURVES: Sequence[_Kind] = (
    _Kind("all", "All records", RATE, lambda point: point.total),
    *(_Kind(str(outcome), outcome.capitalize(), RATE, _rate(outcome)) for outcome in Outcome),
    _Kind("behind", "Behind the stream, the furthest shard", SECONDS, lambda point: point.behind),
)


def _curve(kind: _Kind, found: Sequence[Point], now: float) -> Curve:
    values = [(point.at, kind.value(point)) for point in found]
    chart = Chart(kind.name, kind.title, kind.unit, values, now - WINDOW_SECONDS, now)
    return Curve(kind.title, chart.last, svg(chart))


def _row(point: Point) -> tuple[str, ...]:
    values = (point.total, *(point.rate(outcome) for outcome in Outcome), point.behind)
    return time_of_day(point.at)[:5], *(UNKNOWN if value is None else figure(value) for value in values)
