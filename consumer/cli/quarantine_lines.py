"""The output of `consumer quarantine` for a record: two lines on a terminal, else one line of columns or JSON."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from consumer.admin.inspection import Inspected
from consumer.admin.replay import Replayed
from consumer.cli import tables
from consumer.cli.errors import report
from consumer.engine.entry_names import ELLIPSIS, Summary
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Position

UNKNOWN = "-"
MOST_REASONS = 100
OTHER_REASONS = "other reasons"
MOST_SHOWN = 20
MOST_BYTES = 1_024


def of_summary(summary: Summary) -> Sequence[str]:
    """Position, arrival time, reason, type, detail."""
    texts = map(plain, (summary.reason, summary.type, summary.detail))
    return str(summary.position), arrival(summary.arrived_at), *texts


def document(summary: Summary) -> Mapping[str, object]:
    """The fields of an entry (Quarantined.to_json) without the data."""
    position = summary.position
    return {
        "position": str(position),
        "reason": summary.reason,
        "detail": summary.detail,
        "type": summary.type,
        "stream": position.stream,
        "shard": position.shard,
        "sequenceNumber": position.sequence,
        "subSequenceNumber": position.sub_sequence,
        "arrivedAt": summary.arrived_at,
    }


def of_replayed(replayed: Replayed) -> Sequence[str]:
    """Position, outcome, reason."""
    return str(replayed.position), str(replayed.outcome), plain(replayed.reason) or UNKNOWN


def write(
    columns: Sequence[str], document: Mapping[str, object], *, as_json: bool, console: Console | None = None
) -> None:
    """The first column is the position. It is never wrapped, so that it can be copied.

    console  is used on a terminal: that of a progress bar keeps the bar below the lines
    """
    if as_json:
        _print(json.dumps(document))
    elif sys.stdout.isatty():
        position, *rest = columns
        text = Text.assemble((position, "bold"), f"\n  {'  '.join(rest)}")
        (console or tables.console()).print(text, soft_wrap=True)
    else:
        _print("\t".join(columns))


@dataclass(slots=True)
class Counts:
    """What a replay has done so far: records by outcome, those that are left, and why."""

    outcomes: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)

    @property
    def left(self) -> int:
        return self.why.total()

    def add(self, replayed: Replayed) -> None:
        self.outcomes[replayed.outcome] += 1
        if replayed.left:
            known = replayed.reason in self.why or len(self.why) < MOST_REASONS
            self.why[replayed.reason if known else OTHER_REASONS] += 1

    def write(self, *, as_json: bool) -> None:
        """As JSON on stdout; otherwise on stderr, so that stdout holds only the columns."""
        if as_json:
            why = dict(self.why.most_common())
            _print(json.dumps({"outcomes": self.outcomes, "left": self.left, "why": why}))
            return
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in self.outcomes.items()) or "nothing replayed"
        sys.stderr.write(f"{counts}; {self.left:,} left in the quarantine\n")
        sys.stderr.writelines(f"{count:>9,} left: {plain(why)}\n" for why, count in self.why.most_common())


def write_dropped(dropped: int, left: Sequence[Position], *, as_json: bool) -> None:
    """Like Counts.write."""
    if as_json:
        _print(json.dumps({"dropped": dropped, "left": [str(position) for position in left]}))
        return
    for position in left:
        report(f"{position}: not dropped: the entry was replaced in the meantime")
    sys.stderr.write(f"{dropped:,} dropped\n")


def write_shown(entry: Quarantined, inspected: Sequence[Inspected]) -> None:
    """The entry for people: a heading, what is in it, its bytes."""
    names = ("position", "arrived", "reason", "type", "detail")
    _print("\n".join(f"{name:<9} {text}" for name, text in zip(names, of_summary(entry.summary), strict=True)))
    for number, each in enumerate(inspected[:MOST_SHOWN]):
        which = f" of record {number} of the aggregate" if len(inspected) > 1 else ""
        _print(f"\nwrong now{which}: {plain(each.wrong)}\n{_text(each)}")
    if len(inspected) > MOST_SHOWN:
        _print(f"\n{len(inspected) - MOST_SHOWN:,} more records in the aggregate; --json has all")
    _print("\n".join(_bytes(entry.record.data)))


def records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"


def _text(inspected: Inspected) -> str:
    """The whole event, or the beginning of data that is none."""
    text = inspected.text
    is_cut = inspected.event is None and len(text) > MOST_BYTES
    return printable(f"{text[:MOST_BYTES]}{ELLIPSIS}" if is_cut else text)


def _bytes(data: bytes) -> Iterator[str]:
    """The first bytes as `hexdump -C` prints them: offset, hexadecimal, ASCII."""
    shown = data[:MOST_BYTES]
    yield f"\n{len(data):,} bytes" + (f", the first {MOST_BYTES:,}; --json has all" if len(shown) < len(data) else "")
    for at in range(0, len(shown), 16):
        row = shown[at : at + 16]
        text = "".join(chr(each) if 32 <= each < 127 else "." for each in row)
        yield f"{at:08x}  {row.hex(' '):<47}  |{text}|"


def arrival(millis: int) -> str:
    """The ISO time; UNKNOWN if it is 0 or out of range."""
    try:
        moment = datetime.fromtimestamp(millis / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return UNKNOWN
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if millis else UNKNOWN


def plain(text: str) -> str:
    """The text with control characters escaped, which a terminal or a table of columns would interpret."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def printable(text: str) -> str:
    """The text like `plain`, but with its line breaks and tabs."""
    return "".join(each if each in "\n\t" else plain(each) for each in text)


def _print(line: str) -> None:
    """Flushes each line: the next one may take a while."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
