"""The write that all peers make: one UpdateItem per event, only if the event is later than what the item shows.

A reset or progress before the limit's creation, and events out of order, leave the item incomplete. The service merges
them; the peers need the events in order, and get them.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

Attributes = dict[str, dict[str, str]]


def update_of(table: str, event: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of update_item; None for an event of another type."""
    changes = _changes(event["type"], event["payload"])
    if changes is None:
        return None
    payload = event["payload"]
    values = {**changes, "lastSequence": {"N": str(event["sequenceNumber"])}}
    return {
        "TableName": table,
        "Key": {"userId": {"S": payload["userId"]}, "userLimitId": {"S": payload["userLimitId"]}},
        "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in values),
        "ConditionExpression": "attribute_not_exists(#lastSequence) OR #lastSequence < :lastSequence",
        "ExpressionAttributeNames": {f"#{name}": name for name in values},
        "ExpressionAttributeValues": {f":{name}": value for name, value in values.items()},
    }


def _changes(kind: str, payload: Mapping[str, Any]) -> Attributes | None:
    if kind == "USER_LIMIT_CREATED":
        names = ("brandId", "currencyCode", "type", "period", "status", "value")
        texts = {name: {"S": payload[name]} for name in names}
        return {**texts, "activeFrom": {"N": str(payload["activeFrom"])}, "progress": {"S": "0"}}
    if kind == "USER_LIMIT_PROGRESS_CHANGED":
        return {"progress": {"S": str(Decimal(payload["previousProgress"]) + Decimal(payload["amount"]))}}
    if kind == "USER_LIMIT_RESET":
        return {"progress": {"S": "0"}}
    return None
