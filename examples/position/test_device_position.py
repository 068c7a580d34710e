"""The promises of a projection, and what becomes of late, repeated and wrong reports."""

import json
from typing import Any

import pytest
from hypothesis import strategies as st

from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome
from consumer.testing import CHECKS, Check, Subject, applied
from device_position import CLOCK_WENT_BACK, LastPosition


def report(number: int = 1, **fields: Any) -> bytes:
    defaults = {"fleet": "north", "device": "van-7", "at": 1_000 * number, "latitude": 59329300, "longitude": 18068600}
    return json.dumps({"number": number, **defaults, **fields}).encode()


POSITIONS = Subject(
    LastPosition(),
    # few numbers and times, so that reports collide, and even contradict one another
    st.builds(
        report,
        st.integers(1, 3),
        at=st.integers(0, 3),
        latitude=st.sampled_from([-90_000_000, 0, 90_000_000]),
        longitude=st.integers(-180_000_000, 180_000_000),
    ),
)


@pytest.mark.parametrize("check", CHECKS)
def test_it_keeps_the_promises_of_a_projection(check: Check) -> None:
    check(POSITIONS)


def test_the_last_report_of_each_device_is_kept() -> None:
    other = report(1, device="van-8", latitude=0)
    result = applied(LastPosition(), report(2, latitude=5), report(1), report(2, latitude=5), other)
    assert result.outcomes == [Outcome.APPLIED, Outcome.STALE, Outcome.DUPLICATE, Outcome.APPLIED]
    assert [(kept.device, kept.latitude) for kept in result.states] == [("van-7", 5), ("van-8", 0)]


def test_a_clock_that_went_back_is_a_warning() -> None:
    result = applied(LastPosition(), report(1, at=2_000), report(2, at=1_000))
    assert result.warnings == {CLOCK_WENT_BACK: 1}
    assert [kept.number for kept in result.states] == [2]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no JSON", Reason.JSON),
        (report(latitude=59.3), Reason.SCHEMA),
        (report(longitude=180_000_001), Reason.SCHEMA),
        (report(device=""), Reason.SCHEMA),
    ],
)
def test_a_wrong_report_is_quarantined_and_the_next_is_applied(data: bytes, reason: Reason) -> None:
    result = applied(LastPosition(), data, report())
    assert result.outcomes == [Outcome.QUARANTINED, Outcome.APPLIED]
    assert result.quarantined == [reason]
