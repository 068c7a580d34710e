"""Hostile records: arbitrary bytes, and valid events and aggregates that were modified."""

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.property.strategies import JSON, events
from tests.support.generators import kpl
from tests.support.generators.events import Event, encode

ODD_VALUES: SearchStrategy[object] = st.sampled_from(
    (
        *(0, -1, 2**53, 2**63, 1e300, True, None, "", " 5", "1e5", "05", "9" * 39, "\ud800", "\0", "x" * 129),
        *("sek", "CANCELLED", "__proto__", {}, [], {"__class__": {}}, [[[[]]]]),
    )
)


def packed(records: SearchStrategy[list[bytes]]) -> SearchStrategy[bytes]:
    """Aggregates: valid ones, and ones whose bytes are changed before or after the digest is computed."""
    whole = records.map(lambda each: kpl.aggregate(*each))
    resealed = records.map(lambda each: kpl.message(*each)).flatmap(changed).map(kpl.sealed)
    return whole | whole.flatmap(changed) | resealed


@st.composite
def changed(draw: st.DrawFn, sound: bytes) -> bytes:
    """The data with a few bits flipped, or bytes removed, inserted or copied from elsewhere in it."""
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        match draw(st.sampled_from(["flip", "cut", "put in", "copy"])):
            case "flip" if start < len(data):
                data[start] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[start : min(end, start + 20)]
            case "put in":
                data[start:start] = draw(st.binary(max_size=8))
            case _:
                data[start:start] = data[end : end + draw(st.integers(0, 40))]
    return bytes(data)


@st.composite
def misshapen(draw: st.DrawFn) -> Event:
    """A valid event in which some fields have another value, are nested deeper, or are removed."""
    event = draw(events())
    for _ in range(draw(st.integers(1, 3))):
        place: dict[str, Any] = draw(st.sampled_from([event, *(v for v in event.values() if isinstance(v, dict))]))
        name = draw(st.sampled_from([*sorted(place), "new"]))
        match draw(st.sampled_from(["replace", "drop", "bury"])):
            case "replace":
                # a copy: later changes must not reach the values to draw from
                place[name] = deepcopy(draw(ODD_VALUES | JSON))
            case "drop":
                place.pop(name, None)
            case _:
                place[name] = buried(deepcopy(place.get(name)), draw(st.sampled_from([1, 5, 98, 99, 500])))
    return event


def buried(value: object, depth: int) -> object:
    for level in range(depth):
        value = [value] if level % 2 else {"": value}
    return value


@st.composite
def doubled(draw: st.DrawFn) -> bytes:
    """A valid event with duplicate names in its objects."""
    text = json.dumps(draw(events()))
    for _ in range(draw(st.integers(1, 3))):
        name, value = draw(st.sampled_from(["type", "payload", "userId", "amount", "eventId", ""])), draw(ODD_VALUES)
        member = f"{json.dumps(name)}:{json.dumps(value)}"
        braces = [at for at, letter in enumerate(text) if letter in "{}"]
        at = draw(st.sampled_from(braces))
        text = f"{text[: at + 1]}{member},{text[at + 1 :]}" if text[at] == "{" else f"{text[:at]},{member}{text[at:]}"
    return text.encode()


ANY_BYTES = st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
SINGLE = st.one_of(
    ANY_BYTES,
    JSON.map(encode),
    misshapen().map(encode),
    doubled(),
    events().map(encode).flatmap(changed),
    events().map(encode),
)
HOSTILE = SINGLE | packed(st.lists(SINGLE, max_size=5)) | ANY_BYTES.map(lambda data: kpl.MAGIC + data)
