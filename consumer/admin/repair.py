"""`consumer repair`: replaces a stored limit with what it would be if an event had not been, and logs who did it.

It replaces and does not merge: a merge would bring back what the event has written.
"""

import logging

from consumer.admin.forget_limit import audit_fields
from consumer.engine.repository import PendingWrite, Versioned
from consumer.limits.repairing import Repair
from consumer.limits.repository import UserLimitRepository
from consumer.limits.state import LimitState

log = logging.getLogger(__name__)


def carry_out(
    limits: UserLimitRepository, table: str, found: Versioned[LimitState], planned: Repair, event_id: str
) -> bool:
    """Replaces the limit if it is still as `found`. Returns whether it was replaced. Raises Unavailable.

    A worker with the state before it in its cache detects by the version that the limit has changed.
    """
    key = (found.state.user_id, found.state.user_limit_id)
    if planned.after is None:
        version = None if limits.forget(key, found) else found.version
    else:
        saved = limits.save({key: PendingWrite(found, planned.after)})
        for cause in saved.unknown.values():
            raise cause
        version = saved.stored[key].version if key in saved.stored else found.version
    if version == found.version:
        return False
    more = {"without_event": event_id, "new_version": version}
    log.warning("limit repaired", extra={**audit_fields(table, key, found), **more})
    return True
