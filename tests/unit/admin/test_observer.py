"""The lag, from the response of Kinesis."""

from datetime import UTC, datetime
from typing import Any

import pytest

from consumer.admin import observer
from consumer.admin.status import Lag

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ARRIVED = "ApproximateArrivalTimestamp"


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ({"Records": [{ARRIVED: datetime(2025, 12, 31, 23, 59, 50, tzinfo=UTC)}], "MillisBehindLatest": 7_000}, 10.0),
        ({"Records": [], "MillisBehindLatest": 7_000}, 7.0),
        ({"Records": [], "MillisBehindLatest": None}, 0.0),
        ({"Records": [{}], "MillisBehindLatest": 7_000}, 7.0),
        ({"Records": [{ARRIVED: None}]}, 0.0),
    ],
)
def test_the_lag_is_the_age_of_the_first_record(answer: dict[str, Any], seconds: float) -> None:
    assert observer._lag_of(answer, NOW.timestamp()) == Lag(seconds)
