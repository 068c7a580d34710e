"""Ids in paths and cursors: as they are sent, and back.

The contract allows every printable character in an id, a slash and a percent sign too. Servers decode a path before it
is routed: `%2F` would then separate segments, and bytes that are not UTF-8 would become other characters. So the API is
routed by the path as it was sent (gate.py), and each segment is decoded here, strictly.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from urllib.parse import unquote_to_bytes

from pydantic import TypeAdapter

from consumer.limits.events import Id

_id: TypeAdapter[str] = TypeAdapter(Id)
_DOTS = frozenset({".", ".."})


def from_segment(segment: str) -> str:
    """The id in a segment of a path. Raises ValueError with a text that does not repeat the id."""
    try:
        found = _id.validate_python(unquote_to_bytes(segment).decode(), strict=True)
    except ValueError:
        raise ValueError("must be 1 to 128 characters in UTF-8, percent-encoded, without control characters") from None
    # Proxies and clients resolve these, also in the form `%2E%2E%2F`: the request might arrive for somebody else.
    if not _DOTS.isdisjoint(found.split("/")):
        raise ValueError("must not have a part `.` or `..` between slashes")
    return found


def to_cursor(user_limit_id: str) -> str:
    """The id in letters, digits, `-` and `_`. It is not a secret: its holder has read that limit."""
    return urlsafe_b64encode(user_limit_id.encode()).decode().rstrip("=")


def from_cursor(cursor: str) -> str:
    """Raises ValueError for what `to_cursor` never returns."""
    try:
        found = _id.validate_python(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode(), strict=True)
    except ValueError:
        found = None
    # The decoder skips foreign characters.
    if found is None or to_cursor(found) != cursor:
        raise ValueError("must be the `nextCursor` of an answer")
    return found
