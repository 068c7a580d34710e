"""Small charts as SVG, without scripts and without inline styles. Pure.

A chart is an image with a title and a description. Its numbers stand in a table beside it (rates.by_minute).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from consumer.pages.texts import time_of_day

WIDTH, HEIGHT = 320, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 8, 10, 20
"""The space around the curve: the scale is on its left, the time below."""
_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Chart:
    """One curve over time.

    name    part of ids and classes: letters and hyphens
    unit    of the values, as it follows a number: `records per second`
    points  Unix seconds and values, in the order of time; None where the value is not known
    begin   Unix seconds at the left end
    end     Unix seconds at the right end
    """

    name: str
    title: str
    unit: str
    points: Sequence[tuple[float, float | None]]
    begin: float
    end: float

    @property
    def known(self) -> list[float]:
        return [value for _, value in self.points if value is not None]

    @property
    def last(self) -> str:
        """The latest value in words."""
        last = self.points[-1][1] if self.points else None
        return "not known" if last is None else f"{figure(last)} {self.unit}"

    @property
    def description(self) -> str:
        """What a viewer would see, in one sentence."""
        span = f"From {time_of_day(self.begin)} to {time_of_day(self.end)} UTC"
        if not self.known:
            return f"{span}: no values yet."
        return f"{span}: lowest {figure(min(self.known))}, highest {figure(max(self.known))}, last {self.last}."


def svg(chart: Chart) -> Markup:
    """The chart as an image. Everything in it is escaped."""
    top = scale_end(max(chart.known, default=0.0))
    name = f"chart-{chart.name}"
    return Markup(
        '<svg class="chart {name}" role="img" aria-labelledby="{name}-title {name}-text"'
        ' viewBox="0 0 {width} {height}">'
        '<title id="{name}-title">{title}</title><desc id="{name}-text">{text}</desc>{scale}{curve}</svg>'
    ).format(
        name=name,
        width=WIDTH,
        height=HEIGHT,
        title=chart.title,
        text=chart.description,
        scale=_scale(chart, top),
        curve=_curve(chart, top),
    )


def scale_end(value: float) -> float:
    """The least of 1, 2, 5, 10, 20, ... (and 0.1, 0.2, ...) that is at least the value. 1 for 0."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    # A value just above a step, by an error of rounding, must not double the scale.
    return next((step * unit for step in _STEPS if value <= step * unit * (1 + 1e-9)), 10 * unit)


def figure(value: float) -> str:
    """`0`, `0.25`, `9.5`, `12`, `1,204`: two digits of small numbers."""
    if value == 0 or value >= 10:
        return f"{value:,.0f}"
    if value < 0.01:
        return "less than 0.01"
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _scale(chart: Chart, top: float) -> Markup:
    """Two lines with their values, and the times at both ends."""
    low, high, left, right = HEIGHT - _BOTTOM, _TOP, _LEFT, WIDTH - _RIGHT
    line = Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    label = Markup('<text class="label" x="{}" y="{}" text-anchor="{}">{}</text>')
    parts = (
        *(line.format(left, y, right, y) for y in (high, low)),
        label.format(left - 6, high + 4, "end", figure(top)),
        label.format(left - 6, low + 4, "end", "0"),
        label.format(left, HEIGHT - 5, "start", time_of_day(chart.begin)),
        label.format(right, HEIGHT - 5, "end", time_of_day(chart.end)),
    )
    return Markup("").join(parts)


def _curve(chart: Chart, top: float) -> Markup:
    """One path. A value that is not known is a gap in it."""
    pieces = [[_place(chart, top, at, value) for at, value in run] for run in _runs(chart.points)]
    path = " ".join(_path(piece) for piece in pieces)
    return Markup('<path class="curve" d="{}"/>').format(path) if path else Markup("")


def _runs(points: Iterable[tuple[float, float | None]]) -> Iterator[list[tuple[float, float]]]:
    """The points that follow each other without a gap."""
    run: list[tuple[float, float]] = []
    for at, value in points:
        if value is not None:
            run.append((at, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _place(chart: Chart, top: float, at: float, value: float) -> str:
    share = (at - chart.begin) / (chart.end - chart.begin) if chart.end > chart.begin else 1.0
    x = _LEFT + min(max(share, 0.0), 1.0) * (WIDTH - _LEFT - _RIGHT)
    y = HEIGHT - _BOTTOM - min(max(value / top, 0.0), 1.0) * (HEIGHT - _TOP - _BOTTOM)
    return f"{x:.1f} {y:.1f}"


def _path(places: Sequence[str]) -> str:
    # A line without a length is drawn as a dot, as its ends are round.
    return f"M{places[0]} " + (" ".join(f"L{place}" for place in places[1:]) or "h0")
