"""Where the checkpoints of a stopped application go with `consumer rewind`, shard by shard. Pure.

The KCL requests records from the one at the checkpoint on, and drops that one (IteratorBuilder.request and ProcessTask
of KCL 3.1.3). So a new checkpoint is the number of a record that the shard has, which Kinesis accepts for certain, or
TRIM_HORIZON.
"""

import math
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from consumer.leases.kcl_tables import LATEST, Lease, Tables
from consumer.leases.shards import Shard


class First(NamedTuple):
    """The record with which reading starts. `arrived_at`: Unix seconds, None if Kinesis does not report it."""

    number: int
    arrived_at: float | None


@dataclass(frozen=True, slots=True)
class Place:
    """A checkpoint, and the first record after it; None if there is none, or none yet."""

    checkpoint: str
    first: First | None


@dataclass(frozen=True, slots=True)
class Known:
    """What a shard of the stream and its lease look like.

    current  where reading would continue now; None if that is not known
    target   where it should continue
    until    when its last record arrived, or, for an open shard, now; in Unix seconds, None if not known
    """

    shard: Shard
    lease: Lease | None
    current: Place | None
    target: Place
    until: float | None


class Effect(StrEnum):
    """What a new checkpoint means for the records of a shard. The values are those of `consumer rewind --json`."""

    READS_AGAIN = "reads-again"
    SKIPS = "skips"
    STAYS = "stays"
    NOT_KNOWN = "not-known"
    LEFT_THE_STREAM = "left-the-stream"


@dataclass(frozen=True, slots=True)
class Move:
    """What happens to a shard. `target`: the place of the new checkpoint, None if nothing is written.

    seconds  how long the records arrived that are read again or skipped; None if that is not known
    """

    shard: str
    effect: Effect
    lease: Lease | None
    open: bool
    target: Place | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        first = self.target.first if self.target else None
        return {
            "shard": self.shard,
            "state": "gone" if self.effect is Effect.LEFT_THE_STREAM else "open" if self.open else "closed",
            "effect": self.effect,
            "from": self.lease and self.lease.checkpoint,
            "fromSubSequenceNumber": self.lease and self.lease.sub_sequence,
            "to": self.target and self.target.checkpoint,
            "createsLease": self.target is not None and self.lease is None,
            "firstRecord": first and str(first.number),
            "firstRecordAt": first and first.arrived_at,
            "hours": None if self.seconds is None else round(self.seconds / 3600, 3),
        }


def plan(found: Sequence[Known], gone: Iterable[Lease] = ()) -> list[Move]:
    """A move for each shard, by name. `gone`: leases of shards that have left the stream."""
    effects = {each.shard.name: _effect(each) for each in found}
    written = {each.shard.name for each in found if _moves(each, effects[each.shard.name])}
    missing = [each for each in found if each.lease is None and not each.shard.open]
    written |= _needed(missing, partners(each.shard for each in found), written)
    moves = [_move(each, effects[each.shard.name], each.shard.name in written) for each in found]
    left = [Move(lease.shard, Effect.LEFT_THE_STREAM, lease, open=False) for lease in gone]
    return sorted([*moves, *left], key=lambda move: move.shard)


def _move(known: Known, effect: Effect, written: bool) -> Move:
    target = known.target if written else None
    return Move(known.shard.name, effect, known.lease, known.shard.open, target, _seconds(known))


def _moves(known: Known, effect: Effect) -> bool:
    """Whether the checkpoint changes. LATEST, which means the end at the time of the next start, is always replaced."""
    return effect is not Effect.STAYS or (known.current is not None and known.current.checkpoint == LATEST)


def _effect(known: Known) -> Effect:
    if known.current is None:
        return Effect.NOT_KNOWN
    now, then = _number(known.current), _number(known.target)
    return Effect.STAYS if now == then else Effect.READS_AGAIN if then < now else Effect.SKIPS


def _number(place: Place) -> float:
    """The number of the first record. Numbers have up to 56 digits, and are compared exactly all the same."""
    return place.first.number if place.first else math.inf


def _seconds(known: Known) -> float | None:
    places = filter(None, (known.current, known.target))
    times = [place.first.arrived_at if place.first else known.until for place in places]
    exact = [time for time in times if time is not None]
    return max(exact) - min(exact) if len(exact) == 2 else None


def _needed(missing: Sequence[Known], beside: Mapping[str, Collection[str]], written: Collection[str]) -> set[str]:
    """The closed shards without a lease that need one, although they have nothing to be read again.

    Without it, their children would not wait for the shards before them (BlockOnParentShardTask), and a shard that was
    merged with one of them would never end: the KCL wants the leases of both or of none (ShutdownTask).
    """
    left = [each for each in missing if each.shard.name not in written]
    around = {each.shard.name: {*each.shard.parents, *beside.get(each.shard.name, ())} for each in left}
    needed = {name for name, others in around.items() if not others.isdisjoint(written)}
    return needed | _needed(left, beside, {*written, *needed}) if needed else needed


def partners(shards: Iterable[Shard]) -> Mapping[str, Collection[str]]:
    """The shards with which a shard was merged, by its name."""
    merged = [shard.parents for shard in shards if len(shard.parents) > 1]
    return {name: tuple(other for other in pair if other != name) for pair in merged for name in pair}


def sign_of_life(before: Tables, after: Tables) -> str | None:
    """What a worker did between two looks; None if nothing has changed. An owner's name alone is no sign of life."""
    old, new = dict(_rows(before)), dict(_rows(after))
    return next((what for what in {**new, **old} if old.get(what) != new.get(what)), None)


def _rows(tables: Tables) -> Iterator[tuple[str, Hashable]]:
    for lease in tables.leases:
        yield f"the lease of {lease.shard}", lease
    for report in tables.reports:
        yield f"the report of {report.worker}", report.at
    if tables.lock:
        yield f"the leader's lock of {tables.lock.owner}", tables.lock.version
