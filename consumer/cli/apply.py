"""`consumer apply`: the very core of the service over a file, without AWS."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from consumer import bootstrap
from consumer.engine.folding import Outcome
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Record
from consumer.engine.retry import NoRetry
from consumer.limits.view import UserLimit, view
from consumer.settings import RecordSettings


@dataclass(frozen=True, slots=True)
class Applied:
    """What a file of records comes to."""

    limits: list[UserLimit]
    outcomes: Counter[Outcome]
    quarantined: list[Quarantined]
    warnings: Counter[str]

    def to_json(self) -> dict[str, Any]:
        """`position` counts the records of the file from 0."""
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
    """Folds the records in their order; the limits by user and limit id, as they stand at `now_millis`.

    The records' sequence numbers are their places in the file (files.read_records).
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
