"""The table of limits on a terminal."""

import pytest

from consumer.cli import tables
from consumer.limits.view import view
from tests.support.generators.events import DAY, START, USER, Event, created
from tests.support.simulation.core import Core, readable


def note(event: Event) -> list[str]:
    core = Core()
    core.deliver(event)
    (state,) = readable(core.repository, USER)
    return tables.note(view(state, START + DAY)).plain.splitlines()


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (created(1), []),
        (created(1, nextResetTime=START), ["reset overdue"]),
        (created(1, nextResetTime=START // 1_000), ["odd reset time"]),
        (created(1, nextResetTime=START * 1_000), ["odd reset time"]),
        (created(1, activeUntil=START * 1_000), ["odd times"]),
        (created(1, activeFrom=0, nextResetTime=0), ["odd reset time", "odd times"]),
    ],
    ids=["sound", "overdue", "seconds", "microseconds", "another time", "both"],
)
def test_an_implausible_time_replaces_the_note_that_it_makes_untrue(event: Event, wanted: list[str]) -> None:
    assert note(event) == wanted
