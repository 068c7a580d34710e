"""The contract's table of outcomes, row by row: what becomes of a record, of its neighbours, and of its bytes."""

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import pytest

from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome
from consumer.engine.patience import NoPatience
from consumer.engine.processor import BatchResult, Processor
from consumer.engine.quarantine import InMemoryQuarantine
from consumer.engine.records import Record
from consumer.limits import changes
from consumer.limits.projection import Limits
from tests.support import kpl
from tests.support.core import Core, memory
from tests.support.events import (
    LIMIT,
    START,
    Event,
    created,
    encode,
    foreign,
    position,
    progress_changed,
    records,
    reset,
)

APPLIED, DUPLICATE, STALE = Outcome.APPLIED, Outcome.DUPLICATE, Outcome.STALE
IGNORED, QUARANTINED = Outcome.IGNORED, Outcome.QUARANTINED

ABSENT = object()
"""Instead of a value: the field is left out."""


# records that can never be applied: what they are, why they are refused, and what the refusal names


def in_base64(text: object) -> Record:
    return Record.from_base64(position(2), text, START)


BROKEN_BASE64 = {
    "missing": None,
    "no string": 5,
    "foreign characters": "e30#=",
    "line break": "e3\n0=",
    "blank": " e30=",
    "of the URL alphabet": "e3-_",
    "no padding": "e30",
    "too much padding": "e30==",
    "padding first": "=e30",
    "more after the padding": "e30=e30=",
    "not ASCII": "e3\u00e9=",
    "lone surrogate": "\ud800",
}


@pytest.mark.parametrize("text", BROKEN_BASE64.values(), ids=BROKEN_BASE64.keys())
def test_data_that_is_not_base64(text: object) -> None:
    refused(in_base64(text), Reason.RECORD_DATA, "data")


def test_broken_base64_is_kept_as_it_came() -> None:
    core = Core()
    core.deliver(in_base64("e30#="), in_base64(None))
    assert [entry.record.data for entry in core.quarantine.entries()] == [b""]
    core.deliver(in_base64("e30#="))
    assert [entry.record.data for entry in core.quarantine.entries()] == [b"e30#="]


@pytest.mark.parametrize("data", [b"", in_base64("")], ids=["bytes", "base64"])
def test_empty_data(data: bytes | Record) -> None:
    refused(data, Reason.RECORD_DATA, "data is empty")


TEXT = json.dumps(created(5))
NOT_UTF8 = {
    "a byte that is none of UTF-8's": TEXT.encode().replace(b"SEK", b"S\xffK"),
    "Latin-1": TEXT.replace("SEK", "\u00e9").encode("latin-1"),
    "an encoded surrogate": TEXT.encode().replace(b"SEK", b"\xed\xa0\x80"),
    "an overlong form": TEXT.encode().replace(b"SEK", b"\xc0\xaf"),
    "cut off inside a character": '{"a":"\u20ac'.encode()[:-1],
    "UTF-16 with a mark": TEXT.encode("utf-16"),
    "UTF-16 big-endian": TEXT.encode("utf-16-be"),
    "UTF-16 little-endian": TEXT.encode("utf-16-le"),
    "UTF-32 with a mark": TEXT.encode("utf-32"),
    "UTF-32 big-endian": TEXT.encode("utf-32-be"),
    "UTF-32 little-endian": TEXT.encode("utf-32-le"),
    "zlib": zlib.compress(TEXT.encode()),
    "gzip": bytes.fromhex("1f8b0800") + zlib.compress(TEXT.encode(), wbits=-15),
    "zstd": bytes.fromhex("28b52ffd2002110000") + b"{}",
}


@pytest.mark.parametrize("data", NOT_UTF8.values(), ids=NOT_UTF8.keys())
def test_data_that_is_not_utf8(data: bytes) -> None:
    refused(data, Reason.ENCODING, "not UTF-8")


def test_a_byte_order_mark_is_stripped() -> None:
    delivered = Core().deliver(b"\xef\xbb\xbf" + encode(created()))
    assert delivered.outcomes == {APPLIED: 1}


NOT_JSON = {
    "no JSON": b"hello",
    "blanks": b"   ",
    "single quotes": TEXT.replace('"', "'").encode(),
    "cut off": TEXT[:-1].encode(),
    "trailing comma": TEXT[:-1].encode() + b",}",
    "trailing garbage": TEXT.encode() + b"x",
    "a NUL at the end": TEXT.encode() + b"\0",
    "two objects": 2 * TEXT.encode(),
    "two objects on two lines": TEXT.encode() + b"\n" + TEXT.encode(),
    "NaN": TEXT.replace("1767225600000", "NaN").encode(),
    "Infinity": TEXT.replace("1767225600000", "Infinity").encode(),
    "-Infinity": TEXT.replace("1767225600000", "-Infinity").encode(),
    "NaN in an unknown field": b'{"x":NaN,' + TEXT[1:].encode(),
    "a comment": TEXT.encode() + b"// done",
    "nested arrays without end": b'{"x":' + b"[" * 100_000,
    "nested arrays": b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"," + TEXT[1:].encode(),
    "nested objects": b'{"x":' * 30_000 + b"1" + b"}" * 30_000,
    "a number of 5,000 digits": TEXT.replace("1767225600000", "9" * 5_000).encode(),
    "5,000 digits in an unknown field": b'{"x":' + b"9" * 5_000 + b"," + TEXT[1:].encode(),
    "a raw line break in a string": TEXT.replace("limitUser", "limit\nUser").encode(),
    "a raw NUL in a string": TEXT.replace("limitUser", "limit\0User").encode(),
    "a broken escape": TEXT.replace("limitUser", r"\x41").encode(),
}


@pytest.mark.parametrize("data", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_data_that_is_not_json(data: bytes) -> None:
    refused(data, Reason.JSON)


@pytest.mark.parametrize("data", [b"null", b"42", b"1.5", b'"text"', b"true", b"[]", f"[{TEXT}]".encode()])
def test_a_top_level_that_is_no_object(data: bytes) -> None:
    refused(data, Reason.NOT_OBJECT, "top level")


@pytest.mark.parametrize(
    "data", [b" " * 1_001, b"\xff" * 1_001, TEXT.encode().ljust(1_001)], ids=["", "bytes", "event"]
)
def test_a_record_over_the_cap_is_not_even_parsed(data: bytes) -> None:
    refused(data, Reason.TOO_LARGE, "1001 bytes", Core(record_cap=1_000))


def test_a_record_as_large_as_the_cap_is_taken() -> None:
    assert Core(record_cap=1_000).deliver(encode(created()).ljust(1_000)).outcomes == {APPLIED: 1}


def test_the_cap_is_256_kib_if_nobody_says_otherwise() -> None:
    processor = Processor(Limits(), memory(), InMemoryQuarantine(), lambda: 0.0)
    largest, larger = (encode(created()).ljust(length) for length in (262_144, 262_145))
    assert processor.process(records(largest, larger), NoPatience()).reasons == {Reason.TOO_LARGE: 1}


# fields: for each kind, what must not be there

NO_STRING: tuple[object, ...] = (None, 5, 1.5, True, [], {})
NO_ID = (*NO_STRING, "", "x" * 129, "a\x00b", "a\nb", "\t", "a\x7f", "\x9f", "\ud800", "a\udfffb")
NO_TIME: tuple[object, ...] = (None, "1767225600000", True, False, 1.0, 1.5, 1e300, [], {}, 2**53, -(2**53))
NO_SEQUENCE = (*NO_TIME, 0, -1)
NO_AMOUNT = (
    *(*NO_STRING, "", " ", " 5", "5 ", "5\n", "\n5", "1_000", "1,000", "1.000,00", "1 000", "+5", "-", "--5", "-+5"),
    *("05", "00", "-05", ".5", "5.", "-.5", ".", "5.5.5", "1e5", "1E5", "1e-2", "0x10", "NaN", "sNaN", "Infinity"),
    *("-Infinity", "\u0661\u0662\u0663", "\uff15", "1\u0660", "\u22125", "5\u0000", "\ud800"),
    *("9" * 39, "1" + "0" * 38, "1." + "0" * 38, "0." + "1" * 19, "1.0000000000000000000", "9" * 21 + "." + "9" * 18),
    *("9" * 5_000, "0." + "0" * 5_000 + "1"),
)
NO_VALUE = (*NO_AMOUNT, "-1", "-0.01", "-" + "9" * 38)
NO_CURRENCY = (*NO_STRING, "", "SE", "SEKK", "sek", "Sek", "S3K", "S K", "SEK\n", "\u015eEK", "\uff33\uff25\uff2b")
NO_STATUS = (*NO_STRING, "", "active", "Active", "CANCELLED", " ACTIVE", "ACTIVE\n", "DEPOSIT", "\ud800")
NO_PERIOD = (*NO_STRING, "", "day", "YEAR", "CALENDAR-DAY", "DAY ", "DEPOSIT")
NO_TYPE = (*NO_STRING, "", "deposit", "DEPOSITS", "WITHDRAWAL", "BET ", "DAY")
NO_OBJECT: tuple[object, ...] = (None, 5, "{}", True, [])

NO_CONTEXT: tuple[object, ...] = (
    *NO_OBJECT,
    {"correlationId": None},
    {"correlationId": 5},
)

ENVELOPE: dict[str, Sequence[object]] = {
    "aggregateId": NO_ID,
    "context": NO_CONTEXT,
    "createdAt": NO_TIME,
    "eventId": NO_ID,
    "sequenceNumber": NO_SEQUENCE,
    "source": NO_STRING,
    "payload": NO_OBJECT,
}
COMMON: dict[str, Sequence[object]] = {
    "brandId": NO_ID,
    "currencyCode": NO_CURRENCY,
    "userId": NO_ID,
    "userLimitId": NO_ID,
}
REQUIRED: dict[str, dict[str, Sequence[object]]] = {
    "USER_LIMIT_CREATED": COMMON
    | {"activeFrom": NO_TIME, "period": NO_PERIOD, "type": NO_TYPE, "status": NO_STATUS, "value": NO_VALUE},
    "USER_LIMIT_PROGRESS_CHANGED": COMMON | {"amount": NO_AMOUNT, "previousProgress": NO_AMOUNT},
    "USER_LIMIT_RESET": COMMON
    | {"period": NO_PERIOD, "type": NO_TYPE}
    | {"resetAmount": NO_AMOUNT, "resetPercentage": NO_AMOUNT, "unusedAmount": NO_AMOUNT},
}
OPTIONAL: dict[str, dict[str, Sequence[object]]] = {
    "USER_LIMIT_CREATED": {
        "nextResetTime": NO_TIME,
        "activeUntil": NO_TIME,
        "createdAt": NO_TIME,
        "progress": NO_AMOUNT,
        "previousLimitValue": NO_AMOUNT,
    },
    "USER_LIMIT_PROGRESS_CHANGED": {"nextResetTime": NO_TIME, "remainingAmount": NO_AMOUNT},
    "USER_LIMIT_RESET": {"nextResetTime": NO_TIME},
}
SOUND: Sequence[Event] = (created(5), progress_changed(5), reset(5))


def spoiled() -> Iterator[Any]:
    """Every field of every type of event, with each thing it must not be."""
    for sound in SOUND:
        required, optional = REQUIRED[sound["type"]], OPTIONAL[sound["type"]]
        for name, wrong in ENVELOPE.items():
            yield from cases(sound, (name,), (ABSENT, *wrong))
        for name, wrong in required.items():
            yield from cases(sound, ("payload", name), (ABSENT, *wrong))
        for name, wrong in optional.items():
            yield from cases(sound, ("payload", name), wrong)


def cases(sound: Event, path: tuple[str, ...], wrong: Sequence[object]) -> Iterator[Any]:
    kind = sound["type"].rpartition("_")[2].lower()
    for number, value in enumerate(wrong):
        told = "absent" if value is ABSENT else ascii(value)[:24]
        yield pytest.param(with_field(sound, path, value), path, id=f"{kind}-{'.'.join(path)}-{number}-{told}")


def with_field(sound: Event, path: tuple[str, ...], value: object) -> Event:
    event = deepcopy(sound)
    place = event if len(path) == 1 else event[path[0]]
    if value is ABSENT:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return event


@pytest.mark.parametrize(("event", "path"), list(spoiled()))
def test_a_field_that_is_missing_or_wrong_is_named(event: Event, path: tuple[str, ...]) -> None:
    refused(encode(event), Reason.SCHEMA, ".".join(path))


@pytest.mark.parametrize("kind", [ABSENT, *NO_STRING])
def test_a_type_that_is_no_string(kind: object) -> None:
    refused(encode(with_field(created(5), ("type",), kind)), Reason.SCHEMA, "type: ")


def test_what_a_record_says_is_not_in_the_refusal() -> None:
    core = Core()
    for event, path in ((sample.values[0], sample.values[1]) for sample in spoiled()):
        core.deliver(with_field(event, (*path[:-1], "secret"), "s3cr3t"))
        core.deliver(with_field(event, path, "s3cr3t\0"))
    assert not [entry.detail for entry in core.quarantine.entries() if "s3cr3t" in entry.detail]


@pytest.mark.parametrize(
    ("before", "amount"),
    [("9" * 38, "1"), ("9" * 38, "0.1"), ("-" + "9" * 38, "-1"), ("1" * 21, "0." + "1" * 18)],
)
def test_a_progress_that_would_not_fit_in_38_digits(before: str, amount: str) -> None:
    event = progress_changed(5, previousProgress=before, amount=amount)
    refused(encode(event), Reason.SCHEMA, "previousProgress + amount")


def test_a_user_who_is_not_the_aggregate() -> None:
    refused(encode(created(5) | {"aggregateId": "u-other"}), Reason.IDENTITY, "aggregateId")


@pytest.mark.parametrize("make", [created, progress_changed, reset])
@pytest.mark.parametrize(("name", "other"), [("brandId", "another"), ("currencyCode", "EUR")])
def test_a_brand_or_currency_that_is_not_the_limits(make: Callable[..., Event], name: str, other: str) -> None:
    refused(encode(make(5, **{name: other})), Reason.IDENTITY, f"payload.{name}")


@pytest.mark.parametrize("make", [created, progress_changed, reset])
def test_a_sequence_number_too_far_ahead_would_freeze_the_limit(make: Callable[..., Event]) -> None:
    refused(encode(make(1_000_002)), Reason.SEQUENCE_JUMP, "sequenceNumber")


def test_a_sequence_number_may_be_a_million_ahead() -> None:
    assert Core().deliver(created(1), progress_changed(1_000_001)).outcomes == {APPLIED: 2}


def test_the_first_event_of_a_limit_may_have_any_sequence_number() -> None:
    assert Core().deliver(created(2**53 - 1)).outcomes == {APPLIED: 1}


def test_a_late_event_may_be_any_number_behind() -> None:
    assert Core().deliver(progress_changed(5_000_000), created(1)).outcomes == {APPLIED: 2}


# aggregates

BROKEN_AGGREGATES = {
    "wrong checksum": kpl.aggregate(encode(created(5)))[:-1] + b"\0",
    "cut off": kpl.aggregate(encode(created(5)))[:-20],
    "no records": kpl.sealed(b""),
    "nothing but its magic": kpl.MAGIC,
    "no protobuf": kpl.sealed(b"\xff" * 20),
}


@pytest.mark.parametrize("data", BROKEN_AGGREGATES.values(), ids=BROKEN_AGGREGATES.keys())
def test_a_broken_aggregate(data: bytes) -> None:
    refused(data, Reason.AGGREGATE, "aggregate")


def test_each_record_of_an_aggregate_has_its_own_outcome() -> None:
    core = Core()
    delivered = core.deliver(kpl.aggregate(encode(created(1)), b"[]", encode(progress_changed(2))))
    assert [verdict and verdict.outcome for verdict in delivered.verdicts] == [APPLIED, QUARANTINED, APPLIED]
    assert [(entry.record.position.sub_sequence, entry.record.data) for entry in core.quarantine.entries()] == [
        (1, b"[]")
    ]
    assert core.limit()["progress"] == "10"


# records that are not for us

OURS_NOT = (
    "LIMIT_USER_CREATED",
    "LIMIT_USER_PENDING_PAYMENT_CREATED",
    "LIMIT_USER_PENDING_PAYMENT_PROCESSED",
    "USER_LIMIT_CHANGE_SOURCE_ADDED",
)


@pytest.mark.parametrize("kind", OURS_NOT)
def test_a_known_type_that_is_not_ours_is_ignored_whatever_its_payload(kind: str) -> None:
    delivered = Core().deliver(foreign(kind), {"type": kind}, {"type": kind, "payload": [], "sequenceNumber": -1})
    assert delivered.by_type == {(kind, IGNORED): 3}


@pytest.mark.parametrize(
    "kind", ["__proto__", "constructor", "__class__", "", "user_limit_created", "USER_LIMIT_CREATED ", "\ud800", "NEW"]
)
def test_an_unknown_type_is_ignored_and_counted_apart(kind: str) -> None:
    delivered = Core().deliver(foreign(kind), {"type": kind})
    assert delivered.by_type == {("UNKNOWN", IGNORED): 2}


# records that are applied, whatever is odd about them


@pytest.mark.parametrize("sound", SOUND, ids=["created", "progress", "reset"])
def test_unknown_fields_are_passed_over(sound: Event) -> None:
    plain, rich = Core(), Core()
    event = deepcopy(sound) | {"new": {"deep": [None, 1e300]}, "__proto__": {}}
    event["payload"] |= {"new": "\ud800", "user_id": 5}
    event["context"] |= {"traceId": 5}
    assert rich.deliver(event).outcomes == {APPLIED: 1}
    plain.deliver(sound)
    assert rich.limits("u-7Qd2") == plain.limits("u-7Qd2")


WIDEST: dict[str, tuple[Event, str, object]] = {
    "an id of one character": (created(userLimitId="l"), "userLimitId", "l"),
    "an id of 128 characters": (created(userLimitId="\U0001f3b2" * 128), "userLimitId", "\U0001f3b2" * 128),
    "38 digits": (created(value="9" * 38), "value", "9" * 38),
    "18 decimals": (created(value="9" * 20 + "." + "9" * 18), "value", "9" * 20 + "." + "9" * 18),
    "the least amount": (created(value="0.000000000000000001"), "value", "0.000000000000000001"),
    "zeros after the point": (created(value="200.00"), "value", "200"),
    "zero": (created(value="0"), "value", "0"),
    "zero with decimals": (created(value="0.00"), "value", "0"),
    "negative zero": (created(value="-0.00"), "value", "0"),
    "one decimal": (created(value="9800.50"), "value", "9800.5"),
    "a negative progress": (created(progress="-5"), "progress", "-5"),
    "a negative previous value": (created(previousLimitValue="-5"), "previousLimitValue", "-5"),
    "a time before 1970": (created(activeFrom=-1), "activeFrom", -1),
    "the largest time": (created(activeFrom=2**53 - 1), "activeFrom", 2**53 - 1),
    "the largest sequence number": (created(2**53 - 1), "lastSequenceNumber", 2**53 - 1),
    "38 digits used": (
        progress_changed(previousProgress="8" * 38, amount="1" * 38),
        "progress",
        "9" * 38,
    ),
}


@pytest.mark.parametrize(("event", "name", "shown"), WIDEST.values(), ids=WIDEST.keys())
def test_the_widest_that_is_allowed_is_kept_exactly(event: Event, name: str, shown: object) -> None:
    core = Core()
    assert core.deliver(event).outcomes == {APPLIED: 1}
    assert core.limit()[name] == shown


@pytest.mark.parametrize("context", [{}, {"correlationId": ""}, {"correlationId": "c", "more": 1}])
def test_the_context_may_be_empty(context: Event) -> None:
    assert Core().deliver(created() | {"context": context}).outcomes == {APPLIED: 1}


def test_a_progress_of_a_limit_never_created_makes_an_incomplete_limit() -> None:
    core = Core()
    assert core.deliver(progress_changed(remainingAmount="90", amount="10")).outcomes == {APPLIED: 1}
    limit = core.limit()
    assert (limit["complete"], limit["progress"], limit["value"], limit["remaining"]) == (False, "10", "100", "90")
    assert not limit.keys() & {"type", "period", "status", "activeFrom", "createdAt"}


def test_a_reset_of_a_limit_never_created_makes_an_incomplete_limit() -> None:
    core = Core()
    assert core.deliver(reset(resetAmount="25", unusedAmount="75")).outcomes == {APPLIED: 1}
    limit = core.limit()
    assert (limit["complete"], limit["progress"], limit["value"]) == (False, "0", "100")
    assert (limit["type"], limit["period"]) == ("DEPOSIT", "DAY")


@pytest.mark.parametrize("newer", [progress_changed(6, amount="7"), reset(6)], ids=["progress", "reset"])
def test_a_creation_after_newer_events_fills_the_definition_and_keeps_their_progress(newer: Event) -> None:
    core = Core()
    core.deliver(newer)
    before = core.limit()
    assert core.deliver(created(5, progress="500")).outcomes == {APPLIED: 1}
    after = core.limit()
    assert (after["complete"], after["value"], after["status"]) == (True, "1000", "ACTIVE")
    assert (after["progress"], after["lastSequenceNumber"]) == (before["progress"], 6)


def test_the_same_event_again_is_a_duplicate() -> None:
    core = Core()
    first, again = core.deliver(created(1), progress_changed(2)), core.deliver(created(1), progress_changed(2))
    assert (first.outcomes, again.outcomes) == ({APPLIED: 2}, {DUPLICATE: 2})
    assert (first.writes, again.writes) == (1, 0)


def test_an_event_older_than_what_is_stored_is_stale() -> None:
    core = Core()
    core.deliver(created(1), progress_changed(5, amount="50"))
    delivered = core.deliver(progress_changed(4, amount="40"))
    assert (delivered.outcomes, delivered.writes) == ({STALE: 1}, 0)
    assert core.limit()["progress"] == "50"


DRIFT = {
    "a value that is not what was used and what is left": (
        progress_changed(2, amount="10", remainingAmount="989"),
        changes.VALUE_DRIFT,
    ),
    "a previous progress that is not the stored one": (
        progress_changed(2, previousProgress="5", remainingAmount="985"),
        changes.PROGRESS_DRIFT,
    ),
    "a reset of another progress than the stored one": (
        reset(2, resetAmount="5", unusedAmount="995"),
        changes.RESET_DRIFT,
    ),
    "a reset that adds up to another value": (reset(2, resetAmount="0", unusedAmount="999"), changes.VALUE_DRIFT),
    "a negative amount": (progress_changed(2, previousProgress="0", amount="-1"), changes.NEGATIVE_AMOUNT),
    "a progress below zero": (progress_changed(2, amount="-1"), changes.NEGATIVE_PROGRESS),
    "a progress over the value": (progress_changed(2, amount="1000.01"), changes.OVER_LIMIT),
}


@pytest.mark.parametrize(("event", "warning"), DRIFT.values(), ids=DRIFT.keys())
def test_an_event_that_contradicts_the_stored_limit_is_applied_with_a_warning(event: Event, warning: str) -> None:
    core = Core()
    delivered = core.deliver(created(1), event)
    assert delivered.outcomes == {APPLIED: 2}
    assert delivered.warnings[warning] == 1
    assert core.limit()["lastSequenceNumber"] == 2


def test_a_negative_amount_is_warned_of_also_when_the_event_comes_late() -> None:
    core = Core()
    core.deliver(created(5))
    delivered = core.deliver(progress_changed(4, amount="-1"))
    assert delivered.outcomes == {APPLIED: 1}
    assert delivered.warnings == {changes.NEGATIVE_AMOUNT: 1, changes.NEGATIVE_PROGRESS: 1}


@pytest.mark.parametrize("amount", ["0", "-0.00", "0.01"])
def test_an_amount_that_is_not_negative_is_no_cause_for_a_warning(amount: str) -> None:
    assert Core().deliver(created(1), progress_changed(2, amount=amount)).warnings == Counter()


def test_an_event_that_comes_again_is_not_warned_of_again() -> None:
    core = Core()
    odd = created(1), progress_changed(2, amount="-1"), progress_changed(3, previousProgress="5", amount="-6")
    assert core.deliver(*odd).warnings[changes.NEGATIVE_AMOUNT] == 2
    assert core.deliver(*odd).warnings == Counter()


def test_sound_events_are_applied_without_a_warning() -> None:
    core = Core()
    delivered = core.deliver(
        created(1),
        progress_changed(2, remainingAmount="990"),
        progress_changed(4, previousProgress="10.00", amount="990", remainingAmount="0.00"),
        reset(5, resetAmount="1000", unusedAmount="0"),
        created(6, value="500"),
        progress_changed(7, remainingAmount="490"),
    )
    assert (delivered.outcomes, delivered.warnings) == ({APPLIED: 6}, Counter())


def test_an_older_event_is_not_held_against_the_state() -> None:
    core = Core()
    core.deliver(created(1), progress_changed(5, amount="50"))
    assert core.deliver(progress_changed(4, previousProgress="5")).warnings == Counter()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_events_of_one_sequence_number_are_reported_and_the_higher_event_id_wins(order: tuple[int, int]) -> None:
    core, pair = Core(), (progress_changed(2, "e-a", amount="1"), progress_changed(2, "e-b", amount="2"))
    core.deliver(created(1))
    delivered = core.deliver(*(pair[index] for index in order))
    assert delivered.warnings[changes.SEQUENCE_CONFLICT] == 1
    assert core.limit()["progress"] == "2"


def test_counts_add_up_to_the_records_received() -> None:
    core = Core()
    batch = [created(1), created(1), b"", foreign("NEW"), progress_changed(3), progress_changed(2), in_base64("#")]
    delivered = core.deliver(*batch)
    assert delivered.outcomes == {APPLIED: 2, DUPLICATE: 1, QUARANTINED: 2, IGNORED: 1, STALE: 1}
    assert delivered.outcomes.total() == len(batch)


def refused(data: bytes | Record, reason: Reason, named: str = "", core: Core | None = None) -> None:
    """The record lies in the quarantine, whole and with its reason; those around it are applied."""
    core = core or Core()
    delivered = core.deliver(created(1), data, progress_changed(2), foreign("NEW"))
    assert_refused(delivered, reason, named)
    (entry,) = core.quarantine.entries()
    assert (entry.reason, entry.record.position) == (reason, delivered.records[1].position)
    assert entry.record.data == (data.data if isinstance(data, Record) else data)
    limit = core.limit()
    assert (limit["userLimitId"], limit["progress"], limit["lastSequenceNumber"]) == (LIMIT, "10", 2)


def assert_refused(delivered: BatchResult, reason: Reason, named: str) -> None:
    _, verdict, *_ = delivered.verdicts
    assert verdict
    assert verdict.rejected
    assert verdict.rejected.reason is reason
    assert named in verdict.rejected.detail
    assert delivered.outcomes == {APPLIED: 2, QUARANTINED: 1, IGNORED: 1}
    assert delivered.reasons == {reason: 1}
    assert delivered.unsettled is None
