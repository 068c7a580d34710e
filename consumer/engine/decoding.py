"""Decodes a record to an event of a projection: the same for the processor, and for readers of an archive."""

from typing import TypeVar

from consumer.engine.errors import Reason, Rejected
from consumer.engine.projection import Ignored, Projection
from consumer.engine.records import Record

E = TypeVar("E")
S = TypeVar("S")


def decode(projection: Projection[E, S], record: Record, record_cap: int) -> E | Ignored:
    """The event in the record, which is no aggregate. More than `record_cap` bytes are not parsed. Raises Rejected."""
    if record.fault is not None:
        raise record.fault.bare()
    if not record.data:
        raise Rejected(Reason.RECORD_DATA, "data is empty")
    if len(record.data) > record_cap:
        raise Rejected(Reason.TOO_LARGE, f"{len(record.data)} bytes, at most {record_cap} are read")
    return projection.decode(record.data)
