"""Whether a stored limit contradicts the one that its events lead to. Pure."""

from collections.abc import Mapping

from consumer.engine.projection import Plain
from consumer.limits import codec
from consumer.limits.state import LimitState


def contradicts(table: LimitState, archive: LimitState) -> bool:
    """Whether both have different contents from one event, or another brand or currency: a join would hide one."""
    if table == archive:
        return False
    left, right = codec.dump(table), codec.dump(archive)
    return any(_differ(left[name], right[name]) for name in left.keys() & right.keys())


def _differ(left: Plain, right: Plain) -> bool:
    """Whether the contents of an attribute differ, although they are from one event."""
    if left == right:
        return False
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return all(left[part] == right[part] for part in ("sequence", "eventId", "at"))
    return True
