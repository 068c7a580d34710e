"""`consumer status` on a terminal. Problems are highlighted."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from consumer.admin import status_words as words
from consumer.admin.status import Lag, Problem, ShardStatus, Status, WorkerStatus
from consumer.admin.status_words import Level, duration

_STYLES: Mapping[Problem, str] = {
    Problem.NO_LEASE: "bold red",
    Problem.UNOWNED: "bold red",
    Problem.OWNER_SILENT: "red",
    Problem.NOT_RENEWED: "red",
    Problem.AT_TRIM_HORIZON: "yellow",
    Problem.CHECKPOINT_REFUSED: "bold red",
    Problem.LEFT_UNREAD: "bold red",
}
_NOTES = {problem: (words.NOTES[problem], style) for problem, style in _STYLES.items()}
_LAGS: Mapping[Level, str] = {
    Level.UNKNOWN: "dim",
    Level.GOOD: "green",
    Level.NORMAL: "",
    Level.NOTABLE: "yellow",
    Level.URGENT: "bold red",
}
_VERDICTS: Mapping[Level, str] = {Level.GOOD: "green", Level.NOTABLE: "bold yellow", Level.URGENT: "bold red"}


def whole(status: Status) -> RenderableType:
    """The whole status. Fits a terminal of 80 columns."""
    return Group(headline(status), shards_table(status), workers_table(status.workers), verdict(status))


def headline(status: Status) -> Text:
    stream, kept = status.stream, status.quarantine
    at = datetime.fromtimestamp(status.at, UTC).strftime("%H:%M:%S UTC")
    line = Text.assemble((status.application, "bold"), " on ", (stream.name, "bold"), f"  {at}\n")
    line.append(f"stream {stream.state}", "" if stream.state == "ACTIVE" else "yellow")
    line.append(f", keeps {stream.retention_hours} h; KCL in {status.tables.layout}; leader ")
    line.append(*(("none", "bold red") if status.tables.leader is None else (status.tables.leader, "")))
    line.append("\nquarantine ")
    if kept.records is None:
        line.append(f"not known: {kept.unknown}", "yellow")
    else:
        line.append(f"{kept.records:,} records", "bold red" if kept.records else "green")
        line.append(f" in {kept.place}")
    return line


def shards_table(status: Status) -> Table:
    """One row per shard that is not done."""
    table = _table(("shard", "left"), ("owner", "left"), ("checkpoint", "right"), ("lag", "right"), ("", "left"))
    table.columns[1].overflow = "fold"
    for shard in status.shards:
        if not shard.done:
            table.add_row(
                Text(shard.name, _colour(shard)),
                Text(shard.lease.owner or "-", "" if shard.lease.owner else "dim") if shard.lease else Text("-", "dim"),
                checkpoint(shard),
                lag(shard.lag, status.stream.retention_hours),
                note(shard),
            )
    return table


def workers_table(workers: Iterable[WorkerStatus]) -> Table:
    table = _table(("worker", "left"), ("leases", "right"), ("reported", "right"), ("load", "left"), ("", "left"))
    table.columns[0].overflow = "fold"
    for worker in workers:
        silent = worker.silent_seconds
        table.add_row(
            worker.name,
            str(worker.leases),
            Text("never" if silent is None else f"{duration(silent)} ago", "" if worker.alive else "red"),
            ", ".join(f"{kind} {percent:.0f} %" for kind, percent in worker.loads.items()),
            Text("leader" if worker.leader else "", "cyan") + Text("" if worker.alive else " silent", "red"),
        )
    return table


def verdict(status: Status) -> Text:
    level, text = words.verdict(status)
    return Text(text, _VERDICTS[level])


def checkpoint(shard: ShardStatus) -> Text:
    is_number = shard.lease is not None and shard.lease.checkpoint.isdecimal()
    colour = "yellow" if Problem.AT_TRIM_HORIZON in shard.problems else "dim"
    return Text(words.checkpoint(shard), "" if is_number else colour)


def lag(lag: Lag, retention_hours: int) -> Text:
    """`-` at the tip of the stream. Red if the lag is more than half of the retention."""
    return Text(words.lag(lag), _LAGS[words.lag_level(lag, retention_hours)])


def note(shard: ShardStatus) -> Text:
    parts = [Text(*_NOTES[problem]) for problem in shard.problems]
    if shard.waits_for:
        parts.append(Text(f"waits for {', '.join(shard.waits_for)}", "dim"))
    if shard.lease and shard.lease.successor:
        parts.append(Text(f"moving to {shard.lease.successor}", "cyan"))
    if unknown := words.lag_unknown(shard):
        parts.append(Text(unknown, "dim"))
    return Text(", ").join(parts)


def _colour(shard: ShardStatus) -> str:
    return _NOTES[shard.problems[0]][1] if shard.problems else "dim" if shard.waits_for else ""


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading, justify in columns:
        table.add_column(heading, justify="right" if justify == "right" else "left")
    return table
