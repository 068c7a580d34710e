"""The errors of the service, and who catches them.

Rejected        a record can never be applied              the processor, which quarantines the record
Malformed       stored attributes are not a valid state    the store, which reports the row as unreadable
Unavailable     the environment fails                      the processor, which retries
GaveUp          no more retries are allowed                the processor, which leaves the rest unsettled
BreakerOpen     too many consecutive records are rejected  the record processor or Lambda handler, which stops
SettingsError   the configuration is wrong                 the command line: one line per problem, exit code 2
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a record is quarantined. The wire values are part of the contract (docs/reference/events.md)."""

    RECORD_DATA = "RECORD_DATA"
    ENCODING = "ENCODING"
    JSON = "JSON"
    NOT_OBJECT = "NOT_OBJECT"
    TOO_LARGE = "TOO_LARGE"
    SCHEMA = "SCHEMA"
    IDENTITY = "IDENTITY"
    SEQUENCE = "SEQUENCE"
    AGGREGATE = "AGGREGATE"
    STORED_STATE = "STORED_STATE"


class ConsumerError(Exception):
    """Root of this tree. It is not raised itself."""


class Rejected(ConsumerError):
    """A record that no retry can help. `detail` names the place and never contains data of the record.

    `event_type` is the type of the event if that was decoded, otherwise empty.
    """

    def __init__(self, reason: Reason, detail: str, event_type: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.event_type = event_type

    def bare(self) -> "Rejected":
        """A copy to keep. A raised exception references its frames, and with them usually a whole batch.

        It would never be freed: pydantic's errors hold references that the garbage collector does not see.
        """
        return Rejected(self.reason, self.detail, self.event_type)


class Malformed(ConsumerError):
    """Stored attributes that are not a valid state. The message names the place and never contains their data."""


class Unavailable(ConsumerError):
    """Throttled, disconnected, refused, missing: the same request may succeed later."""


class GaveUp(ConsumerError):
    """The retry policy allows no more attempts, and the environment still fails."""


class BreakerOpen(ConsumerError):
    """More consecutive records were rejected than the operator allows."""


class SettingsError(ConsumerError):
    """Each of `problems` is one line: what is wrong, where, and what to do."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
