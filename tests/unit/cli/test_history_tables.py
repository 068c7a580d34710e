"""Histories and pairs of states as tables: what they mark, and that text of events cannot do anything to a terminal."""

from io import StringIO

import pytest
from rich.console import Console, RenderableType

from consumer.cli.history_tables import arrival, compared_table, steps_table
from consumer.limits.view import UserLimit
from tests.support.generators.events import START, created, progress_changed, reset
from tests.unit.limits.test_history import history

NOW = ("now", "without the event")


def text(shown: RenderableType, width: int = 160) -> list[str]:
    """The lines, each with single blanks."""
    kept = StringIO()
    Console(file=kept, width=width, markup=False, highlight=False).print(shown)
    return [" ".join(line.split()) for line in kept.getvalue().splitlines()]


def limit(*events: object) -> UserLimit:
    found = history(*events)[-1].limit()  # type: ignore[arg-type]
    assert found is not None
    return found


def test_what_differs_is_marked() -> None:
    lines = text(compared_table(NOW, limit(created(1), progress_changed(2)), limit(created(1))))
    assert "* progress 10 0" in lines
    assert "* lastEventAt 2026-01-01 00:00:02 2026-01-01 00:00:01" in lines
    assert "value 1000 1000" in lines
    assert len([line for line in lines if line.startswith("*")]) == 4


def test_without_the_event_there_may_be_nothing() -> None:
    lines = text(compared_table(NOW, limit(created(1)), None))
    assert "* status ACTIVE -" in lines
    assert not [line for line in lines if line.startswith("value")]


@pytest.mark.parametrize("width", [80, 200])
def test_a_history_fits_a_terminal(width: int) -> None:
    steps = history(created(1), progress_changed(2, amount="1500"), progress_changed(3, amount="x"), reset(4))
    kept = StringIO()
    Console(file=kept, width=width, markup=False).print(steps_table(steps))
    assert max(map(len, kept.getvalue().splitlines())) <= width


def test_the_text_of_an_event_is_text() -> None:
    lines = text(steps_table(history(created(1, "[red]\x1b[2J\u202e"), progress_changed(2, "e" * 500, amount="x"))))
    whole = "\n".join(lines)
    assert "[red]\\x1b[2J\\u202e" in whole
    assert "\x1b" not in whole
    assert whole.count("e" * 20) < 20


def test_a_time_of_arrival() -> None:
    assert arrival(START) == "2026-01-01 00:00:00"
    assert arrival(0) == "?"
