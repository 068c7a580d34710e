"""The quarantine as the page shows it: a bounded part of its listing, by reason, and the data of one page of records.

Nothing here changes it.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from consumer.api.callers import BRAND, Caller
from consumer.engine.entry_names import Summary
from consumer.engine.errors import Reason
from consumer.engine.quarantine import Foreign, Listed, Quarantined, QuarantineStore
from consumer.pages.texts import decoded, moment, plain

MOST = 10_000
"""The most records that are listed. S3 needs a request for each 1,000, and one for each entry of an earlier version."""
SECONDS = 20.0
"""For how long records are listed. There are more in the next reading if the store has become faster."""
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
    text      the beginning of the data; `is_all` unless there is more. None if the data was not read
    size      of the data, in bytes
    """

    position: str
    arrived: str
    reason: str
    detail: str
    text: str | None = None
    is_all: bool = True
    size: int = 0

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

    records: Sequence[Listed]
    unreadable: Sequence[str]
    is_complete: bool

    @property
    def reasons(self) -> Sequence[tuple[str, int]]:
        """Each reason and its number of records, the most frequent first."""
        counts = Counter(plain(each.summary.reason) for each in self.records)
        return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


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
    """Lists at most MOST records, for about SECONDS. `clock`: monotonic seconds. Raises Unavailable."""
    bounds = _Bounds(clock, clock() + SECONDS)
    records: list[Listed] = []
    with suppress(_Enough):
        for listed in kept.listing(bounds.meet):
            bounds.check(len(records))
            records.append(listed)
        return Reading(records, bounds.strangers, is_complete=True)
    return Reading(records, bounds.strangers, is_complete=False)


def contents(kept: QuarantineStore, listed: Sequence[Listed]) -> Sequence[ShownRecord]:
    """The records with their data; without it those that cannot be read. Those that are gone are left out.

    Raises Unavailable.
    """
    unreadable: list[Foreign] = []
    found = {entry.record.position: shown(entry) for _, entry in kept.read(listed, unreadable.append)}
    if unreadable:
        found = {each.summary.position: outline(each.summary) for each in listed} | found
    return [found[each.summary.position] for each in listed if each.summary.position in found]


def outline(summary: Summary) -> ShownRecord:
    """What the listing shows of a record."""
    return ShownRecord(str(summary.position), moment(summary.arrived_at), plain(summary.reason), plain(summary.detail))


def shown(entry: Quarantined) -> ShownRecord:
    text, is_all = decoded(entry.record.data)
    return replace(outline(entry.summary), text=text, is_all=is_all, size=len(entry.record.data))


@dataclass(frozen=True, slots=True)
class RecordsPage:
    """`number` counts from 1. `reason`: only records with it; None for all."""

    records: Sequence[Listed]
    reason: str | None
    number: int
    last: int
    total: int


def page(records: Sequence[Listed], reason: str | None, number: str) -> RecordsPage:
    """The page that a query names. The first one if `number` is no number, the last one if it is too high."""
    chosen = [record for record in records if reason is None or plain(record.summary.reason) == reason]
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
