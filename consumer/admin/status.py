"""How the workers stand, put together from KCL's tables and the stream, and what is wrong with it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from consumer.leases.kcl_tables import TRIM_HORIZON, Lease, Tables


class Problem(StrEnum):
    """What may be wrong with a shard. The values are those of `consumer status --json` (docs/how-to/operate.md)."""

    NO_LEASE = "no-lease"
    UNOWNED = "unowned"
    OWNER_SILENT = "owner-silent"
    NOT_RENEWED = "not-renewed"
    AT_TRIM_HORIZON = "at-trim-horizon"
    CHECKPOINT_REFUSED = "checkpoint-refused"
    LEFT_UNREAD = "left-unread"


FOREIGN = "leases-of-another-stream"
"""What may be wrong with the whole, as `consumer status --json` spells it."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard of the stream. `parents` may have left it already."""

    name: str
    open: bool
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lag:
    """How long the first record after the checkpoint has been in the stream: `seconds`, 0 when there is none.

    `unknown` says why it is not known; `seconds` is then None. `refused`: Kinesis does not take the checkpoint.
    """

    seconds: float | None
    unknown: str = ""
    refused: bool = False


NOT_ASKED = Lag(None, "not asked for")


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """`shard` None: it has left the stream. `waits_for`: parents that must be read to their end first."""

    name: str
    shard: Shard | None
    lease: Lease | None
    lag: Lag
    waits_for: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def done(self) -> bool:
        """Read to its end, or of no concern: nothing is left to do."""
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
    """`silent_seconds`: since its last report, None when it has left none. `leases`: of shards not yet ended."""

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
    """`shards` as the stream lists them; `origin` tells it from every other (origin.py)."""

    name: str
    state: str
    retention_hours: int
    shards: Sequence[Shard]
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """How many records lie at `place`; None, with the reason, when that cannot be told."""

    place: str
    records: int | None
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """One look at everything. `at`: Unix seconds."""

    at: float
    application: str
    stream: Stream
    tables: Tables
    shards: Sequence[ShardStatus]
    workers: Sequence[WorkerStatus]
    quarantine: Quarantine

    @property
    def foreign(self) -> str | None:
        """The stream that leases are of, when it is another than this one."""
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
    """The counter of a lease, and since when, in monotonic seconds, it has been seen unchanged."""

    counter: int
    owner: str | None
    since: float


def watched(before: Mapping[str, Seen], leases: Iterable[Lease], now: float) -> dict[str, Seen]:
    """What is remembered from one look to the next: a lease whose counter stands still is not renewed."""
    after = {lease.shard: Seen(lease.counter, lease.owner, now) for lease in leases}
    return {name: before[name] if _same(before.get(name), seen) else seen for name, seen in after.items()}


def _same(before: Seen | None, seen: Seen) -> bool:
    return before is not None and (before.counter, before.owner) == (seen.counter, seen.owner)


def not_renewed(seen: Mapping[str, Seen], now: float, seconds: float) -> frozenset[str]:
    """The shards whose lease has an owner and was not renewed for longer than that: KCL's own reason to take one."""
    return frozenset(name for name, each in seen.items() if each.owner and now - each.since > seconds)


def workers(tables: Tables, now: float, silent_after: float) -> list[WorkerStatus]:
    """Everyone who reports, or owns a lease, or leads. `silent_after`: seconds without a report."""
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
    """Every shard of the stream, and every lease of one that has left it.

    `alive`: workers that report; `stale`: shards whose lease is seen not to be renewed.
    """
    present = {each.name: each for each in stream}
    view = _View(present, {each.shard: each for each in tables.leases}, lags, frozenset(alive), frozenset(stale))
    return [_status(view, name) for name in sorted({*view.present, *view.leases})]


@dataclass(frozen=True, slots=True)
class _View:
    present: Mapping[str, Shard]
    leases: Mapping[str, Lease]
    lags: Mapping[str, Lag]
    alive: frozenset[str]
    stale: frozenset[str]

    def begun(self, name: str) -> bool:
        """Whether the shard, or one that came of it, has a lease."""
        children = (each.name for each in self.present.values() if name in each.parents)
        return name in self.leases or any(map(self.begun, children))

    def read(self, name: str) -> bool:
        """Whether the shard was read to its end. KCL removes the lease of one that was, once its children have begun;
        what has left the stream keeps nobody waiting."""
        if name in self.leases:
            return self.leases[name].ended
        return name not in self.present or (not self.present[name].open and self.begun(name))


def _status(view: _View, name: str) -> ShardStatus:
    shard, lease = view.present.get(name), view.leases.get(name)
    waits_for = tuple(parent for parent in shard.parents if not view.read(parent)) if shard else ()
    lag = view.lags.get(name, Lag(None))
    found: Iterable[Problem] = ()
    if lease is None:
        found = () if waits_for or view.begun(name) else (Problem.NO_LEASE,)
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
