"""A status as the page shows it: texts, and how much attention each needs. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from consumer.admin import status_words as words
from consumer.admin.status import Problem, ShardStatus, Status, WorkerStatus
from consumer.admin.status_words import Level, Verdict
from consumer.pages.texts import UNKNOWN, plain, time_of_day

_MILD = frozenset({Problem.AT_TRIM_HORIZON})
"""Problems that a start brings with it."""


class Note(NamedTuple):
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class ShardRow:
    name: str
    owner: str
    checkpoint: str
    lag: Note
    notes: Sequence[Note]


@dataclass(frozen=True, slots=True)
class WorkerRow:
    name: str
    leases: int
    reported: str
    load: str
    notes: Sequence[Note]


@dataclass(frozen=True, slots=True)
class StatusView:
    """`facts`: names and values. `shards`: those that are not done."""

    at: str
    verdict: Verdict
    facts: Sequence[tuple[str, Note]]
    shards: Sequence[ShardRow]
    workers: Sequence[WorkerRow]


def status_view(status: Status) -> StatusView:
    level, text = words.verdict(status)
    hours = status.stream.retention_hours
    return StatusView(
        f"{time_of_day(status.at)} UTC",
        Verdict(level, plain(text)),
        tuple(_facts(status)),
        [_shard(shard, hours) for shard in status.shards if not shard.done],
        [_worker(worker) for worker in status.workers],
    )


def _facts(status: Status) -> Iterator[tuple[str, Note]]:
    stream, leader = status.stream, status.tables.leader
    yield "Application", Note(Level.NORMAL, plain(status.application))
    yield "Stream", Note(Level.NORMAL, plain(stream.name))
    is_active = stream.state == "ACTIVE"
    yield "State of the stream", Note(Level.NORMAL if is_active else Level.NOTABLE, plain(stream.state))
    yield "Keeps records for", Note(Level.NORMAL, f"{stream.retention_hours} hours")
    yield "Leader", Note(Level.URGENT, "none") if leader is None else Note(Level.NORMAL, plain(leader))
    yield "State of the KCL", Note(Level.NORMAL, f"in {status.tables.layout}")


def _shard(shard: ShardStatus, retention_hours: int) -> ShardRow:
    owner = shard.lease.owner if shard.lease else None
    return ShardRow(
        plain(shard.name),
        plain(owner or UNKNOWN),
        plain(words.checkpoint(shard)),
        Note(words.lag_level(shard.lag, retention_hours), _lag(shard)),
        tuple(_notes(shard)),
    )


def _lag(shard: ShardStatus) -> str:
    # In words: a screen reader may pass over a dash or a question mark.
    text = words.lag(shard.lag)
    return {"-": "at the tip", "?": "not known"}.get(text, text)


def _notes(shard: ShardStatus) -> Iterator[Note]:
    for problem in shard.problems:
        yield Note(Level.NOTABLE if problem in _MILD else Level.URGENT, words.NOTES[problem])
    if shard.waits_for:
        yield Note(Level.NORMAL, plain(f"waits for {', '.join(shard.waits_for)}"))
    if shard.lease and shard.lease.successor:
        yield Note(Level.NORMAL, plain(f"moving to {shard.lease.successor}"))
    if unknown := words.lag_unknown(shard):
        yield Note(Level.UNKNOWN, plain(unknown))


def _worker(worker: WorkerStatus) -> WorkerRow:
    silent = worker.silent_seconds
    return WorkerRow(
        plain(worker.name),
        worker.leases,
        "never" if silent is None else f"{words.duration(silent)} ago",
        _joined(f"{plain(kind)} {percent:.0f} %" for kind, percent in worker.loads.items()),
        tuple(_worker_notes(worker)),
    )


def _worker_notes(worker: WorkerStatus) -> Iterator[Note]:
    if worker.leader:
        yield Note(Level.NORMAL, "leader")
    if not worker.alive:
        yield Note(Level.URGENT, "silent")


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts) or UNKNOWN
