"""Rows 53 to 58: faults while deliveries are gathered, because their shard is behind.

Gathered records are neither stored nor checkpointed. So each of these faults finds the table, the quarantine and the
checkpoints as they were before, and afterwards everything is settled as if nothing had been gathered.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consumer.engine.errors import Reason
from consumer.limits.sample import Sample, histories
from consumer.settings import Settings
from tests.faults.conftest import Note, stage_of
from tests.support.driven.leases import END, hand_over, leases, lost, owed, owners
from tests.support.driven.scenario import Stage, expected, poison, samples, until_equal, until_received
from tests.support.driven.service import Service, consumer, gone, send
from tests.support.driven.shards import logged_at, shards, split
from tests.support.driven.trial import Trial, undisturbed
from tests.support.driven.waiting import until
from tests.support.driven.workers import FAST_REBALANCING, gathering_worker, kill, processes, with_properties, worker
from tests.support.emulators.aws import NO_SETTINGS, Emulator
from tests.support.faults.hold_points import HoldPoints, Point
from tests.support.faults.lag import BEHIND_SECONDS, Lag
from tests.support.faults.tunnel import Tunnel, tunnel

SHARDS = 2
SHARD = "shardId-000000000000"
BEFORE, DELIVERIES, TOTAL, LATER = 200, 4, 600, 200
RECOVERY_SECONDS = 30.0
STOP_SECONDS = float(Settings.model_fields["stop_timeout_seconds"].default)
HANG_SECONDS = 8
"""The daemon exits if a record processor is silent for so long. A quarter of it is the pause between signs of life."""
IMPATIENT = {"CONSUMER_HANG_SECONDS": str(HANG_SECONDS), "CONSUMER_RESTARTS": "0"}
SILENT_SECONDS = 15
"""How long records are gathered where the daemon falls silent: enough to gather them on a busy machine."""
BREAKER = 25
OLD_SECONDS = 10.0
"""The age of the next record from which on a shard is behind."""


@dataclass(frozen=True)
class Scene:
    """A worker whose record processors settle what comes `before`, and gather the rest in several deliveries."""

    stage: Stage
    running: Service
    lag: Lag
    hold_points: HoldPoints
    before: list[Sample]
    rest: list[Sample]

    @property
    def made(self) -> list[Sample]:
        return self.before + self.rest

    def gather(self, deliveries: int = DELIVERIES) -> None:
        started = shards(self.stage).keys()
        until(lambda: logged_at([self.running], "shard started").keys() == started, "every shard to start")
        self.stage.put(self.before)
        until_received(self.running, len(self.before))
        until(lambda: owed(self.stage) == 0, "the checkpoints of what comes before")
        self.lag.begin()
        size = -(-len(self.rest) // deliveries)
        for start in range(0, len(self.rest), size):
            self.stage.put(self.rest[start : start + size])
            self.until_gathered(self.rest[: start + size])
        self.assert_only_gathered()

    def until_gathered(self, some: Sequence[Sample]) -> None:
        self.lag.until_gathered(self.running.record_processors, len(some))

    def assert_only_gathered(self) -> None:
        assert self.stage.limits() == expected(self.before)
        assert self.stage.quarantined() == poison(self.before)
        assert owed(self.stage) == len(self.rest)

    def assert_settled(self, *workers: Service) -> None:
        """Waits until everything is settled and checkpointed, and checks that these workers did so exactly once."""
        settled(self.stage, self.made)
        until(lambda: sum(each.received() for each in workers) == len(self.made), "each record to be settled once")

    def batches(self) -> list[Mapping[str, Any]]:
        """The log lines of batches after what comes before."""
        lines = logged(self.running, "batch")
        counts = [sum(line["records"] for line in lines[: index + 1]) for index in range(len(lines))]
        return [line for line, count in zip(lines, counts, strict=True) if count > len(self.before)]

    def stop(self) -> None:
        assert self.running.stop(STOP_SECONDS) == 0


@contextmanager
def scene(
    stage: Stage,
    directory: Path,
    made: Sequence[Sample],
    settings: Mapping[str, str] = NO_SETTINGS,
    *,
    before: int = BEFORE,
) -> Iterator[Scene]:
    """The first `before` records are settled, the others are gathered."""
    with gathering_worker(stage, directory, "worker", **settings) as (running, lag, hold_points):
        yield Scene(stage, running, lag, hold_points, list(made[:before]), list(made[before:]))


def history(seed: int) -> list[Sample]:
    return list(histories(Random(seed), TOTAL + LATER, users=40, duplicates=0.02, poison=0.05))


@pytest.fixture
def made(seed: int) -> list[Sample]:
    return history(seed)[:TOTAL]


def logged(running: Service, message: str) -> list[Mapping[str, Any]]:
    return [line for line in running.lines() if line["message"] == message]


def settled(stage: Stage, made: Sequence[Sample]) -> None:
    """Waits until everything is settled and checkpointed."""
    until_equal(stage, made)
    until(lambda: owed(stage) == 0, "the last checkpoints")
    assert stage.quarantined() == poison(made)
    assert lost(stage) == []


# --- Killed ----------------------------------------------------------------------------------------------------------


def the_record_processors(running: Service) -> list[int]:
    """All of them: one that lives on would settle what it has gathered while the daemon shuts down."""
    return running.record_processors()


def the_jvm(running: Service) -> list[int]:
    return [running.jvm() or 0]


@pytest.mark.parametrize("chosen", [the_record_processors, the_jvm])
def test_53_killed(
    stage: Stage, made: list[Sample], tmp_path: Path, note: Note, chosen: Callable[[Service], list[int]]
) -> None:
    """The daemon starts again under the same worker id, and the same records are delivered again."""
    with scene(stage, tmp_path, made) as play:
        play.gather()
        _, jvm, *processors = processes(play.running)
        begun = time.monotonic()
        send(signal.SIGKILL, chosen(play.running))
        gone([jvm, *processors], seconds=30)
        play.assert_only_gathered()
        play.until_gathered(play.rest)
        seconds = time.monotonic() - begun
        play.assert_only_gathered()
        play.lag.end()
        play.assert_settled(play.running)
        assert len(play.batches()) == SHARDS, "all of a shard's deliveries are one batch"
        play.stop()
        assert len(logged(play.running, "daemon started")) == 2
    note(f"{len(play.rest)} records gathered again after {seconds:.1f} s")
    assert seconds < RECOVERY_SECONDS


def test_53_killed_worker(stage: Stage, made: list[Sample], tmp_path: Path, note: Note) -> None:
    """Another worker takes the leases and reads what was gathered."""
    with scene(stage, tmp_path, made) as play:
        play.gather()
        begun = time.monotonic()
        kill(play.running)
        play.assert_only_gathered()
    with worker(stage, tmp_path, "next") as running:
        settled(stage, made)
        note(f"settled by another worker after {time.monotonic() - begun:.1f} s")
        until_received(running, len(play.rest))
        assert running.received() == len(play.rest)
        assert running.stop() == 0


# --- Lease stolen ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("handoff", "flushed"), [("0", False), ("10", True)])
def test_54_reassigned(stage: Stage, made: list[Sample], tmp_path: Path, handoff: str, *, flushed: bool) -> None:
    """At once: the old holder drops what it has gathered. After a graceful handoff: it settles it first."""
    settings = {"CONSUMER_HANDOFF_SECONDS": handoff, **with_properties(tmp_path, varianceBalancingFrequency=10**6)}
    with scene(stage, tmp_path, made, settings) as play:
        play.gather()
        with worker(stage, tmp_path, "heir", CONSUMER_WORKER_ID="heir", **settings) as heir:
            until_ready(heir)
            checkpoints = answers(play.running)["made"]
            hand_over(stage, SHARD, "heir", gracefully=flushed)
            until(lambda: SHARD in logged_at([play.running], "lease lost"), "the lease to be lost")
            until(lambda: SHARD in logged_at([heir], "shard started"), "the other worker to read the shard")
            assert [line["shard"] for line in play.batches()] == [SHARD] * flushed
            assert answers(play.running)["made"] == checkpoints + flushed
            play.lag.end()
            play.assert_settled(play.running, heir)
            play.stop()
            assert heir.stop() == 0
    assert [len(logged(running, "daemon started")) for running in (play.running, heir)] == [1, 1]


def test_54_late_writes(stage: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    """The JVM freezes. Its record processors write what they have gathered after others have written later events."""
    everything = history(seed)
    made, later = everything[:TOTAL], everything[TOTAL:]
    settings = {"CONSUMER_WORKER_ID": "zombie", "CONSUMER_GATHER_SECONDS": str(SILENT_SECONDS)}
    with scene(stage, tmp_path, made, settings) as play:
        play.gather(deliveries=1)
        play.hold_points.at(Point.BEFORE_WRITE)
        jvm = play.running.jvm()
        assert jvm
        os.kill(jvm, signal.SIGSTOP)
        until(lambda: len(play.hold_points.held(Point.BEFORE_WRITE)) == SHARDS, "both to write in the silence")
        play.assert_only_gathered()
        stage.put(later)
        with worker(stage, tmp_path, "heir", CONSUMER_WORKER_ID="heir") as heir:
            until(lambda: owners(stage) == {"heir": SHARDS}, "the leases to be taken")
            settled(stage, everything)
            before = answers(play.running)
            play.hold_points.release(Point.BEFORE_WRITE)
            until(lambda: play.running.received() == len(made), "the late writes")
            os.kill(jvm, signal.SIGCONT)
            until(lambda: len(logged(play.running, "lease lost")) >= SHARDS, "the shards to be let go")
            settled(stage, everything)
            assert answers(play.running)["made"] == before["made"], "no checkpoint of what it has written late"
            assert play.running.jvm() == jvm
            assert [line["behind_millis"] for line in play.batches()] == [None] * SHARDS, "outside a delivery"
            late = sum(line["conflicts"] for line in play.batches())
            note(f"{late} late writes were refused")
            assert late
            play.stop()
            assert heir.stop() == 0


def until_ready(running: Service) -> None:
    until(lambda: running.get("/readyz")[0] == 200, "the worker to be ready")


def answers(running: Service) -> Counter[str]:
    """The answers to checkpoints so far."""
    counts: Counter[str] = Counter()
    for sample in running.samples():
        if sample.name == "consumer_checkpoints_total":
            counts[sample.labels["result"]] += int(sample.value)
    return counts


# --- The end of a shard ----------------------------------------------------------------------------------------------


@pytest.fixture
def splittable(streams: Emulator, tables: Emulator, tmp_path: Path) -> Stage:
    return stage_of(1, streams, tables, tmp_path, "gathered-end")


@pytest.mark.conformance
def test_55_shard_end(splittable: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    """What is gathered is settled before the end is checkpointed, and the children start after that."""
    stage, settings = splittable, with_properties(tmp_path, **FAST_REBALANCING)
    everything = history(seed)
    made, later = everything[:TOTAL], everything[TOTAL:]
    with scene(stage, tmp_path, made, settings) as play:
        play.gather()
        (parent,) = shards(stage).values()
        children = {child.name for child in split(stage, parent)}
        until(lambda: children <= logged_at([play.running], "shard started").keys(), "the children to start")
        settled(stage, made)
        assert leases(stage)[parent.name].checkpoint == END
        (batch,) = play.batches()
        (ended,) = logged_at([play.running], "shard ended")[parent.name]
        assert (batch["shard"], batch["records"], batch["unsettled"]) == (parent.name, len(play.rest), None)
        assert batch["time"] <= ended <= min(logged_at([play.running], "shard started")[child][0] for child in children)
        play.lag.end()
        stage.put(later)
        settled(stage, everything)
        play.stop()
    note(f"{len(play.rest)} records of {DELIVERIES} deliveries were one batch at the end of the shard")


# --- Stopped ---------------------------------------------------------------------------------------------------------


def test_56_sigterm(stage: Stage, made: list[Sample], tmp_path: Path, note: Note) -> None:
    with scene(stage, tmp_path, made) as play:
        play.gather()
        begun = time.monotonic()
        play.stop()
        note(f"stopped within {time.monotonic() - begun:.1f} s")
        assert sum(line["records"] for line in play.batches()) == len(play.rest)
        assert [line["cut_off"] for line in logged(play.running, "shutdown requested")] == [False] * SHARDS
    assert owed(stage) == 0
    settled(stage, made)


def test_56_sigterm_while_there_is_no_table(stage: Stage, made: list[Sample], tmp_path: Path) -> None:
    """Nothing of it is checkpointed; the next worker reads it again."""
    with scene(stage, tmp_path, made, before=0) as play:
        play.gather()
        stage.dynamodb().delete_table(TableName=stage.variables["AWS_TABLE_NAME"])
        play.stop()
        assert [line["cut_off"] for line in logged(play.running, "shutdown requested")] == [True] * SHARDS
    assert owed(stage) == len(made)
    assert not stage.quarantined()
    consumer(stage.variables, "provision")
    with worker(stage, tmp_path, "next") as running:
        settled(stage, made)
        assert running.stop() == 0


# --- Poison ----------------------------------------------------------------------------------------------------------


def test_57_poison_is_quarantined_before_the_checkpoint(stage: Stage, made: list[Sample], tmp_path: Path) -> None:
    with scene(stage, tmp_path, made) as play:
        play.gather()
        assert poison(play.rest)
        play.hold_points.at(Point.BEFORE_CHECKPOINT)
        play.lag.end()
        until(lambda: len(play.hold_points.held(Point.BEFORE_CHECKPOINT)) == SHARDS, "both before their checkpoints")
        assert stage.limits() == expected(made)
        assert stage.quarantined() == poison(made)
        assert owed(stage) == len(play.rest)
        play.hold_points.release(Point.BEFORE_CHECKPOINT)
        play.assert_settled(play.running)
        play.stop()


def test_57_breaker(stage: Stage, made: list[Sample], tmp_path: Path, note: Note) -> None:
    """No delivery alone would open it. Nothing is checkpointed or quarantined, and the worker exits with the reason."""
    sound = [sample for sample in made if not sample.poison_reason][:BEFORE]
    spoilt = [
        Sample("", f"poison {number}".encode(), None, Reason.JSON) for number in range(DELIVERIES * (BREAKER - 1))
    ]
    settings = {"CONSUMER_BREAKER": str(BREAKER), "CONSUMER_RESTARTS": "1"}
    with scene(stage, tmp_path, [*sound, *spoilt], settings, before=len(sound)) as play:
        play.gather()
        play.lag.end()
        assert play.running.process.wait(120) == 1
        broken = [line["error"] for line in logged(play.running, "exiting")]
        assert broken
        assert all(f"BreakerOpen: {BREAKER} records in a row were rejected" in why for why in broken)
        assert logged(play.running, "giving up: the daemon exited more often than allowed")
    play.assert_only_gathered()
    assert lost(stage) == []
    note(f"given up after {len(broken)} record processors have left: {broken[0].splitlines()[-1]}")
    with worker(stage, tmp_path, "mended") as running:
        settled(stage, play.made)
        assert running.stop() == 0


# --- Something is away -----------------------------------------------------------------------------------------------


def test_58_quarantine_away(stage: Stage, made: list[Sample], tmp_path: Path, note: Note) -> None:
    """For longer than the daemon waits for a sign of life. Signs of life are checkpoints: none passes a record."""
    place = tmp_path / "quarantine"

    def take() -> None:
        place.rename(tmp_path / "elsewhere")
        place.touch()

    def bring_back() -> None:
        place.unlink()
        (tmp_path / "elsewhere").rename(place)

    with scene(stage, tmp_path, made, IMPATIENT) as play:
        play.gather()
        away(play, take, bring_back, "quarantine", note)
        assert stage.limits() == expected(made)


def test_58_table_away(stage: Stage, made: list[Sample], tmp_path: Path, note: Note) -> None:
    """As without the quarantine; nothing is quarantined either until the table is back."""

    def take() -> None:
        stage.dynamodb().delete_table(TableName=stage.variables["AWS_TABLE_NAME"])

    with scene(stage, tmp_path, made, IMPATIENT, before=0) as play:
        play.gather()
        away(play, take, lambda: consumer(stage.variables, "provision"), "load", note)


def away(play: Scene, take: Callable[[], None], bring_back: Callable[[], object], part: str, note: Note) -> None:
    """Takes something away, ends the gathering, and brings it back after longer than HANG_SECONDS."""
    trial = Trial(play.stage, play.running, iter(()), list(play.made))
    take()
    checkpoints = trial.checkpoints()
    with undisturbed(trial):
        play.lag.end()
        until(lambda: waiting(play, part) >= SHARDS, f"both record processors to wait for {part}")
        until_signs_of_life(trial)
        assert trial.checkpoints() == checkpoints
        bring_back()
        begun = time.monotonic()
        play.assert_settled(play.running)
        note(f"{part}: settled {time.monotonic() - begun:.1f} s after it was back")
    play.stop()


def until_signs_of_life(trial: Trial) -> None:
    """Waits until both record processors have been in a batch for longer than the daemon waits for a sign of life."""
    longer = BEHIND_SECONDS + HANG_SECONDS + 2
    until(lambda: min(trial.lags().values(), default=0.0) > longer, "the daemon to need signs of life")
    assert trial.running.get("/livez")[0] == 200


def waiting(play: Scene, part: str) -> int:
    """How many record processors have logged that they wait for it."""
    return sum(line["part"] == part and line["attempt"] == 1 for line in logged(play.running, "waiting"))


@pytest.fixture
def line(aws: Emulator) -> Iterator[Tunnel]:
    """The connection to Kinesis of the worker with the settings `silent(line)`."""
    with tunnel(aws.endpoint) as started:
        yield started


def silent(line: Tunnel) -> dict[str, str]:
    return {"CONSUMER_GATHER_SECONDS": str(SILENT_SECONDS), "AWS_ENDPOINT_URL_KINESIS": line.endpoint}


def test_58_kinesis_away(stage: Stage, line: Tunnel, made: list[Sample], tmp_path: Path, note: Note) -> None:
    """What is gathered is applied although nothing is delivered any more, and checkpointed with the next delivery."""
    with scene(stage, tmp_path, made, silent(line)) as play:
        play.gather(deliveries=1)
        line.stop()
        stopped = time.monotonic()
        until_equal(stage, made, seconds=2 * SILENT_SECONDS)
        applied = time.monotonic() - stopped
        until(lambda: play.running.received() == len(made), "both batches")
        assert [batch["behind_millis"] for batch in play.batches()] == [None] * SHARDS, "outside a delivery"
        assert stage.quarantined() == poison(made)
        assert owed(stage) == len(play.rest), "a checkpoint needs a delivery"
        line.heal()
        healed = time.monotonic()
        play.assert_settled(play.running)
        note(f"applied {applied:.1f} s into the outage, checkpointed {time.monotonic() - healed:.1f} s after it")
        play.stop()


def test_58_kinesis_and_table_away(stage: Stage, line: Tunnel, made: list[Sample], tmp_path: Path, note: Note) -> None:
    """What is retried in the silence gives way to the next delivery, so the daemon gets its signs of life."""
    with scene(stage, tmp_path, made, {**IMPATIENT, **silent(line)}, before=0) as play:
        trial = Trial(stage, play.running, iter(()))
        play.gather(deliveries=1)
        before = trial.processes()
        line.stop()
        stage.dynamodb().delete_table(TableName=stage.variables["AWS_TABLE_NAME"])
        until(lambda: waiting(play, "load") == SHARDS, "both to wait for the table in the silence")
        line.heal()
        until_signs_of_life(trial)
        assert owed(stage) == len(made)
        consumer(stage.variables, "provision")
        begun = time.monotonic()
        settled(stage, made)
        note(f"settled {time.monotonic() - begun:.1f} s after it was back")
        assert trial.processes() == before
        assert [batch["behind_millis"] for batch in play.batches()[:SHARDS]] == [None] * SHARDS, "interrupted"
        play.stop()


# --- Without a fault -------------------------------------------------------------------------------------------------


def test_a_backlog_is_gathered(stage: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    """The shipped record processor, with the lag that the emulator reports: six deliveries, one batch."""
    made = samples(seed, count=600)
    stage.put(made)
    put = time.monotonic()
    until(lambda: time.monotonic() > put + OLD_SECONDS + 1, "the records to be old")
    with worker(stage, tmp_path, "worker", CONSUMER_MAX_RECORDS="50", CONSUMER_GATHER_SECONDS="600") as running:
        settled(stage, made)
        batches = [line["records"] for line in logged(running, "batch")]
        note(f"batches of {batches} records, from deliveries of at most 50")
        assert len(batches) == SHARDS
        assert running.stop() == 0
