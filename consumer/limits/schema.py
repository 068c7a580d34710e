"""Generates the JSON Schemas of the events, of the view and of notices: `python -m consumer.limits.schema docs/schema`.

A schema cannot express all rules of the models: see "What the schemas cannot say" in docs/reference/events.md.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from consumer.limits.event_types import EVENTS, EventType
from consumer.limits.notices import Notice
from consumer.limits.view import UserLimit

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VIEW = "user-limit.json"
NOTICE = "limit-notice.json"

MEANING: Mapping[str, str] = {
    # objects
    "UserLimitCreated": "The new definition of a user's limit: it was created, changed, cancelled or scheduled.",
    "UserLimitProgressChanged": "Some of a limit was used or given back.",
    "UserLimitReset": "A period of a limit ended and the next one began. The progress is 0 again.",
    "UserLimit": "The current state of a limit. Times are epoch milliseconds. Unknown fields are absent.",
    "Notice": "A limit has reached a threshold in its current period. Times are epoch milliseconds.",
    "Context": "The origin of the event. May be empty.",
    "CreatedPayload": "The whole definition, not only the changed fields.",
    "ProgressChangedPayload": "The change and the progress before it.",
    "ResetPayload": "The result of the period that ended.",
    # the envelope
    "aggregateId": "The user. Equals payload.userId, and is the partition key in the stream.",
    "context": "The origin of the event.",
    "correlationId": "Identifies events with the same cause. Not stored.",
    "createdAt": "The time of the event. Events are ordered by sequenceNumber, not by time.",
    "eventId": "The unique id of the event.",
    "payload": "The content of the event.",
    "sequenceNumber": "Increases per user over all types of events. Gaps are allowed.",
    "source": "The sender of the event: `limitUser`. Not checked.",
    "type": "The type of the event.",
    # payloads
    "brandId": "The brand. Every event of a limit has the same.",
    "currencyCode": "The currency. Every event of a limit has the same, even if the limit counts seconds.",
    "userId": "The user.",
    "userLimitId": "The limit. Unique per user.",
    "nextResetTime": "The time of the next reset.",
    "activeFrom": "The start of the limit.",
    "activeUntil": "The end of the limit.",
    "period": "The period over which the progress is counted.",
    "status": "The status of the limit.",
    "value": "The maximum per period: seconds for a SESSION limit, otherwise money.",
    "previousLimitValue": "The limit's value before this one.",
    "progress": "How much of the limit is used in the period.",
    "amount": "The amount added to previousProgress. Negative if it was given back.",
    "previousProgress": "The progress before the event.",
    "remainingAmount": "What is left after the event: value - previousProgress - amount.",
    "resetAmount": "The progress before the reset.",
    "resetPercentage": "100 * resetAmount / value, to two decimals. Not stored.",
    "unusedAmount": "What was left at the end of the period: value - resetAmount.",
    "CreatedPayload.createdAt": "The creation time of the limit. Defaults to the event's createdAt.",
    "CreatedPayload.progress": "The progress so far. A PROGRESS_CHANGED or RESET of the limit overrides it.",
    "CreatedPayload.type": "What the limit applies to.",
    "ResetPayload.type": "What the limit applies to.",
    # the view
    "unit": "The unit of value, progress and remaining: `seconds` for a SESSION limit, otherwise the currency.",
    "remaining": "value - progress. Negative if more was used than allowed.",
    "resetOverdue": "The next reset was due and has not arrived: progress is that of the last period.",
    "oddTimes": "The fields with a time outside 2000 to 2100. If nextResetTime is one of them, ignore resetOverdue.",
    "complete": "The limit's CREATED was processed. Otherwise value, type and period are inferred or absent.",
    "lastSequenceNumber": "The sequence number of the latest event in the limit.",
    "lastEventAt": "The createdAt of that event.",
    "Notice.id": "The same for every notice of this limit, period and threshold. Drop a notice whose id is known.",
    "threshold": "The threshold, in percent of the value.",
    "resetSequenceNumber": "The sequence number of the RESET that began the period. Absent in the first period.",
    "Notice.type": "What the limit applies to.",
    "UserLimit.createdAt": "The creation time of the limit.",
    "UserLimit.type": "What the limit applies to.",
}
"""The description of each object and field, by name, or by object and name if a name has several meanings."""

_NULL = {"type": "null"}
_NOTHING: Mapping[str, str] = {}


def schemas(types: Mapping[str, EventType] = EVENTS) -> dict[str, dict[str, Any]]:
    """The schemas by file name: one per event type, one for the view, and one for notices."""
    events = {f"{name.lower().replace('_', '-')}.json": _event(name, known) for name, known in types.items()}
    return {
        **events,
        VIEW: _schema(UserLimit, "A user's limit", "serialization"),
        NOTICE: _schema(Notice, "A notice about a limit", "serialization"),
    }


def text(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=2) + "\n"


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(text(schema), encoding="utf-8")


def _event(name: str, known: EventType) -> dict[str, Any]:
    return _schema(known.model, name, "validation")


def _schema(model: type[BaseModel], title: str, mode: JsonSchemaMode) -> dict[str, Any]:
    made = model.model_json_schema(mode=mode)
    parts = {name: described(name, part) for name, part in made.get("$defs", {}).items()}
    whole = {"$schema": DIALECT, **described(model.__name__, made), "title": title}
    return {**whole, "$defs": parts} if parts else whole


def described(name: str, made: Mapping[str, Any], more: Mapping[str, str] = _NOTHING) -> dict[str, Any]:
    """Pydantic's schema of an object, with descriptions from MEANING and `more`. An optional field is not nullable."""
    fields, meaning = made["properties"], {**MEANING, **more}
    return {
        "title": name,
        "description": meaning.get(name, made.get("description", "").partition("\n\n")[0]),
        "type": "object",
        "properties": {field: _property(name, field, found, meaning) for field, found in fields.items()},
        "required": [field for field in made.get("required", ()) if not _nullable(fields[field])],
    }


def _property(owner: str, name: str, made: Mapping[str, Any], meaning: Mapping[str, str]) -> dict[str, Any]:
    """Drops the title, which only repeats the name, and null, because a field is absent instead."""
    (found,) = (kept for kept in made.get("anyOf", [made]) if kept != _NULL)
    texts = [meaning.get(f"{owner}.{name}", meaning.get(name, "")), found.get("description", "")]
    kept = {key: value for key, value in found.items() if key not in ("title", "default", "description")}
    return {"description": " ".join(filter(None, texts)), **kept}


def _nullable(made: Mapping[str, Any]) -> bool:
    return _NULL in made.get("anyOf", ())


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the JSON Schemas of the events, the view and notices.")
    parser.add_argument("folder", type=Path, help="the target folder, for example docs/schema")
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
