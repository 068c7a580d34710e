"""The results of a run, as they are stored in JSON and shown in the documentation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeAlias

from pydantic import TypeAdapter

Point: TypeAlias = tuple[float, float]
Report: TypeAlias = Callable[[str], None]
"""Takes a line that shows the progress."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """What one contender cost per event in each round.

    micros    microseconds of CPU an event
    requests  requests to DynamoDB per event, of all rounds
    writes    items written per event, of all rounds
    mib       memory of the process after a round (PSS), the median
    """

    key: str
    title: str
    micros: Sequence[float]
    requests: float
    writes: float
    mib: float = 0.0

    @property
    def median(self) -> float:
        return median(self.micros)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value, with the smallest and the largest of several, and the goal if there is one."""

    key: str
    title: str
    unit: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Growth:
    """How a cost grows: points (x, y), for a picture."""

    key: str
    title: str
    x: str
    y: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that a run measured.

    machine  what it ran on and with, by name
    rounds   peer (a) first if it was measured: its rounds are the others' reference
    """

    machine: Mapping[str, str]
    rounds: Sequence[Rounds] = ()
    figures: Sequence[Figure] = ()
    growth: Sequence[Growth] = field(default=())

    def of(self, key: str) -> Rounds | None:
        return next((each for each in self.rounds if each.key == key), None)

    def figure(self, key: str) -> float | None:
        return next((each.value for each in self.figures if each.key == key), None)

    def grown(self, key: str) -> Growth | None:
        return next((each for each in self.growth if each.key == key), None)


def ratios(peer: Rounds, other: Rounds) -> list[float]:
    """How many times cheaper than the peer each round was."""
    return [theirs / ours for theirs, ours in zip(peer.micros, other.micros, strict=True)]


_ADAPTER = TypeAdapter(Results)


def save(results: Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_ADAPTER.dump_json(results, indent=1) + b"\n")


def load(path: Path) -> Results:
    return _ADAPTER.validate_json(path.read_bytes())
