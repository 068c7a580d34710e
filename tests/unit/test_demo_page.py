"""What `make demo` shows people: the events of the limit that moves, and the wait for Enter."""

import os
from collections.abc import Iterator
from io import FileIO
from itertools import count, islice

import pytest

from consumer import bootstrap
from consumer.engine.folding import Outcome
from consumer.engine.retry_policy import NoRetry
from consumer.settings import RecordSettings
from examples.demo_page import STEP, VALUE, Enter, moving, wait_of
from tests.support.generators.events import START, record

ROUND = VALUE // STEP + 1
"""Events from nothing used to the reset."""


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileIO]:
    """The other end of standard input."""
    read, write = os.pipe()
    with os.fdopen(read) as stdin, FileIO(write, "w") as keys:
        monkeypatch.setattr("sys.stdin", stdin)
        yield keys


def test_every_event_of_the_limit_is_applied_without_a_warning() -> None:
    clock = count(START, 300)
    made = [each.data for each in islice(moving(lambda: next(clock)), 1 + 2 * ROUND)]
    core, _ = bootstrap.in_memory_processor(RecordSettings())
    result = core.process([record(data, number) for number, data in enumerate(made, 1)], NoRetry())
    assert result.outcomes == {Outcome.APPLIED: len(made)}
    assert result.warnings == {}


def test_enter_ends_the_wait(keyboard: FileIO) -> None:
    enter = Enter()
    assert not enter.within(0)
    keyboard.write(b"\n")
    keyboard.close()
    assert enter.within(10)


def test_a_closed_input_is_no_enter(keyboard: FileIO) -> None:
    keyboard.close()
    enter = Enter()
    assert not enter.within(10)
    assert not enter.within(0)


@pytest.mark.usefixtures("keyboard")
def test_without_a_terminal_it_waits_only_if_told_so() -> None:
    assert wait_of({}) is None
    assert wait_of({"DEMO_KEEP": "0"}) is None
    assert wait_of({"DEMO_KEEP": "1"}) is not None
