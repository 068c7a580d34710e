"""The quarantine as the page shows it: a bounded part of it, by reason, in pages. Nothing here changes it."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from consumer.api.callers import BRAND, Caller
from consumer.engine.errors import Reason
from consumer.engine.quarantine import Foreign, Quarantined, QuarantineStore
from consumer.pages.texts import decoded, moment, plain

MOST = 500
"""The most records that are read. S3 needs one request for each."""
SECONDS = 20.0
"""For how long records are read. There are more in the next reading if the store has become faster."""
PER_PAGE = 20
MOST_UNREADABLE = 20
REPLAY = "consumer quarantine replay"
MEANINGS: Mapping[str, str] = {
    Reason.RECORD_DATA: "The data was not delivered as base64.",
    Reason.ENCODING: "The data is not text in UTF-8.",
    Reason.JSON: "The text is not JSON.",
    Reason.NOT_OBJECT: "The JSON is not an object.",
    Reason.TOO_LARGE: "The record is larger than allowed.",
    Reason.SCHEMA: "The event lacks a field, or a field has a wrong value.",
    Reason.IDENTITY: "The event belongs to another user, brand or currency than its limit.",
    Reason.SEQUENCE: "The sequence number is higher than allowed.",
    Reason.AGGREGATE: "The aggregate of several records cannot be unpacked.",
    Reason.STORED_STATE: "The stored limit cannot be read, so the event cannot be applied to it.",
}
"""By reason. A reason of another version has none."""

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # whatever CONSUMER_LOG_LEVEL is: an audit has no gaps


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """A quarantined record as texts, none of which has characters that cannot be seen.

    position  as `consumer quarantine` accepts it: printable ASCII without blanks and quotes
    text      the beginning of the data; `is_all` unless there is more
    size      of the data, in bytes
    """

    position: str
    arrived: str
    reason: str
    detail: str
    text: str
    is_all: bool
    size: int

    @property
    def command(self) -> str:
        """What replays the record."""
        return f"{REPLAY} {self.position}"


@dataclass(frozen=True, slots=True)
class Reading:
    """The beginning of the quarantine.

    unreadable   what is not an entry, at most MOST_UNREADABLE of it
    is_complete  whether there is nothing else
    """

    records: Sequence[ShownRecord]
    unreadable: Sequence[str]
    is_complete: bool

    @property
    def reasons(self) -> Sequence[tuple[str, int]]:
        """Each reason and its number of records, the most frequent first."""
        return sorted(Counter(record.reason for record in self.records).items(), key=lambda each: (-each[1], each[0]))


class _Enough(Exception):
    """The bounds of a reading are reached."""


@dataclass(slots=True)
class _Bounds:
    """The bounds of a reading that ends at `end`. A quarantine may have any number of strangers between its entries.

    strangers  the first objects that are not entries
    """

    clock: Callable[[], float]
    end: float
    strangers: list[str] = field(default_factory=list)

    def check(self, records: int = 0) -> None:
        """Raises _Enough if no further record may be read."""
        if records >= MOST or self.clock() > self.end:
            raise _Enough

    def meet(self, foreign: Foreign) -> None:
        self.check()
        if len(self.strangers) < MOST_UNREADABLE:
            self.strangers.append(plain(str(foreign)))


def reading(kept: QuarantineStore, clock: Callable[[], float] = time.monotonic) -> Reading:
    """Reads at most MOST records, for about SECONDS. `clock`: monotonic seconds. Raises Unavailable."""
    bounds = _Bounds(clock, clock() + SECONDS)
    records: list[ShownRecord] = []
    with suppress(_Enough):
        for entry in kept.entries(bounds.meet):
            bounds.check(len(records))
            records.append(shown(entry))
        return Reading(records, bounds.strangers, is_complete=True)
    return Reading(records, bounds.strangers, is_complete=False)


def shown(entry: Quarantined) -> ShownRecord:
    record = entry.record
    text, is_all = decoded(record.data)
    return ShownRecord(
        str(record.position),
        moment(record.arrived_at),
        plain(entry.reason),
        plain(entry.detail),
        text,
        is_all,
        len(record.data),
    )


@dataclass(frozen=True, slots=True)
class RecordsPage:
    """`number` counts from 1. `reason`: only records with it; None for all."""

    records: Sequence[ShownRecord]
    reason: str | None
    number: int
    last: int
    total: int


def page(records: Sequence[ShownRecord], reason: str | None, number: str) -> RecordsPage:
    """The page that a query names. The first one if `number` is no number, the last one if it is too high."""
    chosen = [record for record in records if reason is None or record.reason == reason]
    last = max(1, -(-len(chosen) // PER_PAGE))
    wanted = min(_number(number), last)
    begin = (wanted - 1) * PER_PAGE
    return RecordsPage(chosen[begin : begin + PER_PAGE], reason, wanted, last, len(chosen))


def _number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) <= 9 else 1


def may_read_data(caller: Caller) -> bool:
    """Whether the caller may see what is in the records. A record that cannot be read belongs to no brand for sure."""
    return caller.trusted or not any(scope.startswith(BRAND) for scope in caller.scopes)


def note_reading(caller: Caller, request_id: str, records: Sequence[ShownRecord]) -> None:
    """Logs who reads records: they may contain the data of anybody."""
    log.info(
        "quarantined records read",
        extra={
            "who": caller.subject,
            "request_id": request_id,
            "scopes": sorted(caller.scopes),
            "positions": [record.position for record in records],
        },
    )
