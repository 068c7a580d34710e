"""The output of `consumer quarantine` for a record: two lines on a terminal, else one line of columns or JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.text import Text

from consumer.admin.replay import Replayed
from consumer.cli import tables
from consumer.engine.quarantine import Quarantined

UNKNOWN = "-"


def of_entry(entry: Quarantined) -> Sequence[str]:
    """Position, arrival time, reason, detail."""
    return str(entry.record.position), arrival(entry.record.arrived_at), plain(entry.reason), plain(entry.detail)


def of_replayed(replayed: Replayed) -> Sequence[str]:
    """Position, outcome, reason."""
    return str(replayed.position), str(replayed.outcome), plain(replayed.reason) or UNKNOWN


def write(columns: Sequence[str], document: Mapping[str, object], *, as_json: bool) -> None:
    """The first column is the position. It is never wrapped, so that it can be copied."""
    if as_json:
        _print(json.dumps(document))
    elif sys.stdout.isatty():
        position, *rest = columns
        tables.console().print(Text(position, "bold"), soft_wrap=True)
        tables.console().print(f"  {'  '.join(rest)}", soft_wrap=True)
    else:
        _print("\t".join(columns))


def write_counts(outcomes: Mapping[str, int], left: int, *, as_json: bool) -> None:
    """As JSON on stdout; otherwise on stderr, so that stdout holds only the columns."""
    if as_json:
        _print(json.dumps({"outcomes": outcomes, "left": left}))
    else:
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items()) or "nothing replayed"
        sys.stderr.write(f"{counts}; {left:,} left in the quarantine\n")


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


def _print(line: str) -> None:
    """Flushes each line: the next one may take a while."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
