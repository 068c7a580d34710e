"""What an operator does to prove that a table is right, with the results as JSON; and ten items changed by hand."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

from tests.support.driven.scenario import Stage

Item: TypeAlias = dict[str, Any]
"""In DynamoDB's JSON."""
Key: TypeAlias = tuple[str, str]

KEYS = ("userId", "userLimitId")


def ran(stage: Stage, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A `consumer` command that has run in the folder, whatever its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "consumer", *arguments],
        env={**stage.variables, "COLUMNS": "200", **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def verified(stage: Stage, folder: Path, *arguments: str, **variables: str) -> dict[str, Any]:
    """What `consumer verify` finds when nothing is on its way."""
    done = ran(stage, folder, "verify", "--json", "--patience", "0", *arguments, **variables)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["ok"] is (done.returncode == 0)
    return found


def rebuilt(stage: Stage, folder: Path, *arguments: str, **variables: str) -> dict[str, Any]:
    """What `consumer rebuild` reports."""
    done = ran(stage, folder, "rebuild", "--json", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def new_table(stage: Stage) -> str:
    """The name of an empty table for limits."""
    name = f"rebuilt-{uuid4().hex[:8]}"
    stage.dynamodb().create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in KEYS],
        KeySchema=[{"AttributeName": KEYS[0], "KeyType": "HASH"}, {"AttributeName": KEYS[1], "KeyType": "RANGE"}],
    )
    return name


def items_of(stage: Stage, table: str | None = None) -> dict[Key, Item]:
    """The items of a table by key, by default of the stage's limits."""
    found = stage.items(table or stage.variables["AWS_TABLE_NAME"])
    return {(item["userId"]["S"], item["userLimitId"]["S"]): item for item in found}


def numbered(value: Any) -> Any:
    """With numbers instead of their texts: DynamoDB stores numbers, MiniStack the text as it is sent."""
    if not isinstance(value, dict):
        return value
    return Decimal(value["N"]) if value.keys() == {"N"} else {key: numbered(each) for key, each in value.items()}


# --- Changes by hand -------------------------------------------------------------------------------------------------


def _amount(item: Item) -> Item:
    return {**item, "progress": {"M": {**item["progress"]["M"], "value": {"N": "123456"}}}}


def set_back(item: Item) -> Item:
    """As if the item had never got its latest progress."""
    earlier = {**item["progress"]["M"], "sequence": {"N": "1"}, "eventId": {"S": "e"}, "value": {"N": "1"}}
    return {**item, "progress": {"M": earlier}}


def _newer(item: Item) -> Item:
    return {**item, "progress": {"M": {**item["progress"]["M"], "sequence": {"N": "900000000"}}}}


def _without_progress(item: Item) -> Item:
    return {name: value for name, value in item.items() if name != "progress"}


def _renamed(item: Item) -> Item:
    return {**item, "userLimitId": {"S": "l-added-by-hand"}}


def _status(item: Item) -> Item:
    definition = item["definition"]["M"]
    other = "CANCELED" if definition["status"]["S"] != "CANCELED" else "ACTIVE"
    return {**item, "definition": {"M": {**definition, "status": {"S": other}}}}


BOTH = ["missing", "unexplained"]
CHANGES: Mapping[str, tuple[Callable[[Item], Item | None], list[str]]] = {
    "an amount": (_amount, BOTH),
    "a status": (_status, BOTH),
    "the brand": (lambda item: {**item, "brandId": {"S": "zzz"}}, BOTH),
    "the currency": (lambda item: {**item, "currencyCode": {"S": "AAA"}}, BOTH),
    "set back": (set_back, ["missing"]),
    "set ahead": (_newer, ["unexplained"]),
    "a register is gone": (_without_progress, ["missing"]),
    "the row is gone": (lambda _: None, ["missing"]),
    "a row is added": (_renamed, ["unexplained"]),
    "not readable": (lambda item: {**item, "progress": {"S": "a text"}}, ["unexplained"]),
}
"""What is done to an item (None: it is deleted), and what `consumer verify` finds then."""


def change_by_hand(stage: Stage) -> dict[Key, list[str]]:
    """Makes each change to another item of the limits table. What must be found, by the key of each item."""
    table, client = stage.variables["AWS_TABLE_NAME"], stage.dynamodb()
    whole = [item for _, item in sorted(items_of(stage).items()) if {"progress", "definition"} <= item.keys()]
    wanted: dict[Key, list[str]] = {}
    for item, (change, kinds) in zip(whole, CHANGES.values(), strict=False):
        changed = change(item)
        if changed is None:
            client.delete_item(TableName=table, Key={name: item[name] for name in KEYS})
        else:
            client.put_item(TableName=table, Item=changed)
        named = changed or item
        wanted[named["userId"]["S"], named["userLimitId"]["S"]] = kinds
    assert len(wanted) == len(CHANGES), "the table has too few limits"
    return wanted


def kinds_of(found: Mapping[str, Any]) -> dict[Key, list[str]]:
    """The kinds of what `consumer verify --json` found, by key."""
    return {(each["userId"], each["userLimitId"]): each["kinds"] for each in found["findings"]}
