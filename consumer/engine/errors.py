"""Every error the service knows, who catches it, and whether it is tried again.

Rejected            a record can never be applied     caught by the processor, which quarantines the record
Malformed           a row is no state we have stored   caught by the store, which reports the row as unreadable
Unavailable         the environment fails             caught by the processor, which waits and tries again
GaveUp              no more tries are allowed         caught by the entrypoint, which leaves the rest unsettled
BreakerOpen         too much poison in a row          caught by the entrypoint, which ends the worker
SettingsError       the service is set up wrongly     caught by the command line: one line each, exit 2
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
    """Root of this tree: nothing is raised as it is."""


class Rejected(ConsumerError):
    """A record that no retry can help. `detail` names the place and never holds what the record says."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def bare(self) -> "Rejected":
        """The same, to be kept. One that was raised holds all that its frames held, a whole batch as a rule.

        And for good: pydantic's errors hold the validators', out of the garbage collector's sight.
        """
        return Rejected(self.reason, self.detail)


class Malformed(ConsumerError):
    """Stored attributes that no state can be made of. The message names the place and never holds what they say."""


class Unavailable(ConsumerError):
    """Throttled, cut off, refused, missing: the same request may succeed later."""


class GaveUp(ConsumerError):
    """The caller's patience has ended before the environment came back."""


class BreakerOpen(ConsumerError):
    """More records in a row were rejected than the operator allows."""


class SettingsError(ConsumerError):
    """Each of `problems` is one line: what, where, what to do."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
