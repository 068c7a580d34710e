"""The plan of `consumer rewind` on a terminal."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from consumer.admin.rewind import Plan
from consumer.admin.status_words import duration, position
from consumer.leases.rewinding import Effect, Move

_STYLES: Mapping[Effect, str] = {Effect.READS_AGAIN: "cyan", Effect.SKIPS: "bold red", Effect.NOT_KNOWN: "yellow"}


def whole(planned: Plan) -> RenderableType:
    """One row per shard, and what it comes to. Fits a terminal of 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("shard")
    table.add_column("from", justify="right")
    table.add_column("to", justify="right")
    table.add_column("", overflow="fold")
    for move in planned.moves:
        before = position(move.lease.checkpoint, move.lease.sub_sequence) if move.lease else "-"
        after = position(move.target.checkpoint) if move.target else "-"
        table.add_row(move.shard, before, after, Text(words(move), _STYLES.get(move.effect, "dim")))
    return Group(table, Text(summary(planned)))


def words(move: Move) -> str:
    """What happens to a shard, in one line."""
    parts = [_effect(move)]
    if move.target and move.target.first and move.target.first.arrived_at:
        parts.append(f"from {datetime.fromtimestamp(move.target.first.arrived_at, UTC):%Y-%m-%d %H:%M:%S} UTC")
    if move.target and not move.lease:
        parts.append("its lease is created")
    if not move.open and move.effect is not Effect.LEFT_THE_STREAM:
        parts.append("closed")
    return ", ".join(parts)


def _effect(move: Move) -> str:
    how_long = "records" if move.seconds is None else duration(move.seconds)
    match move.effect:
        case Effect.READS_AGAIN:
            return f"reads {how_long} again"
        case Effect.SKIPS:
            return f"skips {how_long} unread"
        case Effect.NOT_KNOWN:
            return "it is not known where it was"
        case Effect.LEFT_THE_STREAM:
            return "has left the stream: nothing to read"
    return "stays" if move.lease else "has no lease: a worker starts it"


def summary(planned: Plan) -> str:
    if not planned.writes:
        return "nothing to set: every shard is there already"
    again = [move.seconds or 0.0 for move in planned.writes if move.effect is Effect.READS_AGAIN]
    read = f", up to {duration(max(again))} of records are read again" if again else ""
    lost = f". {skipped(planned.skips)}" if planned.skips else ""
    return f"{shards(planned.writes)} to set{read}{lost}"


def skipped(moves: Collection[Move]) -> str:
    """What is lost, in a sentence."""
    longest = max((move.seconds for move in moves if move.seconds is not None), default=None)
    how_long = "Unread records" if longest is None else f"Up to {duration(longest)} of unread records"
    return f"{how_long} of {shards(moves)} would be skipped and never applied."


def shards(moves: Collection[Move]) -> str:
    return f"{len(moves)} shard{'' if len(moves) == 1 else 's'}"
