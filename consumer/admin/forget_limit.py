"""`consumer limits forget`: deletes a stored limit and logs who deleted it."""

import getpass
import logging
import os
import socket

from consumer.engine.projection import Key
from consumer.engine.repository import Stored
from consumer.limits.repository import UserLimitRepository
from consumer.limits.state import LimitState

log = logging.getLogger(__name__)


def forget(limits: UserLimitRepository, table: str, key: Key, found: Stored[LimitState]) -> bool:
    """Deletes the limit if it is still as `found`. Returns whether it was deleted. Raises Unavailable."""
    deleted = limits.forget(key, found)
    if deleted:
        log.warning("limit forgotten", extra=audit_fields(table, key, found))
    return deleted


def audit_fields(table: str, key: Key, found: Stored[LimitState]) -> dict[str, object]:
    """Who changed what, and where. No other log line of the commands has a user's id: this needs an audit trail."""
    return {
        "user": _operator(),
        "host": socket.gethostname(),
        "table": table,
        "user_id": key[0],
        "user_limit_id": key[1],
        "version": found.version,
    }


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # the user of a container may have no name
        return str(os.getuid())
