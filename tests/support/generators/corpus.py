"""The corpus of inputs: records as bytes, at least one for every row of the contract's table of outcomes.

    python -m tests.support.generators.corpus          # rewrites tests/corpus

Each record has its own user, so that records can be mixed freely. Where stored state matters, `after` names the record
that must come first. index.json has one line per file:

file      below tests/corpus
form      bytes: a record's data. member: a JSON object with the data in base64, as the daemon or Lambda delivers it
after     the file to apply first, or null
expected  for each user record: outcome, reason code, field that the detail names, kinds of warning
why       one line
"""

import json
import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from consumer.engine.aggregation import deaggregate
from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome
from consumer.engine.records import Record
from consumer.limits import event_types
from tests.support.generators import kpl, spoiled
from tests.support.generators.events import (
    MAKERS,
    START,
    Event,
    created,
    encode,
    foreign,
    position,
    progress_changed,
    record,
    reset,
)
from tests.support.generators.spoiled import ABSENT, with_field

HERE = Path(__file__).resolve().parents[2] / "corpus"
INDEX = "index.json"
CAP = 262_144
KEPT = frozenset({Outcome.APPLIED, Outcome.DUPLICATE, Outcome.STALE})

TEXT_OF_A_TIME = "1767225600000"


class Form(StrEnum):
    BYTES = "bytes"
    MEMBER = "member"


@dataclass(frozen=True)
class Expected:
    """The expected outcome of one user record."""

    outcome: Outcome
    reason: Reason | None = None
    field: str | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Entry:
    """A line of the index, and the content of its file."""

    file: str
    content: bytes
    expected: Sequence[Expected]
    why: str
    form: Form = Form.BYTES
    after: str | None = None

    @property
    def data(self) -> object:
        """The data of the daemon's message or of Lambda's record. Bytes are yet to be encoded in base64."""
        return self.content if self.form is Form.BYTES else json.loads(self.content).get("data")

    def record(self, number: int = 1) -> Record:
        """The record of the stream with this number."""
        if isinstance(self.data, bytes):
            return record(self.data, number)
        return Record.from_base64(position(number), self.data, START)

    @property
    def parts(self) -> list[tuple[bytes, Expected]]:
        """The user records, as they are stored in the quarantine."""
        return [(part.data, each) for part, each in zip(deaggregate(self.record()), self.expected, strict=True)]

    @property
    def events(self) -> list[Event]:
        """The valid limit events of the record."""
        kept = [data for data, each in self.parts if each.outcome in KEPT]
        return [json.loads(data.decode("utf-8-sig")) for data in kept]

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        del fields["content"]
        return fields

    @classmethod
    def from_json(cls, line: Mapping[str, Any], content: bytes) -> Self:
        expected = [
            Expected(
                Outcome(each["outcome"]), each["reason"] and Reason(each["reason"]), each["field"], each["warnings"]
            )
            for each in line["expected"]
        ]
        return cls(line["file"], content, expected, line["why"], Form(line["form"]), line["after"])


def load(directory: Path = HERE) -> list[Entry]:
    """Reads the corpus from its files."""
    lines = json.loads((directory / INDEX).read_text())
    return [Entry.from_json(line, (directory / line["file"]).read_bytes()) for line in lines]


def write(directory: Path = HERE) -> None:
    """Replaces the files of the corpus."""
    shutil.rmtree(directory, ignore_errors=True)
    made = list(entries())
    for entry in made:
        file = directory / entry.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(entry.content)
    lines = ",\n".join(json.dumps(entry.to_json(), sort_keys=True) for entry in made)
    (directory / INDEX).write_text(f"[\n{lines}\n]\n")


def entries() -> Iterator[Entry]:
    """All records, each after the one that it needs."""
    for group in (
        *(not_base64, not_utf8, not_json, no_objects, too_large),
        *(missing_fields, wrong_values, overflowing, above_the_ceiling, other_identities, far_ahead),
        *(
            broken_aggregates,
            sound_aggregates,
            not_ours,
            applied,
            seen_before,
            odd_times,
            against_the_time,
            odd_but_applied,
        ),
    ):
        yield from group()


# builders of records


def quarantined(reason: Reason, field: str | None = None) -> Expected:
    return Expected(Outcome.QUARANTINED, reason, field)


APPLIED, IGNORED = Expected(Outcome.APPLIED), Expected(Outcome.IGNORED)


def entry(name: str, why: str, data: object, *expected: Expected, after: Entry | None = None) -> Entry:
    content = data if isinstance(data, bytes) else encode(data)
    return Entry(f"{name}.bin", content, expected or (APPLIED,), why, after=after.file if after else None)


def of(name: str, event: Event) -> Event:
    """The event with a user named after the record."""
    return with_field(event, ("payload", "userId"), f"u-{name}") | {"aggregateId": f"u-{name}"}


def slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text)[:24].strip("-")


# records that can never be applied


def not_base64() -> Iterator[Entry]:
    for name, content, why in (
        ("null", {"data": None}, "null is no text"),
        ("absent", {}, "there is no data"),
        ("number", {"data": 5}, "a number is no text"),
        ("foreign-characters", {"data": "e30#="}, "a lenient decoder passes over what is not of the alphabet"),
        ("line-break", {"data": "e3\n0="}, "a line break is not of the alphabet"),
        ("blank", {"data": " e30="}, "a blank is not of the alphabet"),
        ("url-alphabet", {"data": "e3-_"}, "the alphabet is the one with + and /"),
        ("no-padding", {"data": "e30"}, "padding is not optional"),
        ("too-much-padding", {"data": "e30=="}, "padding fills up to four characters, no more"),
        ("padding-first", {"data": "=e30"}, "padding stands at the end"),
        ("more-after-padding", {"data": "e30=e30="}, "nothing follows the padding"),
        ("not-ascii", {"data": "e3\u00e9="}, "the alphabet is ASCII"),
        ("lone-surrogate", {"data": "\ud800"}, "half a character cannot be written down"),
        ("empty-base64", {"data": ""}, "no data at all"),
    ):
        refused = quarantined(Reason.RECORD_DATA)
        yield replace(entry(f"record-data/{name}", why, content, refused), form=Form.MEMBER)
    yield entry("record-data/empty", "no data at all", b"", quarantined(Reason.RECORD_DATA))


def spoilt(group: str, reason: Reason, ways: Mapping[str, tuple[str, Callable[[str], bytes]]]) -> Iterator[Entry]:
    """A valid CREATED as text, made invalid in each of the ways."""
    for name, (why, spoil) in ways.items():
        text = json.dumps(of(f"{group}/{name}", created(5)))
        yield entry(f"{group}/{name}", why, spoil(text), quarantined(reason))


def not_utf8() -> Iterator[Entry]:
    yield from spoilt(
        "encoding",
        Reason.ENCODING,
        {
            "byte-ff": ("0xFF is in no UTF-8 text", lambda text: text.encode().replace(b"SEK", b"S\xffK")),
            "latin-1": ("e9 is a letter in Latin-1 only", lambda text: text.replace("SEK", "\u00e9").encode("latin-1")),
            "surrogate": ("surrogates are not characters", lambda text: _with_bytes(text, b"\xed\xa0\x80")),
            "overlong": ("a longer form of a shorter one", lambda text: _with_bytes(text, b"\xc0\xaf")),
            "beyond-unicode": ("above U+10FFFF", lambda text: _with_bytes(text, b"\xf4\x90\x80\x80")),
            "cut-off": ("it ends inside a character", lambda _: '{"a":"\u20ac'.encode()[:-1]),
            "utf-16": ("UTF-16 with a mark", lambda text: text.encode("utf-16")),
            "utf-16-be": ("UTF-16 without a mark is UTF-8 full of NULs", lambda text: text.encode("utf-16-be")),
            "utf-16-le": ("UTF-16 without a mark is UTF-8 full of NULs", lambda text: text.encode("utf-16-le")),
            "utf-32": ("UTF-32 with a mark", lambda text: text.encode("utf-32")),
            "utf-32-be": ("UTF-32 without a mark", lambda text: text.encode("utf-32-be")),
            "utf-32-le": ("UTF-32 without a mark", lambda text: text.encode("utf-32-le")),
            "zlib": ("compressed", lambda text: zlib.compress(text.encode(), 0)),
            "gzip": ("compressed", lambda _: bytes.fromhex("1f8b0800000000000003abae0500") + b"\x43\xbf\xa6\xa3"),
            "zstd": ("compressed", lambda _: bytes.fromhex("28b52ffd2002110000") + b"{}"),
        },
    )


def _with_bytes(text: str, strange: bytes) -> bytes:
    return text.encode().replace(b"SEK", strange)


def _at_time(text: str, instead: str) -> bytes:
    return text.replace(TEXT_OF_A_TIME, instead).encode()


def _with_member(text: str, value: bytes) -> bytes:
    return b'{"x":' + value + b"," + text[1:].encode()


def not_json() -> Iterator[Entry]:
    yield from spoilt(
        "json",
        Reason.JSON,
        {
            "words": ("no JSON", lambda _: b"hello"),
            "blanks": ("no JSON", lambda _: b"   "),
            "nul": ("no JSON", lambda _: b"\0"),
            "single-quotes": ("strings stand in double quotes", lambda text: text.replace('"', "'").encode()),
            "cut-off": ("the last brace is missing", lambda text: text[:-1].encode()),
            "trailing-comma": ("a comma before the end", lambda text: text[:-1].encode() + b",}"),
            "trailing-garbage": ("something follows", lambda text: text.encode() + b"x"),
            "trailing-nul": ("something follows", lambda text: text.encode() + b"\0"),
            "two-objects": ("one record is one object", lambda text: 2 * text.encode()),
            "two-lines": ("one record is one object", lambda text: text.encode() + b"\n" + text.encode()),
            "comment": ("JSON has no comments", lambda text: text.encode() + b"// done"),
            "nan": ("a lenient parser takes NaN", lambda text: _at_time(text, "NaN")),
            "infinity": ("a lenient parser takes Infinity", lambda text: _at_time(text, "Infinity")),
            "minus-infinity": ("a lenient parser takes -Infinity", lambda text: _at_time(text, "-Infinity")),
            "nan-elsewhere": ("in a field that nobody knows too", lambda text: _with_member(text, b"NaN")),
            "leading-zero": ("01 is no number", lambda text: _with_member(text, b"01")),
            "plus": ("+1 is no number", lambda text: _with_member(text, b"+1")),
            "hexadecimal": ("0x1 is no number", lambda text: _with_member(text, b"0x1")),
            "bomb-open": ("nested without an end", lambda _: b'{"x":' + b"[" * 100_000),
            "bomb-arrays": ("nested too deeply", lambda text: _with_member(text, b"[" * 40_000 + b"]" * 40_000)),
            "bomb-objects": ("nested too deeply", lambda _: b'{"x":' * 30_000 + b"1" + b"}" * 30_000),
            "nested-101": ("one deeper than is read", lambda text: _with_member(text, b"[" * 100 + b"]" * 100)),
            "values": ("50,000 values", lambda text: _with_member(text, b"[" + b"0," * 49_999 + b"0]")),
            "digits": ("5,000 digits cost the square of their number", lambda text: _at_time(text, "9" * 5_000)),
            "digits-elsewhere": ("in a field that nobody knows too", lambda text: _with_member(text, b"9" * 5_000)),
            "exponent": ("an exponent out of range", lambda text: _with_member(text, b"1e" + b"9" * 20)),
            "raw-line-break": ("escaped it would be allowed", lambda text: text.replace("limitUser", "a\nb").encode()),
            "raw-nul": ("escaped it would be allowed", lambda text: text.replace("limitUser", "a\0b").encode()),
            "broken-escape": (r"\x is no escape", lambda text: text.replace("limitUser", r"\x41").encode()),
            "cut-escape": (r"\u needs four digits", lambda text: text.replace("limitUser", r"\u12").encode()),
            "second-mark": ("one byte order mark is passed over", lambda text: b"\xef\xbb\xbf" * 2 + text.encode()),
        },
    )


def no_objects() -> Iterator[Entry]:
    values = {"null": b"null", "number": b"42", "decimal": b"1.5", "string": b'"text"', "true": b"true", "array": b"[]"}
    for name, data in values.items():
        yield entry(f"not-object/{name}", f"the top level is {data.decode()}", data, quarantined(Reason.NOT_OBJECT))
    event = json.dumps([of("not-object/event", created(5))]).encode()
    yield entry("not-object/event", "an event in an array", event, quarantined(Reason.NOT_OBJECT))


def too_large() -> Iterator[Entry]:
    text = encode(of("too-large/event", created(5)))
    refused = quarantined(Reason.TOO_LARGE)
    yield entry("too-large/event", "sound, and a byte too long", text.ljust(CAP + 1), refused)
    yield entry("too-large/no-text", "it is not read, whatever it is", b"\xff" * (CAP + 1), refused)
    yield entry("too-large/largest", "as large as may be", encode(of("too-large/largest", created(5))).ljust(CAP))


def missing_fields() -> Iterator[Entry]:
    """Each required field missing, each optional one null."""
    for kind, make in MAKERS.items():
        sound = make(5)
        name = sound["type"]
        paths: list[tuple[str, ...]] = [("payload", field) for field in spoiled.REQUIRED[name]]
        paths += [(field,) for field in (*spoiled.ENVELOPE, "type")] if kind == "created" else []
        for path in paths:
            yield _wrong(f"schema/{kind}-without-{'-'.join(path)}", "it is required", sound, path, ABSENT)
        for field in spoiled.OPTIONAL[name]:
            yield _wrong(
                f"schema/{kind}-null-payload-{field}",
                "optional fields are left out, never null",
                sound,
                ("payload", field),
                None,
            )


def wrong_values() -> Iterator[Entry]:
    """Each value that a kind of field must not hold, in one such field."""
    for what, sound, path, values in (
        ("id", created(5), ("eventId",), spoiled.NO_ID),
        ("user id", created(5), ("aggregateId",), ("", "x" * 129, "\ud800")),
        ("brand", created(5), ("payload", "brandId"), ("", "x" * 129)),
        ("limit id", created(5), ("payload", "userLimitId"), ("", "x" * 129, None)),
        ("context", created(5), ("context",), spoiled.NO_CONTEXT),
        ("time", created(5), ("payload", "activeFrom"), spoiled.NO_TIME),
        ("time", created(5), ("createdAt",), ("1767225600000", 1.5, 2**53)),
        ("sequence number", created(5), ("sequenceNumber",), spoiled.NO_SEQUENCE),
        ("source", created(5), ("source",), spoiled.NO_STRING),
        ("type of event", created(5), ("type",), spoiled.NO_STRING),
        ("payload", created(5), ("payload",), spoiled.NO_OBJECT),
        ("currency", created(5), ("payload", "currencyCode"), spoiled.NO_CURRENCY),
        ("status", created(5), ("payload", "status"), spoiled.NO_STATUS),
        ("period", created(5), ("payload", "period"), spoiled.NO_PERIOD),
        ("type of limit", created(5), ("payload", "type"), spoiled.NO_TYPE),
        ("value", created(5), ("payload", "value"), (1000, "1e5", *spoiled.NEGATIVE)),
        ("amount", progress_changed(5), ("payload", "amount"), spoiled.NO_AMOUNT),
        ("amount", progress_changed(5), ("payload", "remainingAmount"), ("1e5", "05")),
        ("amount", reset(5), ("payload", "resetAmount"), ("1e5", "05")),
    ):
        for number, value in enumerate(values):
            name = f"schema/{'-'.join(path)}-{number:02}-{slug(json.dumps(value))}".rstrip("-")
            yield _wrong(name, f"no {what}", sound, path, value)


def _wrong(name: str, why: str, sound: Event, path: Sequence[str], value: object) -> Entry:
    field = ".".join(path)
    if path == ("context",) and isinstance(value, dict):
        field = "context.correlationId"
    return entry(name, why, with_field(of(name, sound), path, value), quarantined(Reason.SCHEMA, field))


def overflowing() -> Iterator[Entry]:
    for name, before, amount in (
        ("by-one", "9" * 38, "1"),
        ("by-a-decimal", "9" * 38, "0.1"),
        ("below", "-" + "9" * 38, "-1"),
        ("by-decimals", "1" * 21, "0." + "1" * 18),
    ):
        path = f"schema/sum-{name}"
        event = of(path, progress_changed(5, previousProgress=before, amount=amount))
        yield entry(path, "previousProgress + amount needs 39 digits", event, quarantined(Reason.SCHEMA, "payload"))


def other_identities() -> Iterator[Entry]:
    event = with_field(of("identity/user", created(5)), ("aggregateId",), "u-other")
    refused = quarantined(Reason.IDENTITY, "aggregateId")
    yield entry("identity/user", "the aggregate is the user", event, refused)
    for kind, make in MAKERS.items():
        user = f"identity/{kind}"
        stored = entry(f"{user}-stored", "what is stored", of(user, created(1)))
        yield stored
        for field, other in (("brandId", "another"), ("currencyCode", "EUR")):
            event = of(user, make(5, **{field: other}))
            refused = quarantined(Reason.IDENTITY, f"payload.{field}")
            yield entry(f"{user}-other-{field}", "differs from the stored limit's", event, refused, after=stored)


def above_the_ceiling() -> Iterator[Entry]:
    refused = quarantined(Reason.SEQUENCE, "sequenceNumber")
    for kind, make in MAKERS.items():
        for name, why, sequence in (
            ("by-one", "one more than is taken", 1_000_000_001),
            ("seconds", "epoch seconds for a number", 1_767_225_600),
            ("largest", "2^53 - 1", 2**53 - 1),
        ):
            user = f"sequence/{kind}-{name}"
            yield entry(
                user, f"{why}: it would freeze the limit, the first event too", of(user, make(sequence)), refused
            )
    user = "sequence/user"
    event = with_field(of(user, created(1_000_000_001)), ("aggregateId",), "u-other")
    yield entry(user, "the number is looked at before the user", event, refused)


def far_ahead() -> Iterator[Entry]:
    """The stored state affects only the warning."""
    for kind, make in MAKERS.items():
        drift = [event_types.RESET_DRIFT] if kind == "reset" else []
        for name, why, sequence, warnings in (
            ("ahead", "a million ahead", 1_000_001, drift),
            ("far-ahead", "more than a million ahead", 1_000_002, [*drift, event_types.SEQUENCE_JUMP]),
            ("highest", "the highest number there may be", 1_000_000_000, [*drift, event_types.SEQUENCE_JUMP]),
        ):
            user = f"applied/{kind}-{name}"
            stored = entry(f"{user}-stored", "what is stored", of(user, created(1)))
            yield stored
            yield entry(user, why, of(user, make(sequence)), Expected(Outcome.APPLIED, warnings=warnings), after=stored)


def broken_aggregates() -> Iterator[Entry]:
    inside = encode(of("aggregate/broken", created(5)))
    whole = kpl.aggregate(inside)
    for name, why, data in (
        ("wrong-checksum", "its checksum is wrong", whole[:-1] + bytes([whole[-1] ^ 1])),
        ("cut-off", "its end is missing", whole[:-20]),
        ("no-records", "there is nothing in it", kpl.sealed(b"")),
        ("magic", "nothing but its magic", kpl.MAGIC),
        ("no-protobuf", "sealed, and no message", kpl.sealed(b"\xff" * 20)),
        ("no-data", "a user record without data", kpl.sealed(kpl.text(1, b"u") + kpl.text(3, kpl.number(1, 0)))),
        ("plain", "an event behind the magic", kpl.MAGIC + inside),
    ):
        yield entry(f"aggregate/{name}", why, data, quarantined(Reason.AGGREGATE))


def sound_aggregates() -> Iterator[Entry]:
    name = "aggregate/one"
    yield entry(name, "one user record", kpl.aggregate(encode(of(name, created(1)))))
    name = "aggregate/spoilt-neighbour"
    spoilt = kpl.aggregate(encode(of(name, created(1))), b"[]", encode(of(name, progress_changed(2))))
    expected = APPLIED, quarantined(Reason.NOT_OBJECT), APPLIED
    yield entry(name, "each user record has its own outcome", spoilt, *expected)
    name = "aggregate/empty-neighbour"
    empty = kpl.aggregate(b"", encode(of(name, created(1))))
    yield entry(name, "an empty user record", empty, quarantined(Reason.RECORD_DATA), APPLIED)
    name = "aggregate/nested"
    nested = kpl.aggregate(encode(of(name, created(1))), kpl.aggregate(encode(of(name, progress_changed(2)))))
    yield entry(name, "an aggregate inside is not opened", nested, APPLIED, quarantined(Reason.AGGREGATE))
    name = "aggregate/key-not-there"
    inside = kpl.text(3, kpl.number(1, 5) + kpl.text(3, encode(of(name, created(1)))))
    yield entry(name, "partition keys do not matter", kpl.sealed(kpl.text(1, b"u") + inside), APPLIED)
    name = "aggregate/ignored-and-again"
    again = kpl.aggregate(*[encode(of(name, created(1)))] * 2, encode(foreign("LIMIT_USER_CREATED")))
    expected = APPLIED, Expected(Outcome.DUPLICATE), IGNORED
    yield entry(name, "counts add up inside too", again, *expected)


def not_ours() -> Iterator[Entry]:
    kinds = (
        *("LIMIT_USER_CREATED", "LIMIT_USER_PENDING_PAYMENT_CREATED", "LIMIT_USER_PENDING_PAYMENT_PROCESSED"),
        *("USER_LIMIT_CHANGE_SOURCE_ADDED", "LIMIT_USER_NICKNAME_CHANGED", "__proto__", "constructor", "__class__"),
        *("", "user_limit_created", "USER_LIMIT_CREATED ", "\ud800"),
    )
    for number, kind in enumerate(kinds):
        name = f"ignored/{number:02}-{slug(ascii(kind))}".rstrip("-")
        yield entry(name, "no type of ours, whatever the payload", foreign(kind), IGNORED)
        bare = {"type": kind, "payload": [], "sequenceNumber": -1}
        yield entry(f"{name}-bare", "no type of ours, whatever the envelope", bare, IGNORED)


# records that are applied


def applied() -> Iterator[Entry]:
    """The limits of what is allowed, and what must be ignored."""
    for name, why, event in (
        ("shortest-id", "one character", created(userLimitId="l")),
        ("longest-id", "128 characters", created(userLimitId="\U0001f3b2" * 128)),
        ("digits", "38 digits", created(value="9" * 38)),
        ("decimals", "18 decimals", created(value="9" * 20 + "." + "9" * 18)),
        ("least-amount", "the least amount", created(value="0.000000000000000001")),
        ("zeros", "equal to 200", created(value="200.00")),
        ("zero", "a limit of nothing", created(value="0")),
        ("zero-decimals", "equal to 0", created(value="0.00")),
        ("negative-zero", "equal to 0", created(value="-0.00")),
        ("one-decimal", "equal to 9800.5", created(value="9800.50")),
        ("negative-progress", "as it comes", created(progress="-5")),
        ("negative-previous-value", "as it comes", created(previousLimitValue="-5")),
        ("earliest-time", "2000 begins", created(activeFrom=946_684_800_000)),
        ("latest-time", "2099 ends", created(activeFrom=4_102_444_799_999)),
        ("largest-sequence-number", "a limit's first event may have any", created(1_000_000_000)),
        ("digits-used", "a sum of 38 digits", progress_changed(previousProgress="8" * 38, amount="1" * 38)),
        ("no-context", "the context may be empty", created() | {"context": {}}),
        ("empty-correlation", "the context may be anything", created() | {"context": {"correlationId": "", "more": 1}}),
        ("session", "seconds, whatever the currency", created(type="SESSION", value="3600")),
        ("progress-uncreated", "an incomplete limit", progress_changed(remainingAmount="90")),
        ("reset-uncreated", "an incomplete limit", reset()),
    ):
        yield entry(f"applied/{name}", why, of(f"applied/{name}", event))
    for kind, make in MAKERS.items():
        name = f"applied/{kind}-more-fields"
        event = of(name, make()) | {"new": {"deep": [None, 1e300]}, "__proto__": {}}
        event["payload"] |= {"new": "\ud800", "user_id": 5}
        yield entry(name, "unknown fields are passed over", event)
    for name, why, spell in (
        ("byte-order-mark", "a mark is stripped", lambda text: b"\xef\xbb\xbf" + text.encode()),
        ("blanks", "blanks between and around", lambda text: text.replace(":", " :\r\n\t").encode().center(2_000)),
        ("escapes", "every character may be escaped", _escaped),
        ("duplicate-names", "of a name that stands twice the last counts", _doubled),
        ("depth", "100 deep", lambda text: _with_member(text, b"[" * 99 + b"]" * 99)),
        ("many-values", "nearly 50,000", lambda text: _with_member(text, b"[" + b"0," * 49_900 + b"0]")),
        ("many-digits", "1,000 digits nobody asks for", lambda text: _with_member(text, b"9" * 1_000)),
    ):
        event = of(f"applied/{name}", created())
        yield entry(f"applied/{name}", why, spell(json.dumps(event)))


def _escaped(text: str) -> bytes:
    return re.sub(r"[A-Za-z]+(?=\")", lambda word: "".join(f"\\u{ord(each):04x}" for each in word[0]), text).encode()


def _doubled(text: str) -> bytes:
    return text.replace('"value": "1000"', '"value": "-", "value": null, "value": "1000"').encode()


def seen_before() -> Iterator[Entry]:
    """Compared with the stored state: a duplicate, a stale event, and a late definition."""
    stored = entry("seen/stored", "what is stored", of("seen", progress_changed(5, amount="50")))
    yield stored
    yield entry("seen/again", "the same event", stored.content, Expected(Outcome.DUPLICATE), after=stored)
    older = of("seen", progress_changed(4, amount="40"))
    yield entry("seen/older", "older than what is stored", older, Expected(Outcome.STALE), after=stored)
    late = of("seen", created(3))
    yield entry("seen/created-late", "it fills the definition, the progress stays", late, after=stored)
    conflict = Expected(Outcome.APPLIED, warnings=[event_types.SEQUENCE_CONFLICT])
    higher = of("seen", progress_changed(5, "e-9", previousProgress="50"))
    yield entry("seen/higher-id", "one sequence number, two events: the higher id wins", higher, conflict, after=stored)


def odd_times() -> Iterator[Entry]:
    """Times in another unit, or out of range."""
    for name, event, place in (
        ("created-at-in-seconds", created(1) | {"createdAt": START // 1_000}, "createdAt"),
        ("active-from-before-1970", created(1, activeFrom=-1), "payload.activeFrom"),
        ("active-from-before-2000", created(1, activeFrom=946_684_799_999), "payload.activeFrom"),
        ("active-from-largest", created(1, activeFrom=2**53 - 1), "payload.activeFrom"),
        ("active-until-2100", created(1, activeUntil=4_102_444_800_000), "payload.activeUntil"),
        ("created-at-of-the-limit", created(1, createdAt=START // 1_000), "payload.createdAt"),
        ("next-reset-in-microseconds", progress_changed(1, nextResetTime=START * 1_000), "payload.nextResetTime"),
        ("next-reset-in-seconds", reset(1, nextResetTime=START // 1_000), "payload.nextResetTime"),
    ):
        path = f"odd-time/{name}"
        odd = Expected(Outcome.APPLIED, warnings=[f"{event_types.ODD_TIME}:{place}"])
        yield entry(path, "outside 2000 to 2100, read as milliseconds", of(path, event), odd)


def against_the_time() -> Iterator[Entry]:
    """A lower sequence number, but a later createdAt than the stored state."""
    drift = [event_types.TIME_DRIFT]
    for kind, older, outcome in (
        ("stale", progress_changed(4), Outcome.STALE),
        ("applied", created(4), Outcome.APPLIED),
    ):
        user = f"time-drift/{kind}"
        stored = entry(f"{user}-stored", "what is stored", of(user, progress_changed(5)))
        yield stored
        event = of(user, older) | {"createdAt": START + 60_000}
        yield entry(user, "the number decides", event, Expected(outcome, warnings=drift), after=stored)


def odd_but_applied() -> Iterator[Entry]:
    for name, event, *warnings in (
        ("value", progress_changed(2, amount="10", remainingAmount="989"), event_types.VALUE_DRIFT),
        ("previous-progress", progress_changed(2, previousProgress="5"), event_types.PROGRESS_DRIFT),
        ("reset-amount", reset(2, resetAmount="5", unusedAmount="995"), event_types.RESET_DRIFT),
        ("reset-value", reset(2, resetAmount="0", unusedAmount="999"), event_types.VALUE_DRIFT),
        ("over-limit", progress_changed(2, amount="1000.01"), event_types.OVER_LIMIT),
        (
            "negative-amount",
            progress_changed(2, previousProgress="5", amount="-1"),
            *(event_types.NEGATIVE_AMOUNT, event_types.PROGRESS_DRIFT),
        ),
        (
            "negative-progress",
            progress_changed(2, amount="-1"),
            *(event_types.NEGATIVE_AMOUNT, event_types.NEGATIVE_PROGRESS),
        ),
    ):
        user = f"warning/{name}"
        stored = entry(f"{user}-stored", "what is stored", of(user, created(1)))
        yield stored
        expected = Expected(Outcome.APPLIED, warnings=sorted(warnings))
        yield entry(user, "applied, with a warning", of(user, event), expected, after=stored)


if __name__ == "__main__":
    write()
