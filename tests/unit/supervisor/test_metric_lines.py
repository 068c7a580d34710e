"""The metrics in the log of the supervisor: at the same times in every worker, whatever the log level is."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from consumer.monitoring.logs import JsonLines, Readable
from consumer.supervisor.metric_lines import metric_lines
from tests.support.driven.waiting import until
from tests.support.emulators import emf

LINE = {
    "_aws": {
        "Timestamp": 1,
        "CloudWatchMetrics": [
            {"Namespace": "N", "Dimensions": [["application"]], "Metrics": [{"Name": "m", "Unit": "None"}]}
        ],
    },
    "application": "a",
    "m": 1.5,
}


class Lines:
    """Stands for WorkerLines. `fails`: how many lines cannot be made."""

    def __init__(self, fails: int = 0) -> None:
        self.times: list[float] = []
        self.fails = fails

    def line(self, now: float) -> dict[str, Any]:
        self.times.append(now)
        if len(self.times) <= self.fails:
            raise OSError("no such file")
        return LINE

    def last(self, _now: float) -> dict[str, Any]:
        return {**LINE, "m": 0.5}


def moving(*moments: float) -> Callable[[], float]:
    """A clock that shows one moment after the other, then stays."""
    left = list(moments)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def run(lines: Lines, clock: Callable[[], float], wanted: int) -> None:
    made: Any = lines
    with metric_lines(60, made, clock):
        until(lambda: len(lines.times) >= wanted, f"{wanted} lines")


def test_lines_are_of_whole_intervals_also_if_a_wait_ends_a_moment_early_or_late() -> None:
    lines = Lines()
    # waited for, then written: a moment early, the rest of that wait, then late
    run(lines, moving(119.99, 119.995, 119.995, 119.999, 179.99, 180.2, 239.995, 240.0, 299.9999), wanted=3)

    assert lines.times[:3] == [120, 180, 240]


def test_every_line_can_be_read_by_cloudwatch_and_has_the_fields_of_a_log_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("consumer"), "level", logging.ERROR)
    run(Lines(), moving(59.99, 60.0, 119.9), wanted=1)
    written = [record for record in caplog.records if record.message == "metrics"]
    readings = [emf.read(JsonLines().format(record)) for record in written]

    assert [reading.values["m"] for reading in readings[:1] + readings[-1:]] == [[1.5], [0.5]], "the last at the end"
    assert all(reading.properties.keys() == {"time", "level", "logger", "message"} for reading in readings)
    assert "application=a m=1.5" in Readable().format(written[0])
    assert "_aws" not in Readable().format(written[0])


def test_a_line_that_cannot_be_made_is_reported_and_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    run(Lines(fails=1), moving(59.99, 60.0, 119.99, 120.0, 179.9), wanted=2)
    first, second, *_ = caplog.records

    assert (first.message, first.__dict__["cause"]) == ("metrics not written", "OSError: no such file")
    assert second.message == "metrics"
