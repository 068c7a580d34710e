"""The state of shards and workers, derived from KCL's tables and the stream, and the problems in it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from consumer.leases.kcl_tables import TRIM_HORIZON, Lease, Tables
from consumer.leases.shards import Progress
from consumer.leases.shards import Shard as Shard  # noqa: PLC0414 - part of this interface


class Problem(StrEnum):
    """Problems of a shard. The values are those of `consumer status --json` (docs/how-to/operate.md)."""

    NO_LEASE = "no-lease"
    UNOWNED = "unowned"
    OWNER_SILENT = "owner-silent"
    NOT_RENEWED = "not-renewed"
    AT_TRIM_HORIZON = "at-trim-horizon"
    CHECKPOINT_REFUSED = "checkpoint-refused"
    LEFT_UNREAD = "left-unread"


FOREIGN = "leases-of-another-stream"
"""The problem of a whole application, as in `consumer status --json`."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How long the first record after the checkpoint has been in the stream, in seconds. 0 if there is none.

    If it is not known, `seconds` is None and `unknown` is the reason. `refused`: Kinesis rejects the checkpoint.
    """

    seconds: float | None
    unknown: str = ""
    refused: bool = False


NOT_REQUESTED = Lag(None, "not requested")


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """`shard` is None if it has left the stream. `waits_for`: parents that must be read to their end first."""

    name: str
    shard: Shard | None
    lease: Lease | None
    lag: Lag
    waits_for: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def done(self) -> bool:
        """Whether nothing is left to read: the shard was read to its end, or it is closed and its children are read."""
        ended = self.lease is not None and self.lease.ended
        closed = self.shard is not None and not self.shard.open and self.lease is None
        return ended or (closed and not self.problems and not self.waits_for)

    def to_json(self) -> dict[str, Any]:
        lease = self.lease
        return {
            "shard": self.name,
            "state": "gone" if self.shard is None else "open" if self.shard.open else "closed",
            "done": self.done,
            "lease": lease is not None,
            "owner": lease and lease.owner,
            "successor": lease and lease.successor,
            "checkpoint": lease and lease.checkpoint,
            "subSequenceNumber": lease and lease.sub_sequence,
            "leaseCounter": lease and lease.counter,
            "ownerSwitches": lease and lease.owner_switches,
            "kilobytesPerSecond": lease and lease.kilobytes,
            "lagSeconds": self.lag.seconds,
            "lagUnknown": self.lag.unknown or None,
            "waitsFor": list(self.waits_for),
            "problems": list(self.problems),
        }


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """`silent_seconds`: since its last report, None without one. `leases`: those of shards that have not ended."""

    name: str
    leases: int
    silent_seconds: float | None
    alive: bool
    leader: bool
    loads: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "worker": self.name,
            "leases": self.leases,
            "silentSeconds": self.silent_seconds,
            "alive": self.alive,
            "leader": self.leader,
            "loads": dict(self.loads),
        }


@dataclass(frozen=True, slots=True)
class Stream:
    """`shards` as the stream lists them. `origin` identifies the stream (leases/origin.py)."""

    name: str
    state: str
    retention_hours: int
    shards: Sequence[Shard]
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The number of records at `place`. If it is not known, `records` is None and `unknown` is the reason."""

    place: str
    records: int | None
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of everything at one time. `at`: Unix seconds."""

    at: float
    application: str
    stream: Stream
    tables: Tables
    shards: Sequence[ShardStatus]
    workers: Sequence[WorkerStatus]
    quarantine: Quarantine

    @property
    def foreign(self) -> str | None:
        """The other stream that leases belong to, if any."""
        return next(
            (lease.origin for lease in self.tables.leases if lease.origin not in (None, self.stream.origin)), None
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at,
            "problems": [FOREIGN] if self.foreign else [],
            "application": self.application,
            "layout": self.tables.layout,
            "leader": self.tables.leader,
            "stream": {
                "name": self.stream.name,
                "state": self.stream.state,
                "retentionHours": self.stream.retention_hours,
            },
            "shards": [shard.to_json() for shard in self.shards],
            "workers": [worker.to_json() for worker in self.workers],
            "quarantine": {
                "place": self.quarantine.place,
                "records": self.quarantine.records,
                "unknown": self.quarantine.unknown or None,
            },
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """The counter of a lease, and the monotonic time in seconds since which it is unchanged."""

    counter: int
    owner: str | None
    since: float


def watched(before: Mapping[str, Seen], leases: Iterable[Lease], now: float) -> dict[str, Seen]:
    """The counters to compare with at the next look. A lease whose counter does not change is not renewed."""
    after = {lease.shard: Seen(lease.counter, lease.owner, now) for lease in leases}
    return {name: before[name] if _same(before.get(name), seen) else seen for name, seen in after.items()}


def _same(before: Seen | None, seen: Seen) -> bool:
    return before is not None and (before.counter, before.owner) == (seen.counter, seen.owner)


def not_renewed(seen: Mapping[str, Seen], now: float, seconds: float) -> frozenset[str]:
    """Shards whose lease has an owner but was not renewed for `seconds`, after which KCL takes a lease over."""
    return frozenset(name for name, each in seen.items() if each.owner and now - each.since > seconds)


def workers(tables: Tables, now: float, silent_after: float) -> list[WorkerStatus]:
    """Every worker that reports, owns a lease or is the leader. `silent_after`: seconds without a report."""
    # The sets differ: a new worker reports before it owns a lease, and an exited one may still own leases.
    leases = Counter(lease.owner for lease in tables.leases if lease.owner and not lease.ended)
    reports = {report.worker: report for report in tables.reports}
    known = sorted({*leases, *reports, *filter(None, [tables.leader])})
    silent = {name: max(0.0, now - reports[name].at) if name in reports else None for name in known}
    return [
        WorkerStatus(
            name,
            leases[name],
            age,
            alive=age is not None and age <= silent_after,
            leader=name == tables.leader,
            loads=reports[name].loads if name in reports else {},
        )
        for name, age in silent.items()
    ]


def shards(
    stream: Sequence[Shard],
    tables: Tables,
    lags: Mapping[str, Lag],
    alive: Iterable[str],
    stale: Iterable[str] = (),
) -> list[ShardStatus]:
    """Every shard of the stream, and every shard that has left it but still has a lease.

    `alive`: the workers that report. `stale`: the shards whose lease is not renewed.
    """
    view = _View(Progress.of(stream, tables.leases), lags, frozenset(alive), frozenset(stale))
    return [_status(view, name) for name in view.progress.names()]


@dataclass(frozen=True, slots=True)
class _View:
    progress: Progress
    lags: Mapping[str, Lag]
    alive: frozenset[str]
    stale: frozenset[str]


def _status(view: _View, name: str) -> ShardStatus:
    progress = view.progress
    shard, lease, waits_for = progress.present.get(name), progress.leases.get(name), progress.waits_for(name)
    lag = view.lags.get(name, Lag(None))
    found: Iterable[Problem] = ()
    if lease is None:
        found = () if waits_for or progress.started(name) else (Problem.NO_LEASE,)
    elif not lease.ended:
        found = (*_of_owner(view, lease), *_of_place(lease, lag, gone=shard is None, waiting=bool(waits_for)))
    return ShardStatus(name, shard, lease, lag, waits_for, tuple(found))


def _of_owner(view: _View, lease: Lease) -> Iterable[Problem]:
    if lease.owner is None:
        yield Problem.UNOWNED
    elif lease.owner not in view.alive:
        yield Problem.OWNER_SILENT
    if lease.shard in view.stale:
        yield Problem.NOT_RENEWED


def _of_place(lease: Lease, lag: Lag, *, gone: bool, waiting: bool) -> Iterable[Problem]:
    if gone:
        yield Problem.LEFT_UNREAD
    if lag.refused:
        yield Problem.CHECKPOINT_REFUSED
    if lease.checkpoint == TRIM_HORIZON and not waiting and lag.seconds != 0:
        yield Problem.AT_TRIM_HORIZON
