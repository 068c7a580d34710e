"""Numbers and times for people. Every digit is shown: nothing is rounded.

Numbers are written as the reader's language does. The text is English, so dates name the month, which no language reads
as another.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from consumer.limits import money
from consumer.limits.events import is_odd

NO_BREAK = "\N{NO-BREAK SPACE}"
LANGUAGES = 10
"""How many languages of a request are looked at."""

_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
_RANGE = re.compile(r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*)?")


@dataclass(frozen=True, slots=True)
class Locale:
    """How numbers are written: the sign before the decimals, and the one between groups of three digits."""

    point: str = "."
    group: str = ","
    is_indian: bool = False
    """Whether groups have two digits, except the last."""


_POINT, _COMMA, _SPACE = Locale(), Locale(",", "."), Locale(",", NO_BREAK)
_SWISS, _INDIAN = Locale(".", _APOSTROPHE), Locale(is_indian=True)
_BY_MARKS: Mapping[Locale, str] = {
    _POINT: "en he ja ko th zh ms es-mx es-us es-gt",
    _COMMA: "de da es it nl pt tr el id hr sl sr ro is vi ca gl eu",
    _SPACE: "sv fi nb nn no fr cs sk pl ru uk bg et lv lt hu pt-pt de-at en-za sq hy ka",
    _SWISS: "de-ch de-li it-ch fr-ch rm",
    _INDIAN: "hi en-in ta te bn mr gu kn ml pa",
}
_LOCALES: Mapping[str, Locale] = {tag: locale for locale, tags in _BY_MARKS.items() for tag in tags.split()}


def locale_of(accept_language: str | None) -> Locale:
    """The first language that is known, in the order that the reader prefers. English without one."""
    for tag in _preferred(accept_language or ""):
        known = _LOCALES.get(tag) or _LOCALES.get(tag.partition("-")[0])
        if known:
            return known
    return _POINT


def _preferred(header: str) -> Iterable[str]:
    parts = (_RANGE.fullmatch(part) for part in header.split(",", LANGUAGES)[:LANGUAGES])
    found = [(float(match[2] or 1), match[1].lower()) for match in parts if match]
    return [tag for weight, tag in sorted(found, key=lambda each: -each[0]) if weight]


def number(value: Decimal, locale: Locale) -> str:
    """`1,234.5`"""
    digits = money.plain(value.copy_abs())
    whole, _, decimals = digits.partition(".")
    sign = "-" if value < 0 else ""
    return sign + _grouped(whole, locale) + (locale.point + decimals if decimals else "")


def _grouped(digits: str, locale: Locale) -> str:
    size = 2 if locale.is_indian else 3
    rest, groups = digits[:-3], [digits[-3:]]
    while rest:
        rest, groups = rest[:-size], [rest[-size:], *groups]
    return locale.group.join(groups)


def amount(value: Decimal, currency: str, locale: Locale) -> str:
    """`1,234.5 SEK`"""
    return f"{number(value, locale)}{NO_BREAK}{currency}"


def hours(seconds: Decimal, locale: Locale) -> str:
    """`1 hour 30 minutes`. Seconds are shown if there are any, with their decimals."""
    # Operators of Decimal round to 28 digits.
    whole = int(seconds)
    fraction = money.subtract(seconds, Decimal(whole)).copy_abs()
    minutes, rest = divmod(abs(whole), 60)
    parts = [(Decimal(minutes // 60), "hour"), (Decimal(minutes % 60), "minute"), (rest + fraction, "second")]
    shown = [_counted(number(value, locale), word) for value, word in parts if value] or ["0 minutes"]
    return ("-" if seconds < 0 else "") + " ".join(shown)


def moment(millis: int) -> str:
    """`30 November 2026, 14:05 UTC`"""
    if is_odd(millis):
        return f"an impossible time ({millis} ms)"
    at = _at(millis)
    return f"{at.day} {at:%B %Y}, {at:%H:%M} UTC"


def machine_readable(millis: int) -> str | None:
    """For the attribute `datetime` of the element `time`. None for a time that it cannot have."""
    return None if is_odd(millis) else f"{_at(millis):%Y-%m-%dT%H:%M:%SZ}"


def _at(millis: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)


def countdown(millis: int) -> str:
    """`2 days 3 hours`, `3 hours 12 minutes`, `12 minutes`, for a time that is so far away."""
    minutes = millis // 60_000
    hours_left, minutes_left = divmod(minutes, 60)
    days, hours_of_day = divmod(hours_left, 24)
    if not minutes:
        return "less than a minute"
    parts = [(days, "day"), (hours_of_day, "hour")] if days else [(hours_left, "hour"), (minutes_left, "minute")]
    return " ".join(_counted(str(value), word) for value, word in parts if value)


def _counted(value: str, word: str) -> str:
    return f"{value}{NO_BREAK}{word}{'' if value == '1' else 's'}"
