"""`consumer status` on a terminal. Problems are highlighted."""

from collections.abc import Iterable
from datetime import UTC, datetime

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from consumer.admin.status import NOT_REQUESTED, Lag, Problem, ShardStatus, Status, WorkerStatus

SHORT = 12
"""Digits shown of a sequence number: the last ones, because they change."""

_HOUR = 3600.0
_NOTES = {
    Problem.NO_LEASE: ("no lease", "bold red"),
    Problem.UNOWNED: ("no owner", "bold red"),
    Problem.OWNER_SILENT: ("owner silent", "red"),
    Problem.NOT_RENEWED: ("not renewed", "red"),
    Problem.AT_TRIM_HORIZON: ("nothing checkpointed yet", "yellow"),
    Problem.CHECKPOINT_REFUSED: ("checkpoint refused by the stream", "bold red"),
    Problem.LEFT_UNREAD: ("left the stream unread", "bold red"),
}


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
    done = sum(shard.done for shard in status.shards)
    ended = f"; {done} shards are done" if done else ""
    if status.foreign:
        return Text(f"leases belong to another stream: {status.foreign}", "bold red")
    wrong = [shard for shard in status.shards if shard.problems]
    if wrong:
        return Text(f"{len(wrong)} of {len(status.shards) - done} shards have problems{ended}", "bold yellow")
    return Text(f"every shard has a live owner{ended}", "green")


def checkpoint(shard: ShardStatus) -> Text:
    if shard.lease is None:
        return Text("-", "dim")
    place, sub = shard.lease.checkpoint, f"-{shard.lease.sub_sequence}" if shard.lease.sub_sequence else ""
    if place.isdecimal():
        return Text(("…" if len(place) > SHORT else "") + place[-SHORT:] + sub)
    return Text(place, "yellow" if Problem.AT_TRIM_HORIZON in shard.problems else "dim")


def lag(lag: Lag, retention_hours: int) -> Text:
    """`-` at the tip of the stream. Red if the lag is more than half of the retention: records may expire soon."""
    if lag.seconds is None:
        return Text("?", "dim")
    if lag.seconds == 0:
        return Text("-", "green")
    share = lag.seconds / (retention_hours * _HOUR)
    return Text(duration(lag.seconds), "bold red" if share > 0.5 else "yellow" if lag.seconds > 60 else "")


def note(shard: ShardStatus) -> Text:
    parts = [Text(*_NOTES[problem]) for problem in shard.problems]
    if shard.waits_for:
        parts.append(Text(f"waits for {', '.join(shard.waits_for)}", "dim"))
    if shard.lease and shard.lease.successor:
        parts.append(Text(f"moving to {shard.lease.successor}", "cyan"))
    if shard.lag.unknown and shard.lag is not NOT_REQUESTED and shard.lease:
        parts.append(Text(f"lag: {shard.lag.unknown}", "dim"))
    return Text(", ").join(parts)


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `5.2 h`, `2.1 d`: two digits."""
    for unit, length, last in (("s", 1.0, 100.0), ("min", 60.0, 100.0), ("h", _HOUR, 48.0)):
        if seconds < last * length:
            return _figure(seconds / length, unit)
    return _figure(seconds / (24 * _HOUR), "d")


def _figure(value: float, unit: str) -> str:
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def _colour(shard: ShardStatus) -> str:
    return _NOTES[shard.problems[0]][1] if shard.problems else "dim" if shard.waits_for else ""


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading, justify in columns:
        table.add_column(heading, justify="right" if justify == "right" else "left")
    return table
