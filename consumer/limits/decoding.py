"""Decodes a record's bytes to an event: plain ones on the quick path of structs.py, all others with pydantic."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from consumer.engine.errors import Reason, Rejected
from consumer.engine.projection import Ignored
from consumer.engine.wire import parse_object
from consumer.limits.events import OUT_OF_SCOPE, LimitEvent, first_fault
from consumer.limits.structs import QuickPath, as_struct, ignored, quick_path


class Decoder:
    """`models` are the models of the events by type. An event with a number above `max_sequence` is rejected."""

    def __init__(self, models: Mapping[str, type[LimitEvent]], max_sequence: int) -> None:
        self._models = models
        self._max_sequence = max_sequence
        self._quick = _shared_quick_path(tuple(models.items()))

    def decode(self, data: bytes) -> LimitEvent | Ignored:
        """The event in `data`, or Ignored if its type is not one of the models'. Raises Rejected."""
        event = self._quick(data)
        if event is None:
            event = self.decode_slowly(data)
        return event if isinstance(event, Ignored) else self._identified(event)

    def decode_slowly(self, data: bytes) -> LimitEvent | Ignored:
        """What the quick path must agree with, where it takes the data. The identity is not checked."""
        document = parse_object(data)
        name = document.get("type")
        if not isinstance(name, str):
            raise Rejected(Reason.SCHEMA, "type: must be a string")
        model = self._models.get(name)
        if model is None:
            return ignored(name if name in OUT_OF_SCOPE else "UNKNOWN")
        return as_struct(_validated(model, document, name))

    def _identified(self, event: LimitEvent) -> LimitEvent:
        if event.sequence_number > self._max_sequence:
            raise Rejected(
                Reason.SEQUENCE,
                f"sequenceNumber: above {self._max_sequence}; all later events would be ignored",
                event.type,
            )
        if event.aggregate_id != event.payload.user_id:
            raise Rejected(Reason.IDENTITY, "aggregateId: differs from payload.userId", event.type)
        return event


@cache
def _shared_quick_path(models: tuple[tuple[str, type[LimitEvent]], ...]) -> QuickPath:
    return quick_path(dict(models))


def _validated(model: type[LimitEvent], document: dict[str, Any], name: str) -> LimitEvent:
    try:
        return model.model_validate(document)
    except ValidationError as invalid:
        raise Rejected(Reason.SCHEMA, first_fault(invalid, "event"), name) from None
