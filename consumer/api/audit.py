"""One log line for each read of somebody else's limits: who, whose, when, and which request."""

import logging

from consumer.api.callers import Caller

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # whatever CONSUMER_LOG_LEVEL is


def read(caller: Caller, user_id: str, request_id: str) -> None:
    """Logs that the caller reads the limits of `user_id`. `who` is null if the API does not know its callers.

    The formatters of consumer/monitoring/logs.py escape control characters in the ids.
    """
    log.info(
        "limits read",
        extra={
            "who": caller.subject,
            "whose": user_id,
            "request_id": request_id,
            "scopes": sorted(caller.scopes),
        },
    )
