"""Charts: the curve, its scale, its words; and records per second from counters."""

from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from consumer.engine.folding import Outcome
from consumer.pages import rates
from consumer.pages.charts import HEIGHT, WIDTH, Chart, figure, scale_end, svg
from consumer.pages.rates import LONGEST_SECONDS, Point
from consumer.pages.sampling import Sample
from consumer.pages.scrapes import Scrape
from consumer.pages.throughput import HEADS, throughput

AT = 1_767_225_600.0
"""2026-01-01 00:00:00 UTC."""


def chart(*values: float | None, title: str = "All records") -> Chart:
    """Values every 60 seconds, the last one at the right end."""
    points = [(AT + 60.0 * place, value) for place, value in enumerate(values)]
    end = AT + 60.0 * max(0, len(values) - 1)
    return Chart("all", title, "records per second", points, min(AT, end - 60), end)


def parsed(found: Chart) -> ET.Element:
    """The image as XML: browsers forgive more than this parser."""
    return ET.fromstring(svg(found))


def curve(found: Chart) -> str:
    paths = parsed(found).findall("path")
    return " ".join(path.attrib["d"] for path in paths)


# the image


def test_a_curve_goes_from_the_left_to_the_right_and_is_higher_for_more() -> None:
    assert curve(chart(0, 10, 5)) == "M48.0 100.0 L180.0 10.0 L312.0 55.0"


def test_an_unknown_value_is_a_gap_and_a_lonely_one_a_dot() -> None:
    assert curve(chart(1, 1, None, 1)) == "M48.0 10.0 L136.0 10.0 M312.0 10.0 h0"


@pytest.mark.parametrize("values", [(), (None,), (None, None)])
def test_without_values_there_is_no_curve(values: Sequence[None]) -> None:
    found = chart(*values)
    assert curve(found) == ""
    assert found.description.endswith("UTC: no values yet.")
    assert found.last == "not known"


def test_nothing_is_drawn_outside() -> None:
    odd = replace(chart(5, 7, 3), begin=AT + 30, end=AT + 60)
    numbers = [float(number) for number in curve(odd).replace("M", " ").replace("L", " ").split()]
    assert all(0 <= x <= WIDTH for x in numbers[::2])
    assert all(0 <= y <= HEIGHT for y in numbers[1::2])


def test_the_image_has_a_name_and_a_description() -> None:
    image = parsed(chart(1, 1204, 980))
    texts = {element.attrib["id"]: element.text for element in image if "id" in element.attrib}
    assert image.attrib["role"] == "img"
    assert [texts[name] for name in image.attrib["aria-labelledby"].split()] == [
        "All records",
        "From 00:00:00 to 00:02:00 UTC: lowest 1, highest 1,204, last 980 records per second.",
    ]


def test_the_scale_names_its_ends() -> None:
    labels = [element.text for element in parsed(chart(1, 1204, 980)).findall("text")]
    assert labels == ["2,000", "0", "00:00:00", "00:02:00"]


def test_a_title_is_text() -> None:
    image = parsed(chart(1, title="</title><script>alert(1)</script>"))
    assert image.find("title") is not None
    assert [element.tag for element in image.iter("script")] == []


def test_there_are_no_inline_styles() -> None:
    assert [element for element in parsed(chart(1, 2)).iter() if "style" in element.attrib] == []


@pytest.mark.parametrize(
    ("value", "end"),
    [(0, 1), (0.07, 0.1), (0.1, 0.1), (0.3, 0.5), (1, 1), (1.01, 2), (2, 2), (3, 5), (7, 10), (10, 10), (1204, 2000)],
)
def test_the_scale_ends_at_a_round_number(value: float, end: float) -> None:
    assert scale_end(value) == pytest.approx(end)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.001, "less than 0.01"),
        (0.25, "0.25"),
        (0.5, "0.5"),
        (9.96, "9.96"),
        (12.4, "12"),
        (1204.4, "1,204"),
        (5_000_000, "5,000,000"),
    ],
)
def test_a_figure_has_few_digits(value: float, text: str) -> None:
    assert figure(value) == text


# rates


def sample(clock: float, *scrapes: Scrape | None) -> Sample:
    """What the workers w0, w1, ... served; None for one that did not answer."""
    named = {f"w{number}": each for number, each in enumerate(scrapes)}
    read = {name: each for name, each in named.items() if each is not None}
    return Sample(AT + clock, clock, read, {name: "away" for name, each in named.items() if each is None})


def counted(applied: float, behind: float | None = None, **others: float) -> Scrape:
    return Scrape({Outcome.APPLIED: applied, **{Outcome(name): each for name, each in others.items()}}, behind)


def test_a_rate_is_the_increase_of_all_workers_per_second() -> None:
    before, after = sample(0, counted(100), counted(7)), sample(5, counted(150, stale=10), counted(7))
    (point,) = rates.points([before, after])
    assert (point.at, point.rate(Outcome.APPLIED), point.rate(Outcome.STALE), point.total) == (AT + 5, 10, 2, 12)
    assert point.rate(Outcome.QUARANTINED) == 0


def test_a_counter_that_begins_again_counts_from_zero() -> None:
    (point,) = rates.points([sample(0, counted(1_000)), sample(5, counted(50))])
    assert point.total == 10


def test_a_worker_that_is_away_is_left_out() -> None:
    (point,) = rates.points([sample(0, counted(100), None), sample(5, counted(150), counted(9_000))])
    assert point.total == 10


@pytest.mark.parametrize(
    "samples",
    [
        [sample(0, None), sample(5, counted(1))],
        [sample(0, counted(1)), sample(5, None)],
        [sample(0, counted(1)), sample(LONGEST_SECONDS + 1, counted(1))],
        [sample(5, counted(1)), sample(5, counted(1))],
    ],
)
def test_a_rate_that_is_not_known_is_not_zero(samples: Sequence[Sample]) -> None:
    (point,) = rates.points(samples)
    assert (point.records, point.total, point.rate(Outcome.APPLIED)) == (None, None, None)


def test_the_furthest_shard_counts() -> None:
    (point,) = rates.points([sample(0), sample(5, counted(0, 1.5), counted(0, 30.0), counted(0))])
    assert point.behind == 30.0


def test_a_minute_has_the_average_rate_and_the_furthest_shard() -> None:
    found = [
        Point(AT + 10, dict.fromkeys(Outcome, 2.0), 1.0),
        Point(AT + 20, None, 9.0),
        Point(AT + 59, dict.fromkeys(Outcome, 4.0), None),
        Point(AT + 60, None, None),
    ]
    first, second = rates.by_minute(found)
    assert (first.at, first.rate(Outcome.STALE), first.behind) == (AT, 3.0, 9.0)
    assert second == Point(AT + 60, None, None)


# what the page gets


def test_every_outcome_has_its_curve_and_its_column() -> None:
    found = throughput([sample(0, counted(0)), sample(5, counted(5))], ["w0"], AT + 5)
    assert [curve.title for curve in found.curves] == [
        "All records",
        "Applied",
        "Duplicate",
        "Stale",
        "Ignored",
        "Quarantined",
        "Behind the stream, the furthest shard",
    ]
    assert [len(row) for row in found.rows] == [len(HEADS)]
    assert found.rows[0] == ("00:00", "1", "1", "0", "0", "0", "0", "-")


def test_the_latest_minute_comes_first() -> None:
    samples = [sample(clock, counted(0)) for clock in (0.0, 20.0, 40.0, 60.0, 80.0)]
    assert [row[0] for row in throughput(samples, ["w0"], AT + 80).rows] == ["00:01", "00:00"]


def test_one_sample_makes_no_curve() -> None:
    found = throughput([sample(0, counted(0), None)], ["w0", "w1"], AT)
    assert (found.curves, found.rows, found.missing) == ([], [], 1)
    assert [worker.problem for worker in found.workers] == ["", "away"]
