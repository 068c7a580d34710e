"""The model of the cost: us = a + b x distinct limits an event. Uses the standard library only."""

from collections.abc import Iterable, Sequence
from statistics import linear_regression


def fitted(points: Iterable[Sequence[float]]) -> tuple[float, float]:
    """a and b, from points of distinct limits an event and microseconds an event."""
    measured = list(points)
    fit = linear_regression([x for x, _ in measured], [y for _, y in measured])
    return fit.intercept, fit.slope
