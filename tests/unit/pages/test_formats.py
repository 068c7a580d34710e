"""Numbers and times for people: exact, and in the form of the reader's language."""

from decimal import Decimal

import pytest

from consumer.limits.events import EARLIEST, LARGEST, LATEST
from consumer.pages.formats import Locale, amount, countdown, hours, locale_of, machine_readable, moment, number
from tests.support.generators.events import START

ENGLISH = Locale()
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("header", "written"),
    [
        (None, "1,234,567.5"),
        ("", "1,234,567.5"),
        ("sv-SE,sv;q=0.9,en;q=0.8", "1 234 567,5"),
        ("de", "1.234.567,5"),
        ("de-CH", "1\N{RIGHT SINGLE QUOTATION MARK}234\N{RIGHT SINGLE QUOTATION MARK}567.5"),
        ("en-IN", "12,34,567.5"),
        ("pt-PT, pt;q=0.5", "1 234 567,5"),
        ("pt-BR", "1.234.567,5"),
        ("xx-YY", "1,234,567.5"),
        ("xx, fi;q=0.5", "1 234 567,5"),
        ("en;q=0.1, sv;q=0.2", "1 234 567,5"),
        ("sv;q=0, de;q=0.001", "1.234.567,5"),
        ("sv;q=2", "1,234,567.5"),
        ("*", "1,234,567.5"),
        (", ,;;=,\x00", "1,234,567.5"),
        (",".join(["xx"] * 10 + ["de"]), "1,234,567.5"),
    ],
)
def test_numbers_are_written_as_the_readers_language_does(header: str | None, written: str) -> None:
    assert plain(number(Decimal("1234567.5"), locale_of(header))) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("12", "12"),
        ("999", "999"),
        ("1000", "1,000"),
        ("-1000", "-1,000"),
        ("1E+3", "1,000"),
        ("0.000000000000000001", "0.000000000000000001"),
        ("12345678901234567890.123456789012345678", "12,345,678,901,234,567,890.123456789012345678"),
        ("-99999999999999999999999999999999999999", "-99,999,999,999,999,999,999,999,999,999,999,999,999"),
    ],
)
def test_every_digit_is_written(value: str, written: str) -> None:
    assert number(Decimal(value), ENGLISH) == written


def test_an_amount_has_its_currency() -> None:
    assert amount(Decimal("1234.5"), "SEK", ENGLISH) == "1,234.5\N{NO-BREAK SPACE}SEK"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        ("0", "0 minutes"),
        ("1", "1 second"),
        ("59.5", "59.5 seconds"),
        ("60", "1 minute"),
        ("3600", "1 hour"),
        ("5400", "1 hour 30 minutes"),
        ("86399", "23 hours 59 minutes 59 seconds"),
        ("-5400", "-1 hour 30 minutes"),
        ("3600000", "1,000 hours"),
        ("0.000000000000000001", "0.000000000000000001 seconds"),
        ("36000000000000000000.000000000000000001", "10,000,000,000,000,000 hours 0.000000000000000001 seconds"),
    ],
)
def test_seconds_are_hours_and_minutes(seconds: str, written: str) -> None:
    assert plain(hours(Decimal(seconds), ENGLISH)) == written


@pytest.mark.parametrize(
    ("millis", "written"),
    [
        (0, "less than a minute"),
        (MINUTE - 1, "less than a minute"),
        (MINUTE, "1 minute"),
        (HOUR - 1, "59 minutes"),
        (HOUR, "1 hour"),
        (3 * HOUR + 12 * MINUTE, "3 hours 12 minutes"),
        (DAY, "1 day"),
        (2 * DAY + 3 * HOUR + MINUTE, "2 days 3 hours"),
    ],
)
def test_a_countdown_names_the_two_largest_units(millis: int, written: str) -> None:
    assert plain(countdown(millis)) == written


def test_a_time_names_its_month_and_its_zone() -> None:
    assert moment(START + 14 * HOUR + 5 * MINUTE) == "1 January 2026, 14:05 UTC"
    assert machine_readable(START) == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("millis", [0, EARLIEST - 1, LATEST, -LARGEST, LARGEST])
def test_an_impossible_time_is_said_to_be_one(millis: int) -> None:
    assert moment(millis) == f"an impossible time ({millis} ms)"
    assert machine_readable(millis) is None


@pytest.mark.parametrize("millis", [EARLIEST, LATEST - 1])
def test_the_first_and_the_last_possible_time(millis: int) -> None:
    assert moment(millis).endswith(" UTC")
    assert machine_readable(millis)
