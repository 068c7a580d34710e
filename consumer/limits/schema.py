"""The JSON Schemas of the events and of the view, made from the models: `python -m consumer.limits.schema docs/schema`.

A schema says less than the models do: see "What the schemas cannot say" in docs/reference/events.md.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from consumer.limits.event_types import EVENTS, EventType
from consumer.limits.view import UserLimit

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VIEW = "user-limit.json"

MEANING: Mapping[str, str] = {
    # objects
    "UserLimitCreated": "A user's limit as it is from now on: set up, changed, cancelled or scheduled.",
    "UserLimitProgressChanged": "Some of a limit was used up, or given back.",
    "UserLimitReset": "A period of a limit ended and the next one began: the progress is 0 again.",
    "UserLimit": "A limit as readers see it. Times are epoch milliseconds. What is not known is absent.",
    "Context": "Where the event came from; may be empty.",
    "CreatedPayload": "The whole limit, not only what changed.",
    "ProgressChangedPayload": "The change, and the progress it was made to.",
    "ResetPayload": "What the period came to that ended.",
    # the envelope
    "aggregateId": "The user: the same as payload.userId, and the partition key of the stream.",
    "context": "Where the event came from.",
    "correlationId": "Ties together events of one cause. Not kept.",
    "createdAt": "When the event happened. It orders nothing: sequenceNumber does.",
    "eventId": "Unique to the event.",
    "payload": "What happened.",
    "sequenceNumber": "Ascends per user over all types of event. Gaps are fine.",
    "source": "Who sent the event: `limitUser`. Not checked.",
    "type": "The type of the event.",
    # payloads
    "brandId": "The brand. One limit has one brand.",
    "currencyCode": "The currency. One limit has one, also when it counts seconds.",
    "userId": "The user.",
    "userLimitId": "The limit, unique to the user.",
    "nextResetTime": "When the limit is to be reset next.",
    "activeFrom": "From when on the limit holds.",
    "activeUntil": "Until when the limit holds.",
    "period": "What the progress is counted over.",
    "status": "Whether the limit holds now.",
    "value": "How much the period allows: seconds for a SESSION limit, else money.",
    "previousLimitValue": "The limit's value before this one.",
    "progress": "How much of the period is used up.",
    "amount": "How much was used, on top of previousProgress. Negative when it was given back.",
    "previousProgress": "The progress before the event.",
    "remainingAmount": "What is left after the event: value - previousProgress - amount.",
    "resetAmount": "The progress that the reset wiped.",
    "resetPercentage": "100 * resetAmount / value, to two decimals. Not kept.",
    "unusedAmount": "What was left when the period ended: value - resetAmount.",
    "CreatedPayload.createdAt": "When the limit was created; without it, the event's own createdAt counts.",
    "CreatedPayload.progress": "How much is used up already. A PROGRESS_CHANGED or RESET of the limit wins over it.",
    "CreatedPayload.type": "What the limit limits.",
    "ResetPayload.type": "What the limit limits.",
    # the view
    "unit": "What value, progress and remaining count: `seconds` for a SESSION limit, else the currency.",
    "remaining": "value - progress; negative when more was used than allowed.",
    "resetOverdue": "The next reset was due and has not come: progress is that of the period before.",
    "oddTimes": "The times outside 2000 to 2100. With nextResetTime among them, resetOverdue says nothing.",
    "complete": "The limit's CREATED has been seen. Without it, value, type and period are inferred or absent.",
    "lastSequenceNumber": "The sequence number of the latest event in the limit.",
    "lastEventAt": "The createdAt of that event.",
    "UserLimit.createdAt": "When the limit was created.",
    "UserLimit.type": "What the limit limits.",
}
"""What each object and field means, by its name, or by object and name where one name means several things."""

_NULL = {"type": "null"}


def schemas(types: Mapping[str, EventType] = EVENTS) -> dict[str, dict[str, Any]]:
    """File names, and the schema in each: one for each type of event, one for the view."""
    events = {f"{name.lower().replace('_', '-')}.json": _event(name, known) for name, known in types.items()}
    return {**events, VIEW: _schema(UserLimit, "A user's limit", "serialization")}


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
    parts = {name: _object(name, part) for name, part in made.get("$defs", {}).items()}
    whole = {"$schema": DIALECT, **_object(model.__name__, made), "title": title}
    return {**whole, "$defs": parts} if parts else whole


def _object(name: str, made: Mapping[str, Any]) -> dict[str, Any]:
    fields = made["properties"]
    return {
        "title": name,
        "description": MEANING.get(name, made.get("description", "")),
        "type": "object",
        "properties": {field: _property(name, field, found) for field, found in fields.items()},
        "required": [field for field in made.get("required", ()) if not _nullable(fields[field])],
    }


def _property(owner: str, name: str, made: Mapping[str, Any]) -> dict[str, Any]:
    """Without the title, which only repeats the name, and without null: a field is absent instead."""
    (found,) = (kept for kept in made.get("anyOf", [made]) if kept != _NULL)
    told = [MEANING.get(f"{owner}.{name}", MEANING.get(name, "")), found.get("description", "")]
    kept = {key: value for key, value in found.items() if key not in ("title", "default", "description")}
    return {"description": " ".join(filter(None, told)), **kept}


def _nullable(made: Mapping[str, Any]) -> bool:
    return _NULL in made.get("anyOf", ())


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the JSON Schemas of the events and of the view.")
    parser.add_argument("folder", type=Path, help="where to, for instance docs/schema")
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
