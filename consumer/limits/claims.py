"""What a record says about itself, before anything is checked: records that can never be applied say it too.

It finds the records of a user in an archive. Whatever can be applied to a limit of a user claims to be of that user.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder

from consumer.engine.errors import Rejected
from consumer.engine.wire import parse_object


class Claims(NamedTuple):
    """`users` are the users that the record names: one, unless it contradicts itself. None for what it does not say."""

    users: frozenset[str] = frozenset()
    limit: str | None = None
    event_id: str | None = None
    type: str | None = None


class _Payload(Struct, rename="camel", gc=False):
    user_id: str | None = None
    user_limit_id: str | None = None


class _Event(Struct, rename="camel", gc=False):
    aggregate_id: str | None = None
    event_id: str | None = None
    type: str | None = None
    payload: _Payload | None = None


class _Owned(Struct, rename="camel", gc=False):
    aggregate_id: str | None = None


_NO_PAYLOAD = _Payload()
_quick = Decoder(_Event).decode
_quicker = Decoder(_Owned).decode


def claims(data: bytes) -> Claims:
    """The claims of a record's data, which is no aggregate. Nothing is claimed by what is no JSON object."""
    try:
        found = _quick(data)
    except (MsgspecError, RecursionError):
        # Not JSON, or a field that is no text, or text that only the standard library reads.
        return _claims_slowly(data)
    payload = found.payload or _NO_PAYLOAD
    return Claims(_users(found.aggregate_id, payload.user_id), payload.user_limit_id, found.event_id, found.type)


def users(data: bytes) -> frozenset[str]:
    return claims(data).users


def owner(data: bytes) -> str | None:
    """A user that the record names: the same one for all records that can be applied to limits of a user."""
    try:
        return _quicker(data).aggregate_id
    except (MsgspecError, RecursionError):
        return min(users(data), default=None)


def _claims_slowly(data: bytes) -> Claims:
    try:
        found = parse_object(data)
    except Rejected:
        return Claims()
    inner = found.get("payload")
    payload = inner if isinstance(inner, dict) else {}
    named = _users(_text(found, "aggregateId"), _text(payload, "userId"))
    return Claims(named, _text(payload, "userLimitId"), _text(found, "eventId"), _text(found, "type"))


def _users(*named: str | None) -> frozenset[str]:
    return frozenset(each for each in named if each is not None)


def _text(found: Mapping[str, object], name: str) -> str | None:
    """A lone surrogate, which no valid text has, is escaped."""
    value = found.get(name)
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else None
