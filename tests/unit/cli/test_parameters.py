"""Options that several commands share."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from consumer.cli.parameters import checked_key, checked_moment
from consumer.cli.verify import _share


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T00:00:00Z", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T01:00+01:00", datetime(2026, 1, 31, tzinfo=UTC)),
        ("1769817600", datetime(2026, 1, 31, tzinfo=UTC)),
        (None, None),
    ],
)
def test_a_time(text: str | None, moment: datetime | None) -> None:
    assert checked_moment(text) == moment


@pytest.mark.parametrize(
    ("text", "ago"), [("90m", timedelta(minutes=90)), ("36h", timedelta(hours=36)), ("7d", timedelta(days=7))]
)
def test_how_long_ago(text: str, ago: timedelta) -> None:
    before = datetime.now(UTC)
    moment = checked_moment(text)
    assert moment
    assert before - ago <= moment <= datetime.now(UTC) - ago


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-01-31", "2026-01-31T00:00:00", "36", "1.5h", "-1d", "7w", "9999999d"]
)
def test_no_time(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="2026-01-31T00:00:00Z"):
        checked_moment(text)


def test_a_user() -> None:
    assert checked_key(None) is None
    assert checked_key("u-1") == "u-1"
    with pytest.raises(typer.BadParameter):
        checked_key("")


@pytest.mark.parametrize(("text", "share"), [(None, 1.0), ("5%", 0.05), ("0.5", 0.5), ("100%", 1.0), ("1", 1.0)])
def test_a_share(text: str | None, share: float) -> None:
    assert _share(text) == share


@pytest.mark.parametrize("text", ["", "%", "0", "0%", "-5%", "101%", "1.1", "nan", "inf", "five", "5%%"])
def test_no_share(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="such as 5%"):
        _share(text)
