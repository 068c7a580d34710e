"""Tables of states, outcomes and quarantined records for a terminal."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from consumer.engine import optional_parts
from consumer.engine.projection import Projection
from consumer.engine.quarantine import Quarantined
from consumer.limits import money
from consumer.limits.projection import Limits
from consumer.limits.view import UserLimit, view

BAR = 8

OUTCOME_COLOURS = {"applied": "green", "duplicate": "cyan", "stale": "cyan", "ignored": "dim", "quarantined": "red"}


def console(*, error: bool = False) -> Console:
    """A console without markup: text from events is shown unchanged."""
    return Console(stderr=error, highlight=False, markup=False)


def progress(*, quiet: bool = False) -> Progress:
    """A bar on stderr. `quiet`: only if that is a terminal."""
    shown = console(error=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Rich prints what it catches of stdout on the bar's console. That must not happen to lines for a pipe.
    on_terminal = sys.stdout.isatty()
    hidden = quiet and not shown.is_terminal
    return Progress(*columns, console=shown, redirect_stdout=on_terminal, disable=hidden)


def states_table(projection: Projection[Any, Any], states: Sequence[Any], now_millis: int) -> Table:
    """One row per state. Limits have a table of their own."""
    if isinstance(projection, Limits):
        return limits_table(view(state, now_millis) for state in states)
    documents = [optional_parts.document(projection, state, now_millis) for state in states]
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    names = list(dict.fromkeys(name for document in documents for name in document))
    for name in names:
        table.add_column(name, overflow="fold")
    for document in documents:
        table.add_row(*(cell(document.get(name)) for name in names))
    return table


def cell(value: object) -> str:
    """An attribute as text, one line for each part of it."""
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {part}" for name, part in value.items())
    return str(value)


def limits_table(limits: Iterable[UserLimit]) -> Table:
    """One row per limit, with a bar for the used share. Fits a terminal of 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("user", overflow="fold", min_width=6)
    table.add_column("limit", overflow="fold", min_width=12)
    table.add_column("of", min_width=8, max_width=14)
    table.add_column("used", justify="right", overflow="fold", min_width=6)
    table.add_column("", width=BAR)
    table.add_column("value", overflow="fold", min_width=8, max_width=12)
    table.add_column("note", overflow="fold", width=15)
    for limit in limits:
        table.add_row(
            limit.user_id,
            limit.user_limit_id,
            f"{limit.type or '?'} {limit.period or '?'}".lower().replace("_", " "),
            money.plain(limit.progress),
            bar(limit),
            f"{'?' if limit.value is None else money.plain(limit.value)} {limit.unit}",
            note(limit),
        )
    return table


def bar(limit: UserLimit) -> RenderableType:
    share = used_share(limit)
    if share is None:
        return Text("value not known", style="dim")
    colour = "red" if share >= 1 else "yellow" if share >= Decimal("0.8") else "green"
    shown = float(min(max(share, Decimal(0)), Decimal(1)))
    return ProgressBar(total=1.0, completed=shown, width=BAR, complete_style=colour, finished_style=colour)


def used_share(limit: UserLimit) -> Decimal | None:
    """The used share of the limit, 1 for all of it. None if the value of the limit is not known."""
    if limit.value is None:
        return None
    if limit.value == 0:
        return Decimal(1)
    return limit.progress / limit.value


def note(limit: UserLimit) -> Text:
    remarks = [limit.status.lower().replace("_", " ")] if limit.status and limit.status != "ACTIVE" else []
    if not limit.complete:
        remarks.append("creation not seen")
    if limit.value is not None and limit.progress > limit.value:
        remarks.append("over the limit")
    odd = limit.odd_times or ()
    if "nextResetTime" in odd:
        remarks.append("odd reset time")
    elif limit.reset_overdue:
        remarks.append("reset overdue")
    if set(odd) - {"nextResetTime"}:
        remarks.append("odd times")
    return Text("\n".join(remarks), style="yellow")


def outcomes_table(outcomes: Mapping[str, int], warnings: Mapping[str, int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    table.add_column("outcome")
    table.add_column("records", justify="right")
    for outcome, count in outcomes.items():
        table.add_row(Text(str(outcome), style=OUTCOME_COLOURS.get(str(outcome), "")), f"{count:,}")
    table.add_row("all", f"{sum(outcomes.values()):,}", style="bold")
    for kind, count in sorted(warnings.items()):
        table.add_row(Text(f"warning: {kind}", style="yellow"), f"{count:,}")
    return table


def reasons_table(reasons: Mapping[str, int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    table.add_column("never applied because of")
    table.add_column("records", justify="right")
    for reason, count in sorted(reasons.items()):
        table.add_row(Text(str(reason), style="red"), f"{count:,}")
    return table


def quarantine_table(entries: Iterable[Quarantined]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for heading in ("position", "reason", "detail"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(str(entry.record.position), Text(entry.reason, style="red"), entry.detail)
    return table
