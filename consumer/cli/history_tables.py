"""The history of a limit on a terminal, and two states of a limit side by side."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from consumer.cli.quarantine_lines import plain
from consumer.cli.tables import OUTCOME_COLOURS
from consumer.limits import answers, money
from consumer.limits.events import is_odd
from consumer.limits.history import Change, Step
from consumer.limits.view import UserLimit

TIMES = frozenset({"activeFrom", "activeUntil", "createdAt", "nextResetTime", "lastEventAt"})
NOTHING = "-"
UNKNOWN = "?"


def steps_table(steps: Iterable[Step]) -> Table:
    """One row per event. Fits a terminal of 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("arrived (UTC)", width=10, overflow="fold")
    table.add_column("event", overflow="fold", min_width=12)
    table.add_column("outcome", width=11, overflow="fold")
    table.add_column("changed", overflow="fold", min_width=16)
    table.add_column("state after it", overflow="fold", min_width=14)
    for step in steps:
        table.add_row(arrival(step.record.arrived_at), _event(step), _outcome(step), _changes(step), _state(step))
    return table


def arrival(millis: int) -> str:
    """`2026-01-31 09:30:00`. The time of an arrival is valid, or 0 if it is not known."""
    return f"{datetime.fromtimestamp(millis / 1000, UTC):%Y-%m-%d %H:%M:%S}" if millis else UNKNOWN


def _event(step: Step) -> str:
    about = answers.step(step)
    number = "" if about.sequence_number is None else f" {about.sequence_number}"
    kind = (about.type or UNKNOWN).lower().replace("_", " ")
    return "\n".join(map(plain, (about.event_id or UNKNOWN, f"{kind}{number}", about.user_limit_id or UNKNOWN)))


def _outcome(step: Step) -> Text:
    lines = [str(step.outcome.outcome), *step.outcome.warnings]
    return Text("\n".join(lines), style=OUTCOME_COLOURS.get(step.outcome.outcome, ""))


def _changes(step: Step) -> str:
    rejected = step.outcome.rejected
    if rejected is not None:
        return f"{rejected.reason}: {rejected.detail}"
    if step.is_first:
        return "the limit is new"
    return "\n".join(map(_change, step.changes)) or NOTHING


def _change(change: Change) -> str:
    before = "" if change.before is None else f"{_shown(change.field, change.before)} -> "
    return f"{change.field}: {before}{_shown(change.field, change.after)}"


def _shown(field: str, value: Any) -> str:
    if field in TIMES and isinstance(value, int) and not is_odd(value):
        return arrival(value)
    return NOTHING if value is None else json.dumps(value).strip('"')


def _state(step: Step) -> str:
    limit = step.limit()
    if limit is None:
        return NOTHING
    value = UNKNOWN if limit.value is None else money.plain(limit.value)
    return f"{money.plain(limit.progress)} of {value} {limit.unit}\n{(limit.status or UNKNOWN).lower()}"


def compared_table(headings: Sequence[str], left: UserLimit | None, right: UserLimit | None) -> Table:
    """Two states of a limit side by side, field by field. `headings`: of both. None: there is no limit."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for heading in ("", "field", *headings):
        table.add_column(heading, overflow="fold")
    for mark, field, one, other in _compared(left, right):
        table.add_row(Text(mark, "bold red"), field, one, other, style="" if mark else "dim")
    return table


def _compared(left: UserLimit | None, right: UserLimit | None) -> Iterator[tuple[str, str, str, str]]:
    one, other = ({} if each is None else each.to_json() for each in (left, right))
    for field in (*one, *(name for name in other if name not in one)):
        mark = "" if one.get(field) == other.get(field) else "*"
        yield mark, field, _shown(field, one.get(field)), _shown(field, other.get(field))
