"""Events of every type with random changes to their text, for finding data on which two decoders disagree.

    python -m tests.support.generators.mutated --events 5000000 --seed 7

compares the quick path (consumer/limits/structs.py) with the models, and prints how much of the data it took.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator
from random import Random

from consumer.engine.errors import Rejected
from consumer.limits.decoding import Decoder
from consumer.limits.event_types import EVENTS
from consumer.limits.events import MAX_SEQUENCE
from consumer.limits.sample import histories
from consumer.limits.structs import quick_path

MODELS = {name: known.model for name, known in EVENTS.items()}
DECODER = Decoder(MODELS, MAX_SEQUENCE)
QUICK = quick_path(MODELS)

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[{}\[\]:,]')
NUMBERS = (
    *(b"0", b"-0", b"1", b"01", b"1.0", b"1e0", b"1.", b".5", b"+1", b"-", b"17e11", b"0.1", b"1E400", b"NaN"),
    *(b"Infinity", b"-Infinity", b"1e99999999999999999999", b"-1.5E-9999999999999999999", b"0x1", b"1_0"),
    *(b"9007199254740991", b"9007199254740992", b"-9007199254740992", b"9223372036854775808"),
    *(b"18446744073709551616", b"1000000001", b"9" * 40, b"9" * 400, b"1767225600000", b"4102444800000"),
)
TEXTS = (
    *(b"", b"0", b"-0", b"-0.00", b"0.10", b"00", b"05", b".5", b"5.", b"1e5", b"1E5", b"+5", b" 5", b"5 ", b"1_0"),
    *(
        b"NaN",
        b"Infinity",
        b"-",
        b"--1",
        b"1.2.3",
        b"9" * 18,
        b"9" * 38,
        b"9" * 39,
        b"-" + b"9" * 38,
        b"0." + b"1" * 18,
    ),
    *(b"0." + b"1" * 19, b"1" * 20 + b"." + b"1" * 18, b"0." + b"0" * 60, b"sek", b"SEK", b"SEKK", b"SE", b"S3K"),
    *(b"x" * 128, b"x" * 129, b"a\x7fb", b"a\x1fb", b"a\nb", b"a\tb", b"\\u0041", b"\\n", b"\\ud800", b"\\", b"\\/"),
    *(
        b"\xc3\xa9",
        b"\xff",
        b"\x00",
        b"type",
        b"payload",
        b"progress",
        b"odd",
        b"odd_times",
        b"correlationId",
        b"amount",
    ),
    *(b"previousProgress", b"previous_progress", b"userId", b"currencyCode", b"active", b"ACTIVE", b"DAY", b"SESSION"),
    *(name.encode() for name in (*MODELS, "LIMIT_USER_CREATED", "USER_LIMIT_CHANGE_SOURCE_ADDED", "OTHER")),
)
WHOLES = (
    *(b"null", b"true", b"false", b"{}", b"[]", b"[1,2]", b'{"a":1}', b"[" * 50 + b"]" * 50, b"[" * 101 + b"]" * 101),
    *(b'{"a":' * 98 + b"1" + b"}" * 98, b'{"a":' * 99 + b"1" + b"}" * 99, b"[" * 900, b'{"type":1}'),
)
BETWEEN = (
    b" ",
    b"\n",
    b"\t",
    b"\r",
    b"\x0b",
    b"\x0c",
    b"\xc2\xa0",
    b"\xef\xbb\xbf",
    b"\x00",
    b"//",
    b",",
    b":",
    b"}",
    b"]",
)
TOKENS = (*NUMBERS, *(b'"' + text + b'"' for text in TEXTS), *WHOLES, *BETWEEN)


def mutated(random: Random, count: int) -> Iterator[bytes]:
    """`count` records. Some are unchanged, most have one to three changes."""
    events = [sample.data for sample in histories(random, events=3_000, users=40)]
    for _ in range(count):
        data = random.choice(events)
        for _ in range(random.choice((0, 1, 1, 1, 1, 2, 2, 3))):
            data = _changed(random, data)
        yield data


def _changed(random: Random, data: bytes) -> bytes:
    tokens = [(found.start(), found.end()) for found in TOKEN.finditer(data)]
    if not tokens or random.random() < 0.1:
        at = random.randrange(len(data) + 1)
        return data[:at] + random.choice((b"", random.randbytes(1), random.choice(TOKENS))) + data[at + 1 :]
    start, end = random.choice(tokens)
    match random.randrange(5):
        case 0:
            return data[:start] + data[end:]
        case 1:
            return data[:start] + random.choice(BETWEEN) + data[start:]
        case 2:
            return _repeated(random, data)
        case 3:
            other = random.choice(tokens)
            return data[:start] + data[other[0] : other[1]] + data[end:]
        case _:
            return data[:start] + random.choice(TOKENS) + data[end:]


def _repeated(random: Random, data: bytes) -> bytes:
    """A further member at the start or the end of an object: its name may occur twice."""
    names = [found[0] for found in TOKEN.finditer(data) if found[0].startswith(b'"')]
    member = random.choice((random.choice(names), b'"odd"')) + b":" + random.choice((*TOKENS, random.choice(names)))
    at = random.choice([at for at, letter in enumerate(data) if letter in b"{}"] or [0])
    return (
        data[: at + 1] + member + b"," + data[at + 1 :]
        if data[at : at + 1] == b"{"
        else (data[:at] + b"," + member + data[at:])
    )


def agrees(data: bytes) -> bool | None:
    """Whether the quick path and the models lead to the same event in every field. None if it does not take it."""
    quick = QUICK(data)
    if quick is None:
        return None
    try:
        slow = DECODER.decode_slowly(data)
    except Rejected:
        return False
    return type(quick) is type(slow) and quick == slow and repr(quick) == repr(slow)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the quick path of decoding with the models.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=Random().randrange(10**6))
    options = parser.parse_args()
    found: Counter[bool | None] = Counter()
    for data in mutated(Random(options.seed), options.events):
        found[agreed := agrees(data)] += 1
        if agreed is False:
            print(data, file=sys.stderr)
    print(f"seed {options.seed}: {found[True]:,} taken and equal, {found[None]:,} left, {found[False]:,} different")
    sys.exit(found[False] > 0)


if __name__ == "__main__":
    main()
