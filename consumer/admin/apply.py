"""`consumer apply`: runs the core of the service on a file of records, in memory."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumer import bootstrap
from consumer.engine import optional_parts
from consumer.engine.folding import Outcome
from consumer.engine.projection import Projection
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Record
from consumer.engine.retry_policy import NoRetry
from consumer.settings import RecordSettings


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of applying a file of records. `states`: by key."""

    projection: Projection[Any, Any]
    states: Sequence[Any]
    outcomes: Counter[Outcome]
    quarantined: list[Quarantined]
    warnings: Counter[str]

    def to_json(self, now_millis: int) -> dict[str, Any]:
        """The states as of `now_millis`. `position` is the index of the record in the file, from 0."""
        return {
            optional_parts.plural(self.projection): self._documents(now_millis),
            "outcomes": {outcome: self.outcomes[outcome] for outcome in Outcome},
            "quarantined": [
                {"position": int(entry.record.position.sequence), "reason": entry.reason, "detail": entry.detail}
                for entry in self.quarantined
            ],
            "warnings": dict(sorted(self.warnings.items())),
        }

    def _documents(self, now_millis: int) -> list[Mapping[str, Any]]:
        return [optional_parts.document(self.projection, state, now_millis) for state in self.states]


def apply(settings: RecordSettings, data: Iterable[Record]) -> Applied:
    """Folds the records in order.

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
    return Applied(core.projection, kept.states(), outcomes, quarantined, warnings)
