"""Text from elsewhere, in a form that can be shown: it is still escaped for HTML by the templates. Pure."""

from datetime import UTC, datetime

LONGEST = 4_000
"""The most characters that are shown of a record."""
UNKNOWN = "-"

_BYTES_PER_CHARACTER = 4
_LAYOUT = "\n\t"


def plain(text: str) -> str:
    """The text with every character escaped that cannot be seen: controls, marks that turn the direction of the
    text, and lone surrogates, which no page can contain."""
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def decoded(data: bytes, longest: int = LONGEST) -> tuple[str, bool]:
    """The first characters of the data, and whether that is all of it. Bytes that are not UTF-8 become `\\xff`.

    Line breaks and tabs are kept.
    """
    # No character is cut in two: each of the first `longest` ends within so many bytes.
    text = data[: longest * _BYTES_PER_CHARACTER].decode("utf-8", "backslashreplace")
    is_all = len(text) <= longest and len(data) <= longest * _BYTES_PER_CHARACTER
    shown = "".join(each if each.isprintable() or each in _LAYOUT else _escaped(each) for each in text[:longest])
    return shown, is_all


def moment(millis: int) -> str:
    """`2026-01-31 09:30:00 UTC`. UNKNOWN if it is 0 or out of range."""
    try:
        found = datetime.fromtimestamp(millis / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return UNKNOWN
    return f"{found:%Y-%m-%d %H:%M:%S} UTC" if millis else UNKNOWN


def time_of_day(seconds: float) -> str:
    """`09:30:00`, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]
