"""A check that is repeated on its own thread."""

import logging
from collections.abc import Callable

import pytest

from consumer.supervisor import periodic
from tests.support.driven.waiting import until


def test_it_continues_after_any_error_and_logs_each_new_one(caplog: pytest.LogCaptureFixture) -> None:
    checks: list[str] = []

    def check() -> None:
        checks.append("")
        error: Callable[[str], Exception] = (ValueError, KeyError)[len(checks) > 3]
        raise error("odd")

    with caplog.at_level(logging.INFO), periodic.every(0.001, check):
        until(lambda: len(checks) > 6, "some checks")
    causes = [vars(record)["cause"] for record in caplog.records if record.message == "leases cannot be read"]
    assert causes == ["ValueError: odd", "KeyError: 'odd'"]
