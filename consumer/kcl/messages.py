"""Decodes the daemon's messages. Their records are decoded to plain structs, as amazon_kclpy's objects cost more."""

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
from amazon_kclpy import dispatch

PROCESS_RECORDS = "processRecords"


class Delivered(msgspec.Struct, frozen=True, rename="camel"):
    """A record as the daemon normally delivers it. The decoder has decoded `data` from base64."""

    sequence_number: str
    data: bytes
    sub_sequence_number: int = 0
    approximate_arrival_timestamp: int | float = 0


class OddDelivered(msgspec.Struct, frozen=True, rename="camel"):
    """A record of which only the sequence number is certain. Any other field may be absent, null or of any type."""

    sequence_number: str
    data: Any = None
    sub_sequence_number: Any = 0
    approximate_arrival_timestamp: Any = None


AnyDelivered: TypeAlias = Delivered | OddDelivered


class ProcessRecords(msgspec.Struct, frozen=True, rename="camel", tag_field="action", tag=PROCESS_RECORDS):
    """A delivery in which every record is a normal one."""

    records: Sequence[Delivered]
    millis_behind_latest: int | None = None


_QUICK = msgspec.json.Decoder(ProcessRecords)


def decode(line: str) -> Any:
    """The message of a line in the form that amazon_kclpy dispatches, with records of the type AnyDelivered."""
    try:
        quick = _QUICK.decode(line)
    except msgspec.MsgspecError:
        message = json.loads(line)
        if "records" in message:
            message["records"] = msgspec.convert(message["records"], list[OddDelivered])
    else:
        message = {
            "action": PROCESS_RECORDS,
            "records": quick.records,
            "millisBehindLatest": quick.millis_behind_latest,
        }
    return dispatch.message_decode(message)
