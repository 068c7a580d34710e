"""`consumer rewind`: sets the checkpoints of a stopped application to an earlier or a later place."""

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from botocore.config import Config
from pydantic import TypeAdapter, ValidationError

from consumer import bootstrap
from consumer.admin.provision import lease_row
from consumer.engine.errors import SettingsError, Unavailable
from consumer.leases import tables
from consumer.leases.kcl_tables import LATEST, SHARD_END, TRIM_HORIZON, Lease, Tables
from consumer.leases.lease_store import DynamoLeases
from consumer.leases.origin import Application
from consumer.leases.rewinding import Effect, First, Known, Move, Place, partners, plan, sign_of_life
from consumer.leases.shards import Progress, Shard
from consumer.settings import Settings, StartAt
from consumer.stores.aws import CLIENT, unavailable
from consumer.stores.positions import OLDEST, ShardRecords, Start, after_number, at, at_number

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import RecordTypeDef, ShardTypeDef

LOOK_SECONDS = 1.0
"""Between two looks at the leases while it waits whether one is renewed."""

Target: TypeAlias = str | datetime
"""`trim-horizon`, `latest`, a time, or the sequence number of the first record to read."""

_MANY_ATTEMPTS = CLIENT.merge(Config(retries={"mode": "standard", "total_max_attempts": 6}))
"""Other applications that read the stream share Kinesis' limits of requests."""


def target_of(text: str) -> Target:
    """Raises SettingsError."""
    if re.fullmatch(r"[0-9]{14,128}", text):
        return text
    try:
        found: Target = TypeAdapter(StartAt).validate_python(text)
    except ValidationError as wrong:
        why = wrong.errors()[0]["msg"].removeprefix("Value error, ")
        raise SettingsError([f"--to {text!r}: {why}; or use the sequence number of a record"]) from None
    return found


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to each shard. `listed`: the shards as Kinesis lists them. `origin` identifies the stream."""

    application: str
    stream: str
    origin: str
    listed: Mapping[str, "ShardTypeDef"]
    moves: Sequence[Move]

    @property
    def writes(self) -> list[Move]:
        return [move for move in self.moves if move.target]

    @property
    def skips(self) -> list[Move]:
        return [move for move in self.moves if move.effect is Effect.SKIPS]

    def to_json(self) -> dict[str, Any]:
        moves = [move.to_json() for move in self.moves]
        return {"application": self.application, "stream": self.stream, "shards": moves}


@dataclass(frozen=True, slots=True)
class Rewinder:
    """Plans a rewind and carries it out. `now`: Unix seconds; `clock`: monotonic seconds."""

    settings: Settings
    kinesis: "KinesisClient"
    dynamodb: "DynamoDBClient"
    requests: Executor
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def of(cls, settings: Settings) -> Self:
        kinesis = bootstrap.stream_client(settings, _MANY_ATTEMPTS)
        dynamodb = bootstrap.client(settings, "dynamodb", _MANY_ATTEMPTS)
        return cls(settings, kinesis, dynamodb, bootstrap.pool())

    def plan(self, target: Target, only: str | None = None) -> Plan:
        """From where to where each shard goes; `only`: one of them. Changes nothing.

        Raises Unavailable while a worker runs, and SettingsError if the target or the leases do not fit the stream.
        """
        name, stream = self.settings.application_name, self.settings.stream_name
        with unavailable(f"rewind of application {name}"):
            found = self._unchanged()
            application = Application(name, stream, self.kinesis, self.dynamodb)
            origin = application.origin()
            if origin is None:
                raise Unavailable(f"stream {stream} does not exist")
            application.check(found.leases, origin)
            listed, retention = self._listed(), application.retention_seconds()
            names = _chosen(listed, found.leases, target, only)
            return Plan(name, stream, origin, listed, self._moves(listed, found.leases, names, target, retention))

    def apply(self, planned: Plan, report: Callable[[Move], object]) -> None:
        """Sets the checkpoints and calls `report` after each. Raises Unavailable at the first one that has changed."""
        with unavailable(f"rewind of application {planned.application}"):
            for move in planned.writes:
                if not self._set(planned, move):
                    advice = "it and the shards after it are not set; stop every worker and run the command again"
                    raise Unavailable(f"{move.shard}: a worker has changed its lease: {advice}")
                report(move)

    def _set(self, planned: Plan, move: Move) -> bool:
        store = DynamoLeases(lambda: self.dynamodb, planned.application)
        checkpoint = move.target.checkpoint if move.target else ""
        if move.lease:
            return store.rewind(move.lease, checkpoint)
        return store.create(lease_row(planned.listed[move.shard], planned.origin, checkpoint))

    def _unchanged(self) -> Tables:
        """The KCL's tables, after nobody has changed them for the failover time."""
        found = self._tables()
        end = self.clock() + self.settings.failover_millis / 1000
        while (left := end - self.clock()) > 0:
            self.sleep(min(left, LOOK_SECONDS))
            if changed := sign_of_life(found, self._tables()):
                why = f"{changed} has just changed: stop every worker and run the command again"
                raise Unavailable(f"application {self.settings.application_name} is running: {why}")
        return found

    def _tables(self) -> Tables:
        name = self.settings.application_name
        found = tables.read(self.dynamodb, name)
        if found is None or not found.leases:
            raise Unavailable(f"application {name} has no leases: there is nothing to rewind")
        return found

    def _listed(self) -> dict[str, "ShardTypeDef"]:
        pages = self.kinesis.get_paginator("list_shards").paginate(StreamName=self.settings.stream_name)
        return {shard["ShardId"]: shard for page in pages for shard in page["Shards"]}

    def _moves(
        self,
        listed: Mapping[str, "ShardTypeDef"],
        leases: Iterable[Lease],
        names: Collection[str],
        target: Target,
        retention: int,
    ) -> list[Move]:
        progress = Progress.of(map(Shard.listed, listed.values()), leases)
        survey = Survey(self, progress, target, int(self.now()), retention)
        found = list(self.requests.map(survey.known, [name for name in names if name in listed]))
        gone = [lease for name, lease in progress.leases.items() if name in names and name not in listed]
        return plan(found, gone)


@dataclass(frozen=True, slots=True)
class Survey:
    """Finds the places in the shards of a stream. `now`: Unix second; `retention`: seconds for which records stay."""

    rewinder: Rewinder
    progress: Progress
    target: Target
    now: int
    retention: int

    def known(self, name: str) -> Known:
        shard, lease, records = self.progress.present[name], self.progress.leases.get(name), self._records(name)
        last = None if shard.open else self._last_before(records, None)
        until = _first(last).arrived_at if last else float(self.now)
        return Known(shard, lease, self._current(records, lease), self._place(records), until)

    def _records(self, name: str) -> ShardRecords:
        return ShardRecords(self.rewinder.kinesis, self.rewinder.settings.stream_name, name, pause=self.rewinder.sleep)

    def _current(self, records: ShardRecords, lease: Lease | None) -> Place | None:
        """Where reading would continue. None if the KCL does not know, or Kinesis refuses the checkpoint."""
        checkpoint = lease.checkpoint if lease else SHARD_END if self.progress.read(records.shard) else TRIM_HORIZON
        if checkpoint in (SHARD_END, LATEST):
            return Place(checkpoint, None)
        start = self._start(checkpoint)
        if start is None:
            return None
        try:
            return Place(checkpoint, _optional(records.first(start)))
        except records.client.exceptions.InvalidArgumentException:
            return None

    def _start(self, checkpoint: str) -> Start | None:
        if checkpoint.isdecimal():
            return after_number(checkpoint)
        moment = self.rewinder.settings.start_at
        if checkpoint == "AT_TIMESTAMP" and isinstance(moment, datetime):
            return at(moment)
        return OLDEST if checkpoint == TRIM_HORIZON else None

    def _place(self, records: ShardRecords) -> Place:
        """The place of the new checkpoint. LATEST is not one: it means the end of the shard when a worker starts."""
        if self.target == "trim-horizon":
            return Place(TRIM_HORIZON, _optional(records.first(OLDEST)))
        first = None if self.target == "latest" else self._first_at(records)
        before = self._last_before(records, first["SequenceNumber"] if first else None)
        return Place(before["SequenceNumber"] if before else TRIM_HORIZON, _optional(first))

    def _first_at(self, records: ShardRecords) -> "RecordTypeDef | None":
        if isinstance(self.target, datetime):
            return records.first(at(self.target))
        try:
            return records.first(at_number(self.target))
        except records.client.exceptions.InvalidArgumentException:
            raise SettingsError([f"Kinesis refuses the sequence number {self.target} for {records.shard}"]) from None

    def _last_before(self, records: ShardRecords, number: str | None) -> "RecordTypeDef | None":
        return records.last_before(number, self.now - self.retention, self.now)


def _optional(record: "RecordTypeDef | None") -> First | None:
    return _first(record) if record else None


def _first(record: "RecordTypeDef") -> First:
    arrived = record.get("ApproximateArrivalTimestamp")
    return First(int(record["SequenceNumber"]), arrived.timestamp() if arrived else None)


def _chosen(
    listed: Mapping[str, "ShardTypeDef"], leases: Iterable[Lease], target: Target, only: str | None
) -> Collection[str]:
    """The names of the shards to rewind: all, `only`, or the one that has the sequence number."""
    known = {*listed, *(lease.shard for lease in leases)}
    if only is not None and only not in known:
        raise SettingsError([f"--shard {only}: no such shard; `consumer status` lists them"])
    names = known if only is None else {only}
    if isinstance(target, str) and target.isdecimal():
        names = {_holder(listed, names, target)}
        only = next(iter(names))
    if only is not None:
        _refuse_merged(listed, only)
    return names


def _holder(listed: Mapping[str, "ShardTypeDef"], names: Collection[str], number: str) -> str:
    """The shard whose range has the sequence number."""
    found = sorted(name for name in names if name in listed and _has(listed[name], int(number)))
    if not found:
        raise SettingsError([f"--to {number}: no shard has this sequence number: the record has expired, or never was"])
    if len(found) > 1:
        raise SettingsError([f"--to {number}: it may be of {' or '.join(found)}: say which with --shard"])
    return found[0]


def _has(shard: "ShardTypeDef", number: int) -> bool:
    numbers = shard["SequenceNumberRange"]
    first, last = int(numbers["StartingSequenceNumber"]), numbers.get("EndingSequenceNumber")
    return first <= number and (last is None or number <= int(last))


def _refuse_merged(listed: Mapping[str, "ShardTypeDef"], name: str) -> None:
    """The KCL ends a merged shard only while the leases of both shards exist, and may delete that of the other one."""
    if others := partners(map(Shard.listed, listed.values())).get(name):
        why = f"{name} was merged with {' and '.join(others)}, and the KCL could not end it alone"
        raise SettingsError([f"{why}: rewind all shards to a time, without --shard"])
