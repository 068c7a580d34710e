"""`consumer apply`: runs the core of the service on a file of records, in memory."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from consumer import bootstrap
from consumer.engine.folding import Outcome
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Record
from consumer.engine.retry_policy import NoRetry
from consumer.limits.view import UserLimit, view
from consumer.settings import RecordSettings


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of applying a file of records."""

    limits: list[UserLimit]
    outcomes: Counter[Outcome]
    quarantined: list[Quarantined]
    warnings: Counter[str]

    def to_json(self) -> dict[str, Any]:
        """`position` is the index of the record in the file, from 0."""
        return {
            "limits": [limit.to_json() for limit in self.limits],
            "outcomes": {outcome: self.outcomes[outcome] for outcome in Outcome},
            "quarantined": [
                {"position": int(entry.record.position.sequence), "reason": entry.reason, "detail": entry.detail}
                for entry in self.quarantined
            ],
            "warnings": dict(sorted(self.warnings.items())),
        }


def apply(settings: RecordSettings, data: Iterable[Record], now_millis: int) -> Applied:
    """Folds the records in order. Returns the limits by user and limit id, as of `now_millis`.

    The sequence number of a record is its index in the file (files.read_records).
    """
    core, kept = bootstrap.in_memory_processor(settings)
    outcomes: Counter[Outcome] = Counter()
    warnings: Counter[str] = Counter()
    quarantined: list[Quarantined] = []
    for result in core.process_in_slices(data, NoRetry(), lambda: True):
        outcomes += result.outcomes
        warnings += result.warnings
        quarantined += result.quarantined
    return Applied([view(state, now_millis) for state in kept.states()], outcomes, quarantined, warnings)
