"""The names of quarantine entries: the position of the record, and what a listing shows of the entry.

`<stream>/<shard>/<sequence>[-<sub>].<arrived_at>.<reason>.<type>.<detail>.json`. Earlier versions wrote
`<stream>/<shard>/<sequence>[-<sub>].json`, which is still the name if the position is too long. All names are ASCII,
safe as a file name and as an object key, and equal for all deliveries of a record that is refused for one reason.
"""

import hashlib
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from consumer.engine.records import LATEST_ARRIVAL, Position, encoded

LONGEST = 200
"""Maximum of characters in a part of a path that an earlier version could have written."""
NAME_BYTES = 255
"""What file systems allow for a part of a path. S3 allows 1,024 bytes for all of it."""
REASON_BYTES, TYPE_BYTES = 40, 60
ELLIPSIS = "\u2026"

_CUT = "%~"
"""Stands for what is left out. No encoding produces it."""
_END = ".json"
_PATH = re.compile(r"([\w~%-]+/[\w~%-]+/[\w~%-]+)(?:\.([0-9]+)\.([\w~%-]*)\.([\w~%-]*)\.([\w~%-]*))?\.json", re.ASCII)


class Summary(NamedTuple):
    """What a listing shows of an entry. A text that was cut ends with ELLIPSIS.

    arrived_at  epoch milliseconds, 0 if unknown
    """

    position: Position
    arrived_at: int
    reason: str
    type: str
    detail: str


def may_be_entry(path: str) -> bool:
    """Whether the path has the format of an entry's name."""
    return _PATH.fullmatch(path) is not None


def stem_of(path: str) -> str:
    """The part of an entry's name that is the same for all entries of a position."""
    return path.partition(".")[0]


def stem(position: Position) -> str:
    """`<stream>/<shard>/<sequence>[-<sub>]`, different for different positions.

    An aggregate that was quarantined whole has the stem of its first record.
    """
    stream, shard, sequence = map(_segment, (position.stream, position.shard, position.sequence))
    sub = f"-{position.sub_sequence}" if position.sub_sequence else ""
    return f"{_short(stream)}/{_short(shard)}/{_short(sequence.replace('-', '%2D'))}{sub}"


def path_of(position: Position) -> str:
    """The name without a summary."""
    return stem(position) + _END


def named(summary: Summary) -> str:
    """The name of an entry, with as much of the detail as fits."""
    of_position = stem(summary.position)
    facts = (str(summary.arrived_at), _fitted(summary.reason, REASON_BYTES), _fitted(summary.type, TYPE_BYTES))
    head = ".".join((of_position, *facts, ""))
    left = NAME_BYTES - len(head.rpartition("/")[2]) - len(_END)
    if _CUT in of_position or left < len(_CUT) or not 0 <= summary.arrived_at < LATEST_ARRIVAL:
        return of_position + _END
    return head + _fitted(summary.detail, left) + _END


def summary_of(path: str) -> Summary | None:
    """What the name says; None if it has no summary."""
    found = _PATH.fullmatch(path)
    if found is None or found[2] is None or len(found[2]) >= len(str(LATEST_ARRIVAL)):
        return None
    try:
        position = Position.parse(found[1])
        texts = [_decoded(each) for each in found.group(3, 4, 5)]
    except ValueError:
        return None
    return Summary(position, int(found[2]), *texts) if stem(position) == found[1] else None


def _segment(part: str) -> str:
    """The part encoded so that it is never empty, `.` or `..`."""
    return encoded(part).replace(".", "%2E")


def _short(segment: str) -> str:
    """The segment, cut to LONGEST, with a hash of all of it."""
    if len(segment) <= LONGEST:
        return segment
    rest = f"{_CUT}{hashlib.blake2b(segment.encode(), digest_size=16).hexdigest()}"
    return segment[: LONGEST - len(rest)] + rest


def _fitted(text: str, most: int) -> str:
    """The text as part of a name, cut between two characters to at most `most` bytes."""
    whole = _encoded(text[: most + 1])
    if len(whole) <= most:
        return whole
    parts = [_encoded(each) for each in text[: most + 1]]
    while sum(map(len, parts)) > most - len(_CUT):
        parts.pop()
    return "".join(parts) + _CUT


def _encoded(text: str) -> str:
    """Percent-encoded like a position, but a blank, which is frequent, takes one byte."""
    found = quote(text, safe="", errors="surrogatepass")
    return found.replace("~", "%7E").replace(".", "%2E").replace("%20", "~")


def _decoded(text: str) -> str:
    whole = unquote(text.removesuffix(_CUT).replace("~", "%20"), errors="surrogatepass")
    return whole + ELLIPSIS if text.endswith(_CUT) else whole
