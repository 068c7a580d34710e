"""Fingerprints of stored attributes."""

from decimal import Decimal

import pytest

from consumer.engine.projection import Plain
from consumer.engine.repository import fingerprint

STATE: dict[str, Plain] = {"userId": "u", "progress": {"sequence": 5, "value": Decimal("1.5")}}


def test_the_versions_of_stored_rows_stay_what_they_are() -> None:
    assert fingerprint(STATE) == "048ddf5509afd3ba8eee138787e7d3c3"


def test_the_order_of_attributes_does_not_matter() -> None:
    turned: dict[str, Plain] = {"progress": {"value": Decimal("1.5"), "sequence": 5}, "userId": "u"}
    assert fingerprint(turned) == fingerprint(STATE)


OTHERS: dict[str, dict[str, Plain]] = {
    "another amount": {"progress": {"sequence": 5, "value": Decimal("1.6")}},
    "another sequence number": {"progress": {"sequence": 6, "value": Decimal("1.5")}},
    "an attribute less": {"progress": {"sequence": 5}},
    "an attribute more": {"nextReset": 5},
    "another id": {"userId": "U"},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS.keys())
def test_any_difference_shows(change: dict[str, Plain]) -> None:
    assert fingerprint(STATE | change) != fingerprint(STATE)
