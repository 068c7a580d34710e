"""The projections of examples/, each with events and the item that they lead to."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.emulators.aws import ROOT

Item = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """`events` of one key, in which the last one comes first, and the item that they lead to.

    folder      the project
    projection  the name under which its package registers it
    """

    folder: Path
    projection: str
    events: list[Item]
    key: tuple[str, str]
    item: Item

    @property
    def records(self) -> list[bytes]:
        """The events, the first of them again, and one that can never be applied."""
        return [json.dumps(each).encode() for each in (*self.events, self.events[0])] + [b"poison"]


def report(number: int) -> Item:
    return {"fleet": "north", "device": "van-7", "number": number, "at": 5, "latitude": number, "longitude": 8}


def movement(source: str, number: int, total: int) -> Item:
    return {"user": "u-1", "currency": "EUR", "source": source, "number": number, "at": 5, "total": total}


EXAMPLES = {
    "position": Example(
        ROOT / "examples" / "position",
        "device-position",
        [report(3), report(1), report(2)],
        ("north", "van-7"),
        report(3),
    ),
    "wallet": Example(
        ROOT / "examples" / "wallet",
        "wallet-balance",
        [movement("bets", 2, -700), movement("bets", 1, -500), movement("deposits", 1, 1_000)],
        ("u-1", "EUR"),
        {
            "user": "u-1",
            "currency": "EUR",
            "totals": {"bets": {"number": 2, "cents": -700}, "deposits": {"number": 1, "cents": 1_000}},
            "cents": 300,
        },
    ),
}
