"""Records per second, from samples of counters. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from consumer.engine.folding import Outcome
from consumer.pages.sampling import EVERY_SECONDS, Sample
from consumer.pages.scrapes import Scrape

LONGEST_SECONDS = 6 * EVERY_SECONDS
"""Two samples further apart have a time between them in which nobody looked: its rate would be a mere average."""
_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Point:
    """What the workers did between two samples, all of them together.

    at       Unix seconds of the second sample
    records  per second, by outcome; None if it is not known
    behind   seconds that the furthest shard is behind the stream; None if it is not known
    """

    at: float
    records: Mapping[Outcome, float] | None
    behind: float | None

    @property
    def total(self) -> float | None:
        return None if self.records is None else sum(self.records.values())

    def rate(self, outcome: Outcome) -> float | None:
        return None if self.records is None else self.records.get(outcome, 0.0)


def points(samples: Sequence[Sample]) -> list[Point]:
    """One for each sample but the first."""
    return [Point(after.at, _rates(before, after), _behind(after)) for before, after in pairwise(samples)]


def by_minute(points: Iterable[Point]) -> list[Point]:
    """One for each minute of the clock: the average rates, and the furthest that a shard was behind."""
    minutes: defaultdict[int, list[Point]] = defaultdict(list)
    for point in points:
        minutes[int(point.at // _MINUTE)].append(point)
    return [_joined(float(minute * _MINUTE), each) for minute, each in sorted(minutes.items())]


def _rates(before: Sample, after: Sample) -> dict[Outcome, float] | None:
    seconds = after.clock - before.clock
    both = before.scrapes.keys() & after.scrapes.keys()
    if not both or not 0 < seconds <= LONGEST_SECONDS:
        return None
    pairs = [(before.scrapes[address], after.scrapes[address]) for address in both]
    return {outcome: sum(_increase(*pair, outcome) for pair in pairs) / seconds for outcome in Outcome}


def _increase(before: Scrape, after: Scrape, outcome: Outcome) -> float:
    earlier, later = before.records.get(outcome, 0.0), after.records.get(outcome, 0.0)
    # A counter that is less than before counts from the start of another process.
    return later - earlier if later >= earlier else later


def _behind(sample: Sample) -> float | None:
    return max((each.behind for each in sample.scrapes.values() if each.behind is not None), default=None)


def _joined(at: float, points: Sequence[Point]) -> Point:
    known = [point.records for point in points if point.records is not None]
    records = {outcome: sum(each[outcome] for each in known) / len(known) for outcome in Outcome} if known else None
    return Point(at, records, max((point.behind for point in points if point.behind is not None), default=None))
