"""The words for a status, for a terminal and for the page. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from consumer.admin.status import NOT_REQUESTED, Lag, Problem, ShardStatus, Status

SHORT = 12
"""Digits shown of a sequence number: the last ones, because they change."""
NOTES: Mapping[Problem, str] = {
    Problem.NO_LEASE: "no lease",
    Problem.UNOWNED: "no owner",
    Problem.OWNER_SILENT: "owner silent",
    Problem.NOT_RENEWED: "not renewed",
    Problem.AT_TRIM_HORIZON: "nothing checkpointed yet",
    Problem.CHECKPOINT_REFUSED: "checkpoint refused by the stream",
    Problem.LEFT_UNREAD: "left the stream unread",
}

_HOUR = 3600.0
_NOTABLE_SECONDS = 60.0


class Level(StrEnum):
    """How much a value needs attention."""

    GOOD = "good"
    NORMAL = "normal"
    NOTABLE = "notable"
    URGENT = "urgent"
    UNKNOWN = "unknown"


class Verdict(NamedTuple):
    level: Level
    text: str


def verdict(status: Status) -> Verdict:
    """The whole status in one sentence."""
    done = sum(shard.done for shard in status.shards)
    ended = f"; {done} shards are done" if done else ""
    if status.foreign:
        return Verdict(Level.URGENT, f"leases belong to another stream: {status.foreign}")
    wrong = sum(bool(shard.problems) for shard in status.shards)
    if wrong:
        return Verdict(Level.NOTABLE, f"{wrong} of {len(status.shards) - done} shards have problems{ended}")
    return Verdict(Level.GOOD, f"every shard has a live owner{ended}")


def checkpoint(shard: ShardStatus) -> str:
    """The last digits of a sequence number, a word such as TRIM_HORIZON, or `-` without a lease."""
    return position(shard.lease.checkpoint, shard.lease.sub_sequence) if shard.lease else "-"


def position(checkpoint: str, sub_sequence: int = 0) -> str:
    """The last digits of a sequence number, or the word that stands for it."""
    if not checkpoint.isdecimal():
        return checkpoint
    sub = f"-{sub_sequence}" if sub_sequence else ""
    return ("…" if len(checkpoint) > SHORT else "") + checkpoint[-SHORT:] + sub


def lag(lag: Lag) -> str:
    """`-` at the tip of the stream, `?` if it is not known."""
    if lag.seconds is None:
        return "?"
    return duration(lag.seconds) if lag.seconds else "-"


def lag_level(lag: Lag, retention_hours: int) -> Level:
    """Urgent if the lag is more than half of the retention: records may expire soon."""
    if lag.seconds is None:
        return Level.UNKNOWN
    if lag.seconds == 0:
        return Level.GOOD
    if lag.seconds > retention_hours * _HOUR / 2:
        return Level.URGENT
    return Level.NOTABLE if lag.seconds > _NOTABLE_SECONDS else Level.NORMAL


def lag_unknown(shard: ShardStatus) -> str:
    """Why the lag of a shard that is read is not known. Empty if it is known, or was not requested."""
    if not shard.lag.unknown or shard.lag is NOT_REQUESTED or not shard.lease:
        return ""
    return f"lag: {shard.lag.unknown}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `5.2 h`, `2.1 d`: two digits."""
    for unit, length, last in (("s", 1.0, 100.0), ("min", 60.0, 100.0), ("h", _HOUR, 48.0)):
        if seconds < last * length:
            return _figure(seconds / length, unit)
    return _figure(seconds / (24 * _HOUR), "d")


def _figure(value: float, unit: str) -> str:
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
