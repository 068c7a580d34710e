"""What is in a quarantined record, and what the present code says about it, without any store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec.json

from consumer import bootstrap
from consumer.admin.replay import as_delivered
from consumer.engine.aggregation import deaggregate
from consumer.engine.errors import Rejected
from consumer.engine.folding import Outcome, RecordOutcome
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Record
from consumer.engine.retry_policy import NoRetry
from consumer.engine.wire import parse_object
from consumer.settings import RecordSettings

APPLICABLE = "nothing in the record itself: it can be applied now, if what is stored about its limit agrees"


@dataclass(frozen=True, slots=True)
class Inspected:
    """A record, or one of the records in an aggregate.

    wrong  why it is refused now, or APPLICABLE
    """

    data: bytes
    wrong: str

    @property
    def text(self) -> str:
        """The JSON, indented; numbers and repeated keys are unchanged. Data that is not JSON is only decoded."""
        try:
            return msgspec.json.format(self.data, indent=2).decode("utf-8")
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return self.data.decode("utf-8", "backslashreplace")

    @property
    def event(self) -> dict[str, Any] | None:
        """The decoded JSON object, None if the data is not one."""
        try:
            return parse_object(self.data)
        except Rejected:
            return None

    def to_json(self) -> dict[str, Any]:
        return {"event": self.event, "wrong": self.wrong}


def inspect(settings: RecordSettings, entry: Quarantined) -> Sequence[Inspected]:
    """The record, or each record of an aggregate that can be unpacked."""
    record = as_delivered(entry)
    return list(_inspected(settings, deaggregate(record, settings.aggregate_records)))


def _inspected(settings: RecordSettings, parts: Sequence[Record]) -> Iterator[Inspected]:
    for part in parts:
        # a new store for each record: the verdict must not depend on the others
        core, _ = bootstrap.in_memory_processor(settings)
        (outcome,) = core.process([part], NoRetry()).record_outcomes
        yield Inspected(part.data, _wrong(outcome))


def _wrong(outcome: RecordOutcome | None) -> str:
    if outcome and outcome.rejected:
        return str(outcome.rejected)
    if outcome and outcome.outcome is Outcome.IGNORED:
        return f"this version does not know the type ({outcome.type})"
    return APPLICABLE
