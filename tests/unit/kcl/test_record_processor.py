"""A shard from start to end, driven by a fake MultiLangDaemon: what is stored and checkpointed, and how it ends."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, pairwise
from secrets import token_hex
from typing import Any, NoReturn, TextIO, cast

import pytest

from consumer.archive.segment import PlaceArchive
from consumer.engine.aggregation import RECORDS
from consumer.engine.archive import ArchivePolicy
from consumer.engine.checkpoints import CheckpointPolicy
from consumer.engine.errors import Unavailable
from consumer.engine.gathering import GatheringPolicy
from consumer.engine.processor import QUARANTINE_GROUP, Known
from consumer.engine.records import Position, Record
from consumer.engine.stream import BelievedStream, Ending, Stream
from consumer.engine.window import MOST
from consumer.kcl.pipes import Pipes
from consumer.kcl.record_processor import ShardConsumer, ShardRules, serve
from consumer.kcl.retry import REPORT, STEP, Runtime, UntilStopped
from consumer.limits.state import LimitState
from consumer.monitoring import logs, metrics
from consumer.monitoring.logs import JsonLines
from consumer.monitoring.metrics import Metric
from tests.support.driven.archives import archived, data_of, numbers
from tests.support.driven.daemon import (
    HANG_UP,
    INITIALIZE,
    LEASE_LOST,
    MADE,
    SHARD_ENDED,
    SHUTDOWN_REQUESTED,
    Answer,
    Daemon,
    Message,
    Silence,
    Step,
    batch,
    delivered,
    raw,
)
from tests.support.generators import kpl
from tests.support.generators.events import START, created, encode, foreign, progress_changed
from tests.support.simulation.core import Core, Fate, FlakyPlace, FlakyQuarantine, FlakyRepository, memory

EVERY_BATCH = CheckpointPolicy(seconds=1_000, records=1)
SELDOM = CheckpointPolicy(seconds=60, records=1_000)
EPOCH = 1e9
"""The difference between the wall clock and the monotonic clock, in seconds."""
GATHERING = GatheringPolicy(seconds=5.0, behind=10.0, records=6, size=10_000)
DEADLINE, CHECKPOINT_TIMEOUT, SHARD_END, KEEP_ALIVE = 5.0, 2.0, 60.0, 30.0

THROTTLED, DEPENDENCY, UNREACHABLE = "ThrottlingException", "KinesisClientLibDependencyException", "RuntimeException"
LEASE_GONE, INVALID, ARGUMENT = "ShutdownException", "InvalidStateException", "IllegalArgumentException"
BUSY = (THROTTLED, DEPENDENCY, UNREACHABLE)
FATAL = (INVALID, ARGUMENT, "NullPointerException", HANG_UP, INITIALIZE)
"""Answers after which the process must exit, including no answer and an invalid one."""


@dataclass
class Clockwork:
    """A runtime whose time passes only in `sleep`. Once `broken` is set, `now` raises it."""

    time: float = 1_000.0
    stop_at: float = float("inf")
    exit_code: int | None = None
    broken: BaseException | None = None

    def runtime(self) -> Runtime:
        return Runtime(
            clock=lambda: self.time,
            now=self.now,
            sleep=self.pass_time,
            random=lambda: 1.0,
            stop_requested=lambda: self.time >= self.stop_at,
            exit=self.exit,
        )

    def now(self) -> float:
        if self.broken:
            raise self.broken
        return self.time + EPOCH

    def pass_time(self, seconds: float) -> None:
        self.time += seconds

    def exit(self, code: int) -> NoReturn:
        self.exit_code = code
        raise SystemExit(code)


@dataclass
class Life:
    """A shard at one worker, from its start to its end."""

    core: Core = field(default_factory=Core)
    policy: CheckpointPolicy = EVERY_BATCH
    clockwork: Clockwork = field(default_factory=Clockwork)
    stream: Stream = BelievedStream("limits")  # noqa: RUF009 - it is frozen
    measured: dict[Metric, list[tuple[float, float, tuple[str, ...]]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Measurements by metric: time, value, labels."""
    archiving: ArchivePolicy = ArchivePolicy()  # noqa: RUF009 - it is frozen

    def live(self, *steps: Step, answers: Sequence[Answer] = (MADE,), begun: Message = INITIALIZE) -> Daemon:
        """Starts the shard and runs the steps, until the daemon closes the pipe or the process exits."""
        rules = ShardRules(self.policy, DEADLINE, CHECKPOINT_TIMEOUT, SHARD_END, KEEP_ALIVE, GATHERING, self.archiving)
        runtime = self.clockwork.runtime()
        daemon = Daemon((begun, *steps), answers)
        pipe = cast("TextIO", daemon)
        with suppress(SystemExit):
            consumer = ShardConsumer(self.core.processor, self.stream, rules, self._measure, runtime)
            serve(consumer, Pipes(pipe, pipe, daemon.is_readable))
        return daemon

    def _measure(self, metric: Metric, value: float, *labels: str) -> None:
        self.measured[metric].append((self.clockwork.time, value, labels))

    def counted(self, metric: Metric) -> dict[tuple[str, ...], float]:
        totals: dict[tuple[str, ...], float] = defaultdict(float)
        for _, value, labels in self.measured[metric]:
            totals[labels] += value
        return totals


@pytest.fixture
def life() -> Life:
    return Life()


FIRST = batch(delivered(101, created(1)), delivered(102, progress_changed(2)))
SECOND = batch(delivered(103, progress_changed(3, previousProgress="10")))


# without failures


def test_a_shard_from_start_to_end(life: Life) -> None:
    daemon = life.live(FIRST, SECOND, SHUTDOWN_REQUESTED, LEASE_LOST)
    assert daemon.done == ["initialize", "processRecords", "processRecords", "shutdownRequested", "leaseLost"]
    assert daemon.made == [("102", 0), ("103", 0)]
    assert (life.core.limit()["progress"], life.clockwork.exit_code) == ("20", None)


def test_the_metrics_of_a_batch(life: Life) -> None:
    life.live(batch(delivered(101, created(1)), delivered(102, b"poison"), behind=5_000), LEASE_LOST)
    assert life.counted(metrics.RECORDS) == {("USER_LIMIT_CREATED", "applied"): 1, ("UNREADABLE", "quarantined"): 1}
    assert life.counted(metrics.CHECKPOINTS) == {("made",): 1}
    assert {value for _, value, _ in life.measured[metrics.BEHIND]} == {5}


def test_the_times_of_the_last_batch_and_the_last_checkpoint_are_measured() -> None:
    clockwork = Clockwork()
    life = Life(Core(failing(clockwork, until=1_000 + 600)), clockwork=clockwork)
    life.live(batch(), FIRST, batch(), LEASE_LOST)
    batches = [value - EPOCH for _, value, _ in life.measured[metrics.LAST_BATCH]]
    (checkpoint,) = (value - EPOCH for _, value, _ in life.measured[metrics.LAST_CHECKPOINT])
    assert (batches[0], batches[-1]) == (1_000, checkpoint)
    assert all(later - earlier <= 1 for earlier, later in pairwise(batches)), "a batch that waits is still the last one"
    assert checkpoint >= 1_600


def test_a_shard_that_never_gets_a_batch_has_a_start(life: Life) -> None:
    life.live(LEASE_LOST)
    assert [value - EPOCH for _, value, _ in life.measured[metrics.SHARD_START]] == [1_000]
    assert metrics.LAST_BATCH not in life.measured


def test_a_checkpoint_is_timed_and_one_that_is_refused_is_counted(life: Life) -> None:
    life.live(FIRST, answers=(INVALID,))
    assert life.counted(metrics.CHECKPOINTS) == {("refused",): 1}
    assert len(life.measured[metrics.CHECKPOINT_SECONDS]) == 1
    assert metrics.LAST_CHECKPOINT not in life.measured


def test_a_fatal_answer_is_named_in_the_log(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    life.live(FIRST, answers=(INVALID,))
    assert str(JsonLines().line(caplog.records[-1])["error"]).endswith(f"CheckpointRefused: {INVALID}")


def test_its_log_messages_contain_no_payload(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    life.live(batch(delivered(101, created(1)), delivered(102, b'{"type": "s3cr3t"')), SHUTDOWN_REQUESTED)
    logged = {record.getMessage(): vars(record) for record in caplog.records if record.name.startswith("consumer")}
    assert logged.keys() == {"shard started", "record", "quarantined", "batch", "shutdown requested"}
    assert logged["quarantined"]["position"] == "limits/shardId-000000000000/102"
    assert (logged["batch"]["first"], logged["batch"]["last"], logged["batch"]["applied"]) == ("101", "102", 1)
    assert not [line for line in logged.values() if "s3cr3t" in str(line)]


def test_the_fields_of_the_log_line_of_a_batch(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    life.live(batch(delivered(101, created(1)), delivered(102, created(1)), behind=1_200))
    (line,) = [JsonLines().line(record) for record in caplog.records if record.getMessage() == "batch"]
    seconds = line.pop("seconds")
    assert isinstance(seconds, dict)
    assert {"decode", "store", "quarantine"} <= seconds.keys()
    assert {name: value for name, value in line.items() if name not in ("time", "level", "logger", "message")} == {
        "behind_millis": 1_200,
        "shard": "shardId-000000000000",
        "first": "101",
        "last": "102",
        "records": 2,
        "applied": 1,
        "duplicate": 1,
        "stale": 0,
        "ignored": 0,
        "quarantined": 0,
        "unsettled": None,
        "warnings": {},
        "writes": 1,
        "conflicts": 0,
    }


def test_correlation_ids_are_logged_only_at_debug(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    event = created(1) | {"context": {"correlationId": "c-17"}}
    life.live(batch(delivered(101, event), delivered(102, b"poison")))
    lines = [JsonLines().line(record) for record in caplog.records if record.name == "consumer.kcl"]
    logged = {line["position"]: line for line in lines if line["message"] == "record"}
    sound, poison = (logged[f"limits/shardId-000000000000/{number}"] for number in (101, 102))
    assert (sound["correlation_id"], sound["outcome"], sound["type"]) == ("c-17", "applied", "USER_LIMIT_CREATED")
    assert (poison["correlation_id"], poison["outcome"]) == (None, "quarantined")
    assert not [line for line in lines if "c-17" in str(line) and line["level"] != "DEBUG"]


def test_the_lag_is_optional(life: Life) -> None:
    assert life.live(batch(delivered(101, created(1)), behind=None)).made == [("101", 0)]
    assert life.counted(metrics.BEHIND) == {("shardId-000000000000",): 0}


def test_positions_and_times_come_from_the_stream(life: Life) -> None:
    life.live(batch(delivered(101, b"poison", sub=3)))
    (entry,) = life.core.quarantine.entries()
    assert str(entry.record.position) == "limits/shardId-000000000000/101-3"
    assert entry.record.arrived_at == 1_767_225_600_000


def test_the_checkpoint_of_a_split_aggregate_has_the_sub_sequence_number(life: Life) -> None:
    daemon = life.live(batch(delivered(101, created(1), sub=0), delivered(101, progress_changed(2), sub=1)))
    assert daemon.made == [("101", 1)]


def test_broken_base64_is_quarantined_and_checkpointed_past(life: Life) -> None:
    daemon = life.live(
        batch(delivered(101, created(1)), raw(102, "e30#"), raw(103, None), delivered(104, progress_changed(2)))
    )
    assert [entry.record.data for entry in life.core.quarantine.entries()] == [b"e30#", b""]
    assert (daemon.made, life.core.limit()["progress"]) == ([("104", 0)], "10")


def test_a_broken_aggregate_is_quarantined(life: Life) -> None:
    life.live(batch(delivered(101, kpl.aggregate(encode(created(1)))[:-1])))
    assert [entry.reason for entry in life.core.quarantine.entries()] == ["AGGREGATE"]


WHOLE = kpl.aggregate(encode(created(1)), encode(progress_changed(2)))


def test_an_aggregate_is_split_and_checkpointed_as_one_record(life: Life) -> None:
    assert life.live(batch(delivered(101, WHOLE))).made == [("101", 0)]
    assert life.core.limit()["progress"] == "10"


def test_a_partly_settled_aggregate_is_not_checkpointed() -> None:
    clockwork = Clockwork(stop_at=1_000)
    life = Life(Core(quarantine=FlakyQuarantine(lambda: True)), clockwork=clockwork)
    spoilt = kpl.aggregate(encode(created(1)), b"poison", encode(progress_changed(2)))
    daemon = life.live(batch(delivered(101, foreign("NEW")), delivered(102, spoilt)), SHUTDOWN_REQUESTED)
    assert (daemon.made, life.core.limit()["progress"]) == ([("101", 0)], "10")


def test_records_that_the_daemon_has_split_are_not_split_again(life: Life) -> None:
    daemon = life.live(batch(delivered(102, created(1), 0), delivered(102, WHOLE, 1)))
    (entry,) = life.core.quarantine.entries()
    assert (entry.reason, entry.record.data, str(entry.record.position)[-6:]) == ("AGGREGATE", WHOLE, "/102-1")
    assert daemon.made == [("102", 1)]


def test_a_replayed_batch_changes_nothing(life: Life) -> None:
    assert life.live(FIRST, FIRST, SECOND, FIRST).made[-1] == ("102", 0)
    assert life.core.limit()["progress"] == "20"


# gathering while behind


def behind(*numbers: int, seconds: float = 60) -> Message:
    """One event for each number, all of one limit, from a shard that is behind."""
    events = {number: progress_changed(number - 99, amount=f"{number}") for number in numbers}
    return batch(*(delivered(number, event) for number, event in events.items()), behind=round(seconds * 1_000))


@pytest.fixture
def watched() -> tuple[Life, FlakyRepository[LimitState]]:
    """A life, and its repository, which counts the saves."""
    repository = FlakyRepository(memory())
    return Life(Core(repository), policy=CheckpointPolicy(seconds=1_000, records=1)), repository


Watched = tuple[Life, FlakyRepository[LimitState]]


def test_behind_deliveries_are_processed_together(watched: Watched) -> None:
    life, repository = watched
    daemon = life.live(behind(101, 102), behind(103, 104), behind(105, 106))
    assert (len(repository.saves), daemon.made) == (1, [("106", 0)])
    assert life.core.limit()["lastSequenceNumber"] == 7


def test_gathered_records_are_neither_stored_nor_checkpointed(watched: Watched) -> None:
    life, repository = watched
    daemon = life.live(behind(101), behind(102), behind())
    assert (repository.saves, daemon.requested, daemon.done.count("processRecords")) == ([], [], 3)


@pytest.mark.parametrize("caught_up", [behind(102, seconds=9.9), behind(seconds=0)])
def test_a_delivery_that_is_not_behind_ends_the_gathering(watched: Watched, caught_up: Message) -> None:
    life, repository = watched
    daemon = life.live(behind(101), caught_up)
    last = caught_up["records"][-1]["sequenceNumber"] if caught_up["records"] else "101"
    assert (len(repository.saves), daemon.made) == (1, [(last, 0)])


def test_records_wait_for_a_limited_time(watched: Watched) -> None:
    life, _ = watched
    pause = life.clockwork.pass_time
    daemon = life.live(behind(101), lambda: pause(4.9), behind(102), lambda: pause(0.1), behind())
    assert daemon.made == [("102", 0)]
    assert life.live(behind(103), lambda: pause(4.9), behind(104)).made == [], "each gathering has its own time"


def test_gathering_is_bounded_in_bytes(watched: Watched) -> None:
    life, repository = watched
    large = progress_changed(3) | {"source": "x" * GATHERING.size}
    assert life.live(behind(101), batch(delivered(102, large), behind=60_000)).made == [("102", 0)]
    assert len(repository.saves) == 1


def test_a_shard_that_is_never_behind_gathers_nothing(watched: Watched) -> None:
    life, repository = watched
    life.live(FIRST, SECOND)
    assert len(repository.saves) == 2


def test_a_lost_lease_drops_gathered_records(watched: Watched) -> None:
    life, repository = watched
    daemon = life.live(behind(101), LEASE_LOST)
    assert (repository.saves, daemon.requested, life.clockwork.exit_code) == ([], [], None)


def test_a_stop_processes_gathered_records_and_checkpoints_them(watched: Watched) -> None:
    life, repository = watched
    daemon = life.live(behind(101), behind(102), SHUTDOWN_REQUESTED, LEASE_LOST)
    assert (len(repository.saves), daemon.made) == (1, [("102", 0)])


def test_a_stop_while_the_store_fails_checkpoints_no_gathered_record(watched: Watched) -> None:
    life, repository = watched
    life.clockwork.stop_at = 1_000
    daemon = life.live(
        FIRST, behind(103), lambda: setattr(repository, "fate", lambda _key: Fate.THROTTLED), SHUTDOWN_REQUESTED
    )
    assert (daemon.made, life.core.limit()["lastSequenceNumber"]) == ([("102", 0)], 2)


def test_the_end_of_a_shard_processes_gathered_records_first(watched: Watched) -> None:
    life, repository = watched
    daemon = life.live(behind(101), SHARD_ENDED)
    assert (len(repository.saves), daemon.made) == (1, [(None, None)])


def test_an_unconfirmed_end_checkpoints_no_gathered_record() -> None:
    life = Life(stream=ScriptedStream([Ending.OPEN]))
    daemon = life.live(behind(101), SHARD_ENDED)
    assert (daemon.requested, life.clockwork.exit_code) == ([], 1)


def test_the_breaker_counts_over_gathered_deliveries() -> None:
    life = Life(Core(breaker=3))
    poison = [batch(delivered(number, b"poison"), behind=60_000) for number in (101, 102, 103)]
    daemon = life.live(*poison, SHUTDOWN_REQUESTED)
    assert (daemon.requested, life.clockwork.exit_code) == ([], 1)
    assert list(life.core.quarantine.entries()) == []


def test_gathered_poison_is_quarantined_before_the_checkpoint() -> None:
    life = Life()
    daemon = life.live(batch(delivered(101, b"poison"), behind=60_000), behind(102), SHUTDOWN_REQUESTED)
    assert len(list(life.core.quarantine.entries())) == 1
    assert daemon.made == [("102", 0)]


def test_a_message_of_life_does_not_checkpoint_gathered_records() -> None:
    """A batch that waits for the store sends checkpoints as signs of life. They stay before what is unsettled."""
    clockwork = Clockwork()
    life = Life(Core(failing(clockwork, until=1_000 + 600)), clockwork=clockwork)
    daemon = life.live(behind(101), behind(102), behind(103, seconds=0))
    assert (daemon.made, daemon.vain > 0) == ([("103", 0)], True)


def test_gathered_records_are_processed_when_the_daemon_falls_silent(watched: Watched) -> None:
    """As when Kinesis is unavailable: nothing more is delivered, but what was delivered must be seen."""
    life, repository = watched
    silence = Silence(600, life.clockwork.runtime())
    stored_at: list[float] = []
    repository.before_save = lambda: stored_at.append(life.clockwork.time)
    daemon = life.live(behind(101), silence, behind())
    assert stored_at == [1_000 + GATHERING.seconds]
    assert daemon.made == [("101", 0)], "the next message brings the checkpoint"


def test_a_store_that_fails_in_the_silence_does_not_keep_the_daemon_waiting() -> None:
    clockwork = Clockwork()
    life = Life(Core(failing(clockwork, until=1_000 + 60)), clockwork=clockwork)
    daemon = life.live(behind(101), Silence(30, clockwork.runtime()), behind(102), SHUTDOWN_REQUESTED)
    assert daemon.made == [("102", 0)]
    assert life.counted(metrics.RECORDS) == {("USER_LIMIT_PROGRESS_CHANGED", "applied"): 2}


def test_what_a_message_interrupts_is_processed_again_without_a_gap() -> None:
    """Some of the gathered records are settled when the message comes: the checkpoint may not pass the others."""
    clockwork = Clockwork(stop_at=1_020)
    stuck = FlakyRepository(memory(), lambda key: Fate.THROTTLED if key[1] == "l-stuck" else Fate.STORED)
    life = Life(Core(stuck), clockwork=clockwork)
    first, second = delivered(101, created(1)), delivered(102, created(2, userLimitId="l-stuck"))
    daemon = life.live(
        batch(first, second, behind=60_000),
        Silence(30, clockwork.runtime()),
        behind(103, seconds=0),
        SHUTDOWN_REQUESTED,
    )
    assert daemon.made == [("101", 0)]


def test_what_a_message_interrupts_is_counted_once() -> None:
    """The attempt settles one of two limits, and writes it; the next one counts the batch and all of its records."""
    clockwork = Clockwork()
    stuck = FlakyRepository(
        memory(), lambda key: Fate.THROTTLED if key[1] == "l-stuck" and clockwork.time < 1_045 else Fate.STORED
    )
    life = Life(Core(stuck), clockwork=clockwork)
    first, second = delivered(101, created(1)), delivered(102, created(2, userLimitId="l-stuck"))
    life.live(batch(first, second, behind=60_000), Silence(30, clockwork.runtime()), behind(103, seconds=0))

    assert [value for _, value, _ in life.measured[metrics.BATCH_RECORDS]] == [3]
    assert len(life.measured[metrics.BATCH_SECONDS]) == 1
    assert life.counted(metrics.RECORDS) == {
        ("USER_LIMIT_CREATED", "duplicate"): 1,  # the attempt has stored it
        ("USER_LIMIT_CREATED", "applied"): 1,
        ("USER_LIMIT_PROGRESS_CHANGED", "applied"): 1,
    }
    assert life.counted(metrics.WRITES)[()] == sum(map(len, stuck.saves)) > 3


def test_what_no_message_interrupts_is_counted_in_the_silence(watched: Watched) -> None:
    life, _ = watched
    counted: list[float] = []
    silence = Silence(600, life.clockwork.runtime())
    life.live(behind(101, 102), silence, lambda: counted.append(sum(life.counted(metrics.RECORDS).values())))
    assert counted == [2]


# when to checkpoint


def test_a_checkpoint_is_made_after_a_number_of_records() -> None:
    life = Life(policy=CheckpointPolicy(seconds=1_000, records=3))
    assert life.live(FIRST, SECOND, batch(delivered(104, foreign("NEW")))).made == [("103", 0)]


def test_a_checkpoint_is_made_after_some_time() -> None:
    life = Life(policy=SELDOM)
    pause = life.clockwork.pass_time
    steps: Sequence[Step] = (FIRST, lambda: pause(59.9), SECOND, lambda: pause(0.1), batch(), batch())
    assert life.live(*steps).made == [("103", 0)]


def test_the_time_counts_from_the_last_checkpoint() -> None:
    life = Life(policy=SELDOM)
    pause = life.clockwork.pass_time
    steps: Sequence[Step] = (lambda: pause(60), FIRST, lambda: pause(59), SECOND, lambda: pause(1), batch())
    assert life.live(*steps).made == [("102", 0), ("103", 0)]


def test_empty_batches_send_heartbeats_and_are_not_checkpointed() -> None:
    life = Life(policy=CheckpointPolicy(seconds=1, records=1))
    daemon = life.live(batch(), lambda: life.clockwork.pass_time(100), batch(behind=7))
    assert (daemon.requested, daemon.done.count("processRecords")) == ([], 2)
    assert life.measured[metrics.HEARTBEAT][-1][:2] == (1_100.0, EPOCH + 1_100.0)


def test_a_record_processor_is_busy_only_while_it_works_on_a_message() -> None:
    life = Life()
    waits = []

    def pause() -> None:
        waits.append(life.measured[metrics.BUSY][-1][1])
        life.clockwork.pass_time(10)

    life.live(pause, FIRST, pause, LEASE_LOST)
    busy = life.measured[metrics.BUSY]
    assert waits == [0, 0]
    assert [value for _, value, _ in busy] == [1, 0] * 3, "initialize, the batch, the lost lease"
    beats = {when for when, _, _ in life.measured[metrics.HEARTBEAT]}
    assert {when for when, _, _ in busy} <= beats, "each message begins and ends with a heartbeat"


# answers to a checkpoint


@pytest.mark.parametrize("answer", BUSY)
def test_a_temporarily_refused_checkpoint_is_retried(life: Life, answer: str) -> None:
    daemon = life.live(FIRST, answers=[answer, answer, MADE])
    assert (daemon.requested, daemon.made) == ([("102", 0)] * 3, [("102", 0)])
    assert life.counted(metrics.CHECKPOINTS) == {(answer,): 2, ("made",): 1}


@pytest.mark.parametrize("answer", BUSY)
def test_a_checkpoint_that_times_out_is_left_to_the_next_batch(life: Life, answer: str) -> None:
    start = life.clockwork.time
    daemon = life.live(FIRST, answers=[answer])
    assert daemon.done == ["initialize", "processRecords"]
    assert CHECKPOINT_TIMEOUT <= life.clockwork.time - start <= 2 * CHECKPOINT_TIMEOUT
    daemon = life.live(FIRST, SECOND, answers=[*[answer] * (len(daemon.requested)), MADE])
    assert daemon.made == [("103", 0)]


@pytest.mark.parametrize("ending", [(), (LEASE_LOST,)], ids=["the pipe closes", "the lease is reported lost"])
def test_a_checkpoint_is_not_retried_after_the_lease_is_lost(life: Life, ending: Sequence[Message]) -> None:
    daemon = life.live(FIRST, *ending, answers=[LEASE_GONE])
    assert (daemon.requested, life.clockwork.exit_code) == ([("102", 0)], None)
    assert daemon.done[-1] == (ending[0]["action"] if ending else "processRecords")


@pytest.mark.parametrize("answer", FATAL, ids=str)
@pytest.mark.parametrize("ending", [batch(), SHUTDOWN_REQUESTED, SHARD_ENDED], ids=lambda ending: ending["action"])
def test_any_other_answer_ends_the_process_without_reporting_success(answer: Answer, ending: Message) -> None:
    life = Life(policy=SELDOM)
    steps: Sequence[Step] = (FIRST, lambda: life.clockwork.pass_time(60), ending)
    daemon = life.live(*steps, answers=[answer])
    assert (life.clockwork.exit_code, len(daemon.requested)) == (1, 1)
    assert daemon.done == ["initialize", "processRecords"]


# the end of a shard


def test_the_end_of_a_shard_is_checkpointed_as_such(life: Life) -> None:
    daemon = life.live(FIRST, SHARD_ENDED)
    assert daemon.made == [("102", 0), (None, None)]
    assert daemon.done[-1] == "shardEnded"


def test_the_end_of_a_shard_without_records_is_checkpointed_too(life: Life) -> None:
    assert life.live(SHARD_ENDED).made == [(None, None)]


@pytest.mark.parametrize("answer", BUSY)
def test_the_checkpoint_at_the_end_of_a_shard_is_retried_for_longer(life: Life, answer: str) -> None:
    daemon = life.live(SHARD_ENDED, answers=[*[answer] * 20, MADE])
    assert daemon.made == [(None, None)]
    assert CHECKPOINT_TIMEOUT < life.clockwork.time - 1_000 < SHARD_END
    assert daemon.done[-1] == "shardEnded"


@pytest.mark.parametrize("answer", BUSY)
def test_a_shard_whose_end_cannot_be_checkpointed_ends_the_process(life: Life, answer: str) -> None:
    daemon = life.live(SHARD_ENDED, answers=[answer])
    assert (life.clockwork.exit_code, daemon.done) == (1, ["initialize"])
    assert life.clockwork.time - 1_000 >= SHARD_END


def test_the_end_of_a_shard_is_left_to_the_new_owner_of_the_lease(life: Life) -> None:
    daemon = life.live(SHARD_ENDED, answers=[LEASE_GONE])
    assert (life.clockwork.exit_code, daemon.requested, daemon.done[-1]) == (None, [(None, None)], "shardEnded")


Reply = Ending | Record | str | None


@dataclass
class ScriptedStream:
    """A stream that gives these answers in order and repeats the last one. None raises Unavailable."""

    answers: list[Reply]
    name: str = "limits"
    requested: list[object] = field(default_factory=list)

    def ending(self, shard: str) -> Ending:
        answer = self._answer(shard)
        assert isinstance(answer, Ending)
        return answer

    def oldest_from(self, position: Position) -> str | None:
        answer = self._answer(position)
        assert isinstance(answer, str)
        return None if answer == "nothing" else answer

    def record_at(self, position: Position) -> Record | None:
        answer = self._answer(position)
        return answer if isinstance(answer, Record) else None

    def _answer(self, about: object) -> Ending | Record | str:
        self.requested.append(about)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            raise Unavailable("throttled")
        return answer


@pytest.mark.parametrize("ending", [Ending.STREAM_GONE, Ending.OPEN])
def test_an_end_that_is_not_confirmed_is_not_checkpointed(ending: Ending, caplog: pytest.LogCaptureFixture) -> None:
    life = Life(stream=ScriptedStream([ending]))
    daemon = life.live(FIRST, SHARD_ENDED)
    assert (daemon.made, life.clockwork.exit_code) == ([("102", 0)], 1)
    assert "shardEnded" not in daemon.done
    (logged,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert logged.getMessage() == f"shard end reported but not confirmed; not checkpointing: {ending}"
    assert str(logs.JsonLines().line(caplog.records[-1])["error"]).splitlines()[-1] == (
        f"consumer.kcl.record_processor.EndNotConfirmed: {ending}: limits"
    )


def test_the_end_of_an_expired_shard_is_logged_and_checkpointed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert Life(stream=ScriptedStream([Ending.UNLISTED])).live(SHARD_ENDED).made == [(None, None)]
    assert [record.levelname for record in caplog.records if "no longer lists the shard" in record.getMessage()] == [
        "WARNING"
    ]


def test_the_check_of_a_shard_end_is_retried() -> None:
    life = Life(stream=ScriptedStream([*[None] * 20, Ending.CLOSED]))
    assert life.live(SHARD_ENDED).made == [(None, None)]
    assert 0 < life.clockwork.time - 1_000 < SHARD_END
    assert len(life.measured[metrics.HEARTBEAT]) > 20


def test_an_end_that_cannot_be_checked_ends_the_process() -> None:
    life = Life(stream=ScriptedStream([None]))
    daemon = life.live(SHARD_ENDED)
    assert (daemon.requested, life.clockwork.exit_code) == ([], 1)
    assert SHARD_END <= life.clockwork.time - 1_000 <= SHARD_END + 2


# trimmed records


RESUMED: Message = {**INITIALIZE, "sequenceNumber": "100"}


@pytest.mark.parametrize(("oldest", "missing"), [("100", 0), ("101", 1), ("nothing", 1)])
def test_a_checkpoint_whose_record_is_trimmed_is_counted_and_logged(
    oldest: str, missing: int, caplog: pytest.LogCaptureFixture
) -> None:
    life = Life(stream=(requested := ScriptedStream([oldest])))
    assert life.live(FIRST, begun=RESUMED).made == [("102", 0)]
    assert requested.requested == [Position("limits", RESUMED["shardId"], "100")]
    assert life.counted(metrics.TRIMMED) == ({(): 1} if missing else {})
    logged = [vars(record) for record in caplog.records if record.levelname == "ERROR"]
    assert [(line["checkpoint"], line["oldest"]) for line in logged] == [
        ("100", None if oldest == "nothing" else oldest)
    ] * missing


def test_a_shard_without_checkpoint_is_not_checked_for_trimmed_records() -> None:
    life = Life(stream=(requested := ScriptedStream([None])))
    assert life.live(FIRST).made == [("102", 0)]
    assert requested.requested == []


def test_a_stream_that_does_not_respond_does_not_delay_the_start(caplog: pytest.LogCaptureFixture) -> None:
    life = Life(stream=ScriptedStream([None]))
    assert life.live(FIRST, begun=RESUMED).made == [("102", 0)]
    assert "cannot check whether records were trimmed" in caplog.messages
    assert life.clockwork.time == 1_000


# a checkpoint in the middle of an aggregate, as earlier versions made them

HALFWAY: Message = {**INITIALIZE, "sequenceNumber": "100", "subSequenceNumber": 1}
"""KCL does not deliver the record of that number, because it takes it for checkpointed."""
AT_100 = Record(
    Position("limits", HALFWAY["shardId"], "100"),
    kpl.aggregate(encode(created(1)), encode(foreign("NEW")), encode(progress_changed(2)), b"poison"),
)
LATER = batch(delivered(101, created(1, userLimitId="l-later")))


def halfway(*answers: Reply, core: Core | None = None) -> Life:
    """A shard that starts at HALFWAY. The stream first confirms that the record exists, then gives the answers."""
    return Life(core or Core(), stream=ScriptedStream(["100", *answers]))


def is_finished(life: Life) -> bool:
    limit = life.core.limits("u-7Qd2").get("l-day", {})
    poison = [str(entry.record.position) for entry in life.core.quarantine.entries()]
    return (limit.get("progress"), poison) == ("10", ["limits/shardId-000000000000/100-3"])


@pytest.mark.parametrize("first", [LATER, batch()], ids=["records", "an empty batch"])
def test_the_aggregate_is_replayed_before_the_first_batch(first: Message) -> None:
    life = halfway(AT_100)
    daemon = life.live(first, lambda: is_finished(life) or pytest.fail("not settled"), LATER, begun=HALFWAY)
    assert set(daemon.requested) == {("101", 0)}, "a checkpoint at the aggregate would move backwards"
    assert isinstance(life.stream, ScriptedStream)
    assert len(life.stream.requested) == 2, "it is read once"


def test_the_aggregate_is_replayed_before_the_end_of_the_shard() -> None:
    life = halfway(Ending.CLOSED, AT_100)
    assert life.live(SHARD_ENDED, begun=HALFWAY).made == [(None, None)]
    assert is_finished(life)


def test_an_expired_aggregate_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    life = halfway("nothing")
    assert life.live(LATER, begun=HALFWAY).made == [("101", 0)]
    logged = [vars(record) for record in caplog.records if "has expired" in record.getMessage()]
    assert [(line["levelname"], line["checkpoint"]) for line in logged] == [
        ("ERROR", "limits/shardId-000000000000/100-1")
    ]


def test_reading_the_aggregate_is_retried() -> None:
    life = halfway(*[None] * 50, AT_100)
    daemon = life.live(LATER, begun=HALFWAY)
    assert is_finished(life)
    assert (daemon.requested, daemon.vain > 0) == ([("101", 0)], True), "keep-alive messages are sent meanwhile"


@pytest.mark.parametrize("ending", [SHUTDOWN_REQUESTED, SHARD_ENDED], ids=lambda ending: ending["action"])
def test_a_stop_while_reading_the_aggregate_is_retried_leaves_everything_to_the_next_start(ending: Message) -> None:
    life = halfway(None)
    life.clockwork.stop_at = 1_000
    daemon = life.live(LATER, LATER, ending, begun=HALFWAY)
    assert daemon.requested == []
    assert life.core.limits("u-7Qd2") == {}


def test_an_unsettled_aggregate_blocks_later_records() -> None:
    life = halfway(AT_100, core=Core(quarantine=FlakyQuarantine(lambda: True)))
    life.clockwork.stop_at = 1_000
    daemon = life.live(LATER, LATER, SHUTDOWN_REQUESTED, begun=HALFWAY)
    assert daemon.requested == []
    assert life.core.limits("u-7Qd2").keys() == {"l-day"}


# a batch of large aggregates


def packed(number: int, size: int = RECORDS) -> Message:
    """An aggregate of `size` events. Only the first one is a limit event."""
    others = [encode(foreign("NEW"))] * (size - 1)
    return delivered(number, kpl.aggregate(encode(created(1, userLimitId=f"l-{number}")), *others))


MANY = batch(*(packed(number) for number in range(101, 106)))
"""Three slices."""


def test_a_batch_is_processed_in_slices_of_bounded_size(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert life.live(MANY).made == [("105", 0)]
    assert [value for _, value, _ in life.measured[metrics.BATCH_RECORDS]] == [10_000, 10_000, 5_000]
    logged = [vars(record) for record in caplog.records if record.getMessage() == "batch"]
    assert [(line["first"], line["last"]) for line in logged] == [("101", "102"), ("103", "104"), ("105", "105")]
    assert len(life.measured[metrics.HEARTBEAT]) > 5


def slow(clockwork: Clockwork, seconds: float) -> Core:
    """Each write takes that many seconds."""
    return Core(FlakyRepository(memory(), before_save=lambda: clockwork.pass_time(seconds)))


def test_between_slices_keep_alive_messages_are_sent_and_the_lag_grows() -> None:
    clockwork = Clockwork()
    life = Life(slow(clockwork, KEEP_ALIVE), clockwork=clockwork)
    daemon = life.live(MANY)
    assert daemon.made == [("102", 0), ("104", 0), ("105", 0)], "settled slices are checkpointed on the way"
    assert [value for _, value, _ in life.measured[metrics.BEHIND]][-1] == 2 * KEEP_ALIVE


def test_a_stop_takes_effect_between_slices() -> None:
    clockwork = Clockwork(stop_at=1_000)
    life = Life(slow(clockwork, DEADLINE), clockwork=clockwork)
    daemon = life.live(MANY, FIRST, SHUTDOWN_REQUESTED)
    assert daemon.made == [("104", 0)]
    assert life.core.limits("u-7Qd2").keys() == {"l-101", "l-102", "l-103", "l-104"}


def test_a_lost_lease_ends_the_batch_between_slices() -> None:
    clockwork = Clockwork()
    life = Life(slow(clockwork, KEEP_ALIVE), clockwork=clockwork)
    daemon = life.live(MANY, LEASE_LOST, answers=[LEASE_GONE])
    assert (daemon.made, daemon.done[-1], clockwork.exit_code) == ([], "leaseLost", None)
    assert life.core.limits("u-7Qd2").keys() == {"l-101", "l-102"}


# optional fields

NO_TIMES: tuple[object, ...] = (
    None,
    "",
    "1767225600000",
    "2026-01-01T00:00:00Z",
    -1,
    -1e300,
    1e300,
    10**400,
    float("nan"),
    [],
    {},
    False,
)


def arrival(life: Life, **fields: object) -> int:
    """The arrival time of a poison record with these fields. Fields that are `...` are left out."""
    message = {**delivered(101, b"poison"), **fields}
    daemon = life.live(batch({name: value for name, value in message.items() if value is not ...}))
    assert daemon.made == [("101", 0)]
    (entry,) = life.core.quarantine.entries()
    return entry.record.arrived_at


@pytest.mark.parametrize("value", [..., *NO_TIMES], ids=repr)
def test_an_invalid_arrival_time_is_unknown(life: Life, value: object) -> None:
    assert arrival(life, approximateArrivalTimestamp=value) == 0


@pytest.mark.parametrize(("value", "millis"), [(0, 0), (1_767_225_600_000, 1_767_225_600_000), (1.5e12, 1.5e12)])
def test_an_arrival_time_may_be_any_number_of_milliseconds(life: Life, value: float, millis: float) -> None:
    assert arrival(life, approximateArrivalTimestamp=value) == millis


@pytest.mark.parametrize("name", ["partitionKey", "subSequenceNumber"])
@pytest.mark.parametrize("value", [..., None], ids=["absent", "null"])
def test_other_fields_may_be_missing_too(life: Life, name: str, value: object) -> None:
    assert arrival(life, **{name: value}) == START


def test_a_record_without_data_is_quarantined(life: Life) -> None:
    assert arrival(life, data=...) == START
    assert [entry.reason for entry in life.core.quarantine.entries()] == ["RECORD_DATA"]


# a lost lease, a stop


def test_a_lost_lease_is_not_checkpointed_and_clears_the_cache() -> None:
    repository = FlakyRepository(memory())
    life = Life(Core(repository), SELDOM)
    assert life.live(FIRST, LEASE_LOST).requested == []
    repository.loads.clear()
    life.live(SECOND)
    assert repository.loads == [[("u-7Qd2", "l-day")]]


def test_a_stop_checkpoints_the_last_settled_record() -> None:
    assert Life(policy=SELDOM).live(FIRST, SECOND, SHUTDOWN_REQUESTED).made == [("103", 0)]


def test_a_stop_without_new_records_makes_no_checkpoint(life: Life) -> None:
    assert life.live(SHUTDOWN_REQUESTED).requested == []
    assert life.live(FIRST, SHUTDOWN_REQUESTED).requested == [("102", 0)]


def test_the_checkpoint_of_a_stop_has_a_deadline() -> None:
    life = Life(policy=SELDOM)
    daemon = life.live(FIRST, SHUTDOWN_REQUESTED, answers=[THROTTLED])
    assert (daemon.made, daemon.done[-1], life.clockwork.exit_code) == ([], "shutdownRequested", None)
    assert DEADLINE <= life.clockwork.time - 1_000 <= 2 * DEADLINE


# outages


def failing(clockwork: Clockwork, until: float, limit: str = "") -> FlakyRepository[LimitState]:
    """Throttles every write to the limit until that time; without `limit`, writes to all limits."""
    return FlakyRepository(
        memory(),
        lambda key: Fate.THROTTLED if clockwork.time < until and limit in ("", key[1]) else Fate.STORED,
    )


def test_an_outage_is_retried_with_heartbeats() -> None:
    clockwork = Clockwork()
    life = Life(Core(failing(clockwork, until=1_000 + 3_600)), clockwork=clockwork)
    daemon = life.live(FIRST)
    assert (daemon.made, life.core.limit()["progress"]) == ([("102", 0)], "10")
    beats = [when for when, _, _ in life.measured[metrics.HEARTBEAT]]
    assert beats[-1] >= 1_000 + 3_600 - STEP
    assert max(later - sooner for sooner, later in pairwise(beats)) == pytest.approx(STEP)
    assert life.counted(metrics.RETRIES)["store",] > 3_600 / 10


def test_an_outage_increases_the_lag_until_it_ends() -> None:
    clockwork = Clockwork()
    life = Life(Core(failing(clockwork, until=1_000 + 600)), clockwork=clockwork)
    life.live(batch(delivered(101, created(1)), behind=5_000), batch(behind=0))
    lags = [value for _, value, _ in life.measured[metrics.BEHIND]]
    assert lags[:-1] == sorted(lags[:-1])
    assert lags[-2] >= 5 + 600 - STEP
    assert lags[-1] == 0


def test_keep_alive_messages_in_an_outage_make_no_new_checkpoint() -> None:
    clockwork = Clockwork()
    life = Life(Core(failing(clockwork, until=1_000 + 3_600)), clockwork=clockwork)
    daemon = life.live(FIRST)
    assert (daemon.requested, daemon.made) == ([("102", 0)], [("102", 0)])
    assert 3_600 / (KEEP_ALIVE + STEP) - 1 <= daemon.vain <= 3_600 / KEEP_ALIVE
    assert life.counted(metrics.CHECKPOINTS) == {("made",): 1}


def test_records_settled_before_an_outage_are_checkpointed_during_it() -> None:
    clockwork = Clockwork()
    life = Life(Core(failing(clockwork, until=2_000, limit="l-stuck")), SELDOM, clockwork)
    stuck = batch(delivered(103, created(3, userLimitId="l-stuck")))
    daemon = life.live(FIRST, stuck, SHUTDOWN_REQUESTED)
    assert daemon.made == [("102", 0), ("103", 0)]
    first = life.measured[metrics.CHECKPOINTS][0]
    assert first[0] == pytest.approx(1_000 + KEEP_ALIVE, abs=STEP), "in the outage, not after it"


@pytest.mark.parametrize("answer", BUSY)
def test_a_temporarily_refused_checkpoint_in_an_outage_counts_as_keep_alive(answer: str) -> None:
    clockwork = Clockwork()
    life = Life(Core(failing(clockwork, until=2_000, limit="l-stuck")), SELDOM, clockwork)
    stuck = batch(delivered(103, created(3, userLimitId="l-stuck")))
    daemon = life.live(FIRST, stuck, SHUTDOWN_REQUESTED, answers=[answer, answer, MADE])
    assert daemon.requested[:3] == [("102", 0)] * 3
    assert (daemon.made, life.clockwork.exit_code) == ([("102", 0), ("103", 0)], None)


def test_a_batch_is_abandoned_when_its_lease_is_lost() -> None:
    clockwork = Clockwork()
    life = Life(Core(failing(clockwork, until=float("inf"), limit="l-stuck")), SELDOM, clockwork)
    stuck = batch(delivered(103, created(3, userLimitId="l-stuck")))
    late = batch(delivered(104, created(4, userLimitId="l-late")))
    daemon = life.live(FIRST, stuck, late, LEASE_LOST, answers=[LEASE_GONE])
    assert (daemon.requested, daemon.made, life.clockwork.exit_code) == ([("102", 0)], [], None)
    assert daemon.done[-3:] == ["processRecords", "processRecords", "leaseLost"]
    assert life.core.limits("u-7Qd2").keys() == {"l-day"}


def test_a_slow_store_is_not_a_hang() -> None:
    clockwork = Clockwork()
    life = Life(Core(FlakyRepository(memory(), before_save=lambda: clockwork.pass_time(20))), clockwork=clockwork)
    daemon = life.live(batch(*(delivered(100 + n, created(n, userLimitId=f"l-{n}")) for n in range(1, 1_001))))
    rounds = 1_000 / MOST
    assert clockwork.time == 1_000 + 20 * rounds
    assert len({when for when, _, _ in life.measured[metrics.HEARTBEAT]}) >= rounds
    assert daemon.vain >= 20 * rounds / (KEEP_ALIVE + 20) - 1
    assert daemon.made == [("1100", 0)]


def test_a_slow_quarantine_is_not_a_hang() -> None:
    clockwork = Clockwork()

    def slowly() -> bool:
        clockwork.pass_time(20)
        return False

    life = Life(Core(quarantine=FlakyQuarantine(slowly)), clockwork=clockwork)
    daemon = life.live(batch(*(delivered(100 + n, b"poison") for n in range(1, 1_001))))
    rounds = math.ceil(1_000 / QUARANTINE_GROUP)
    assert len(list(life.core.quarantine.entries())) == 1_000
    assert clockwork.time == 1_000 + 20 * rounds
    assert len({when for when, _, _ in life.measured[metrics.HEARTBEAT]}) >= rounds
    assert daemon.vain >= 20 * rounds / (KEEP_ALIVE + 20) - 1
    assert daemon.made == [("1100", 0)]


def test_an_outage_is_logged_rarely_and_each_cause_once(caplog: pytest.LogCaptureFixture) -> None:
    clockwork = Clockwork()
    retry_policy = UntilStopped(clockwork.runtime(), DEADLINE, lambda: None, lambda _part: None)
    for attempt in range(1, 21):
        retry_policy.wait("store", attempt, Unavailable("denied" if attempt in (10, 11) else "throttled"))
    logged = [(record.__dict__["attempt"], record.__dict__["cause"]) for record in caplog.records]
    assert logged == [*((2**power, "throttled") for power in range(4)), (10, "denied"), (16, "throttled")]
    clockwork.pass_time(REPORT)
    retry_policy.wait("store", 1, Unavailable("denied"))
    assert len(caplog.records) == len(logged) + 1, "the next outage is logged from its first attempt"
    assert caplog.records[-1].__dict__["waited_seconds"] == 0


def test_many_short_waits_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """As for a table at its capacity: each save waits shortly, and then makes progress."""
    clockwork = Clockwork()
    retry_policy = UntilStopped(clockwork.runtime(), DEADLINE, lambda: None, lambda _part: None)
    start = clockwork.time
    while clockwork.time < start + 3 * REPORT - 1:
        retry_policy.wait("store", 1, Unavailable("throttled"))
    assert [record.__dict__["waited_seconds"] for record in caplog.records] == [0, 0, 0]


def test_a_wait_that_lasts_is_logged_every_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Alarms on the line `waiting` depend on it: they must not end before the wait does."""
    clockwork = Clockwork()
    retry_policy = UntilStopped(clockwork.runtime(), DEADLINE, lambda: None, lambda _part: None)
    start = clockwork.time
    attempts = count(1)
    while clockwork.time < start + 3_600:
        retry_policy.wait("store", next(attempts), Unavailable("throttled"))
    waited = [record.__dict__["waited_seconds"] for record in caplog.records]
    assert max(later - earlier for earlier, later in pairwise(waited)) <= REPORT + retry_policy.backoff.longest
    assert len(waited) < 75


def test_a_stop_in_an_outage_ends_the_batch_at_the_deadline() -> None:
    clockwork = Clockwork(stop_at=1_100)
    life = Life(Core(failing(clockwork, until=float("inf"))), clockwork=clockwork)
    daemon = life.live(FIRST, SHUTDOWN_REQUESTED)
    assert 1_100 + DEADLINE <= clockwork.time <= 1_100 + DEADLINE + STEP
    assert (daemon.requested, daemon.done[-1], clockwork.exit_code) == ([], "shutdownRequested", None)


def test_an_outage_that_ends_before_the_deadline_is_harmless() -> None:
    clockwork = Clockwork(stop_at=1_100)
    life = Life(Core(failing(clockwork, until=1_101)), clockwork=clockwork)
    assert life.live(FIRST, SHUTDOWN_REQUESTED).made == [("102", 0)]


CUT_OFF = batch(
    delivered(101, created(1)),
    delivered(102, created(2, userLimitId="l-stuck")),
    delivered(103, created(3, userLimitId="l-other")),
)


def cut_off() -> Life:
    """A shard whose batch is cut off at its second record."""
    clockwork = Clockwork(stop_at=1_000)
    return Life(Core(failing(clockwork, until=2_000, limit="l-stuck")), clockwork=clockwork)


def test_a_batch_that_is_cut_off_is_checkpointed_to_its_first_unsettled_record() -> None:
    assert cut_off().live(CUT_OFF, SHUTDOWN_REQUESTED).requested == [("101", 0)]


def test_no_record_after_a_cut_off_batch_is_processed_or_checkpointed() -> None:
    life = cut_off()
    later: Callable[[], object] = lambda: life.clockwork.pass_time(2_000)  # noqa: E731 - the outage is over
    daemon = life.live(
        CUT_OFF, later, batch(delivered(104, created(4, userLimitId="l-late"))), batch(), SHUTDOWN_REQUESTED
    )
    assert daemon.requested == [("101", 0)]
    assert life.core.limits("u-7Qd2").keys() == {"l-day", "l-other"}
    assert daemon.done[-1] == "shutdownRequested"


def test_a_shard_that_ends_with_records_unsettled_ends_the_process() -> None:
    life = cut_off()
    daemon = life.live(CUT_OFF, SHARD_ENDED)
    assert (life.clockwork.exit_code, daemon.requested) == (1, [("101", 0)])


def test_the_rest_of_a_cut_off_batch_is_settled_after_a_restart() -> None:
    before = cut_off()
    before.live(CUT_OFF, SHUTDOWN_REQUESTED)
    after = Life(Core(before.core.repository))
    after.clockwork.time = before.clockwork.time = 3_000
    assert after.live(CUT_OFF, SHUTDOWN_REQUESTED).made == [("103", 0)]
    assert after.core.limits("u-7Qd2").keys() == {"l-day", "l-other", "l-stuck"}


def test_no_checkpoint_is_made_after_poison_while_the_quarantine_is_down() -> None:
    clockwork = Clockwork(stop_at=1_000)
    life = Life(Core(quarantine=FlakyQuarantine(lambda: True)), clockwork=clockwork)
    poisoned = batch(delivered(101, created(1)), delivered(102, b"poison"), delivered(103, progress_changed(2)))
    assert life.live(poisoned, SHUTDOWN_REQUESTED).requested == [("101", 0)]


# no exception leaves a callback


class Bug(BaseException):
    """A BaseException that is not an Exception."""


class Broken(Known[LimitState]):
    """A cache that cannot be cleared."""

    def forget(self) -> None:
        raise Bug


ERRORS = (RuntimeError("a bug"), KeyboardInterrupt(), SystemExit(0), Bug())


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "action",
    [INITIALIZE, batch(), SHARD_ENDED, SHUTDOWN_REQUESTED],
    ids=lambda message: message["action"],
)
def test_any_exception_of_a_callback_ends_the_process(error: BaseException, action: Message) -> None:
    life = Life(policy=SELDOM)

    def spoil() -> None:
        life.clockwork.broken = error

    daemon = life.live(FIRST, spoil, action, answers=[THROTTLED])
    assert (life.clockwork.exit_code, daemon.done) == (1, ["initialize", "processRecords"])


def test_an_error_when_the_lease_is_lost_ends_the_process(life: Life) -> None:
    life.core.processor.known = Broken(10)
    assert life.live(FIRST, LEASE_LOST).done == ["initialize", "processRecords"]
    assert life.clockwork.exit_code == 1


def test_a_bug_in_the_core_ends_the_process_before_a_checkpoint() -> None:
    life = Life(Core(FlakyRepository(memory(), before_save=lambda: 1 // 0)))
    daemon = life.live(FIRST)
    assert (life.clockwork.exit_code, daemon.requested, daemon.done) == (1, [], ["initialize"])


def test_an_open_breaker_ends_the_process_before_a_checkpoint() -> None:
    life = Life(Core(breaker=3))
    daemon = life.live(FIRST, batch(*(delivered(200 + number, b"poison") for number in range(3))))
    assert (life.clockwork.exit_code, daemon.made) == (1, [("102", 0)])
    assert list(life.core.quarantine.entries()) == []


# the archive

RARELY = ArchivePolicy(seconds=60, size=1_000_000)
AT_LATEST: Message = {**INITIALIZE, "sequenceNumber": "LATEST"}


def archiving(
    policy: ArchivePolicy = RARELY, place: FlakyPlace | None = None, clockwork: Clockwork | None = None, **core: Any
) -> tuple[Life, FlakyPlace]:
    """A shard with an archive, and the place of the archive. A checkpoint is due after every batch."""
    place = place or FlakyPlace()
    archive = PlaceArchive(place, lambda: START)
    return Life(Core(archive=archive, **core), clockwork=clockwork or Clockwork(), archiving=policy), place


def away(clockwork: Clockwork, until: float) -> FlakyPlace:
    return FlakyPlace(lambda: clockwork.time < until)


def test_a_checkpoint_waits_for_the_archive() -> None:
    life, place = archiving()
    pause = life.clockwork.pass_time
    daemon = life.live(FIRST, lambda: pause(59), SECOND, lambda: pass_nothing(place), lambda: pause(1), batch())
    assert (numbers(place), daemon.made) == ([["101", "102", "103"]], [("103", 0)])
    assert life.core.limit()["lastSequenceNumber"] == 3


def pass_nothing(place: FlakyPlace) -> None:
    assert numbers(place) == []


def test_records_are_applied_before_they_are_archived() -> None:
    life, place = archiving()
    life.live(FIRST)
    assert (numbers(place), life.core.limit()["lastSequenceNumber"]) == ([], 2)


def test_a_checkpoint_names_what_is_archived_while_later_records_wait() -> None:
    life, place = archiving()
    pause = life.clockwork.pass_time
    life.policy = CheckpointPolicy(seconds=61, records=1_000)
    daemon = life.live(FIRST, lambda: pause(60), batch(), lambda: pause(1), SECOND, batch())
    assert (numbers(place), daemon.requested) == ([["101", "102"]], [("102", 0)])


def test_a_large_archive_is_written_at_once() -> None:
    life, place = archiving(ArchivePolicy(seconds=60, size=1_000))
    noise = [delivered(number, foreign("NEW") | {"source": token_hex(9_999)}) for number in range(103, 123)]
    daemon = life.live(FIRST, batch(*noise), batch(delivered(123, created(3))))
    assert numbers(place) == [[f"{number}" for number in range(101, 123)]]
    assert daemon.made == [("122", 0)]


def test_every_record_is_archived_as_it_came() -> None:
    life, place = archiving()
    unknown, poison = foreign("NEW"), b"\x00poison"
    life.live(batch(delivered(101, created(1)), delivered(102, unknown), delivered(103, poison)), SHUTDOWN_REQUESTED)
    assert [data_of(line) for line in archived(place)] == [created(1), unknown, poison]


def test_gathered_records_are_archived_but_not_checkpointed() -> None:
    life, place = archiving(ArchivePolicy(seconds=2, size=1_000_000))
    pause = life.clockwork.pass_time
    daemon = life.live(behind(101), lambda: pause(2), behind(102), lambda: pause(3), behind(103))
    assert numbers(place) == [["101", "102"]]
    assert (daemon.made, life.core.limit()["lastSequenceNumber"]) == ([("102", 0)], 4)


@pytest.mark.parametrize("ending", [SHUTDOWN_REQUESTED, SHARD_ENDED], ids=lambda ending: ending["action"])
def test_at_its_end_a_shard_writes_what_is_left(ending: Message) -> None:
    life, place = archiving()
    daemon = life.live(FIRST, behind(103), ending)
    assert numbers(place) == [["101", "102", "103"]]
    assert daemon.made == [("103", 0) if ending is SHUTDOWN_REQUESTED else (None, None)]


def test_a_lost_lease_writes_nothing() -> None:
    life, place = archiving()
    daemon = life.live(FIRST, LEASE_LOST)
    assert (place.attempts, daemon.requested, life.clockwork.exit_code) == ([], [], None)


def test_a_shard_that_started_at_the_tip_archives_at_once_until_it_has_a_checkpoint() -> None:
    life, place = archiving()
    daemon = life.live(FIRST, SECOND, begun=AT_LATEST)
    assert (numbers(place), daemon.made) == ([["101", "102"]], [("102", 0)])


def test_an_archive_that_fails_is_retried_with_heartbeats_and_nothing_is_checkpointed_past_it() -> None:
    clockwork = Clockwork()
    life, place = archiving(ArchivePolicy(seconds=0.001), away(clockwork, until=1_600), clockwork)
    pause = clockwork.pass_time
    daemon = life.live(FIRST, lambda: pause(1), batch())
    assert (numbers(place), daemon.requested) == ([["101", "102"]], [("102", 0)])
    assert clockwork.time >= 1_600
    assert daemon.vain > 10, "keep-alive messages repeat the last checkpoint"
    assert set(life.counted(metrics.RETRIES)) == {("archive",)}
    heartbeats = [at for at, _, _ in life.measured[metrics.HEARTBEAT]]
    assert max(later - earlier for earlier, later in pairwise(heartbeats)) <= 1
    (waited,) = (value for _, value, _ in life.measured[metrics.ARCHIVE_SECONDS])
    assert waited > 590


def test_an_archive_that_fails_is_logged_as_what_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    clockwork = Clockwork()
    life, _ = archiving(ArchivePolicy(seconds=0.001), away(clockwork, until=1_600), clockwork)
    life.live(FIRST, lambda: clockwork.pass_time(1), batch())
    waits = [vars(record) for record in caplog.records if record.getMessage() == "waiting"]
    assert {(line["part"], line["cause"]) for line in waits} == {("archive", "the archive is down")}


@pytest.mark.parametrize("ending", [SHUTDOWN_REQUESTED, SHARD_ENDED], ids=lambda ending: ending["action"])
def test_a_stop_while_the_archive_fails_checkpoints_nothing_that_is_not_in_it(ending: Message) -> None:
    clockwork = Clockwork(stop_at=1_000)
    life, place = archiving(place=away(clockwork, until=2_000), clockwork=clockwork)
    daemon = life.live(FIRST, ending)
    assert (daemon.requested, numbers(place)) == ([], [])
    assert 1_000 + DEADLINE <= clockwork.time <= 1_000 + DEADLINE + STEP
    assert clockwork.exit_code == (None if ending is SHUTDOWN_REQUESTED else 1)


def test_a_stop_checkpoints_what_was_archived_before_the_archive_failed() -> None:
    clockwork = Clockwork()
    life, place = archiving(
        ArchivePolicy(seconds=0.001), FlakyPlace(lambda: clockwork.time > 1_010), clockwork, repository=memory()
    )
    pause = clockwork.pass_time
    life.policy = CheckpointPolicy(seconds=1_000, records=1_000)
    clockwork.stop_at = 1_020
    daemon = life.live(FIRST, lambda: pause(1), batch(), lambda: pause(20), SECOND, SHUTDOWN_REQUESTED)
    assert (numbers(place), daemon.made) == ([["101", "102"]], [("102", 0)])


def test_a_batch_that_is_cut_off_is_checkpointed_as_far_as_it_is_archived() -> None:
    """Its deadline is over, so nothing more is written."""
    clockwork = Clockwork(stop_at=1_000)
    repository = failing(clockwork, until=2_000, limit="l-stuck")
    life, place = archiving(repository=repository, clockwork=clockwork)
    assert life.live(CUT_OFF, SHUTDOWN_REQUESTED).requested == []
    assert place.attempts == []


def test_a_lost_lease_ends_the_wait_for_the_archive() -> None:
    clockwork = Clockwork()
    life, place = archiving(ArchivePolicy(seconds=5), FlakyPlace(lambda: clockwork.time > 1_005), clockwork)
    life.policy = SELDOM
    pause = clockwork.pass_time
    daemon = life.live(
        FIRST, lambda: pause(5), batch(), SECOND, lambda: pause(5), batch(), LEASE_LOST, answers=[LEASE_GONE]
    )
    assert (daemon.requested, daemon.made, clockwork.exit_code) == ([("102", 0)], [], None)
    assert (numbers(place), daemon.done[-1]) == ([["101", "102"]], "leaseLost")


def test_records_that_were_archived_and_not_checkpointed_are_archived_again() -> None:
    before, place = archiving()
    before.live(FIRST, SECOND, SHUTDOWN_REQUESTED, answers=[THROTTLED])
    after, _ = archiving(place=place)
    assert after.live(SECOND, SHUTDOWN_REQUESTED).made == [("103", 0)]
    assert sorted(numbers(place)) == [["101", "102", "103"], ["103"]]


def test_an_open_breaker_archives_nothing_more_and_checkpoints_nothing() -> None:
    life, place = archiving(breaker=2)
    daemon = life.live(batch(delivered(101, b"poison"), delivered(102, b"poison")), SHUTDOWN_REQUESTED)
    assert (daemon.requested, place.attempts, life.clockwork.exit_code) == ([], [], 1)


def test_objects_and_their_bytes_are_counted() -> None:
    life, place = archiving()
    life.live(FIRST, SHUTDOWN_REQUESTED)
    (content,) = place.files.values()
    assert life.counted(metrics.ARCHIVE_OBJECTS) == {(): 1}
    assert life.counted(metrics.ARCHIVE_BYTES) == {(): len(content)}
    assert len(life.measured[metrics.ARCHIVE_SECONDS]) == 1


def test_the_aggregate_at_an_old_checkpoint_is_an_object_of_its_own() -> None:
    place = FlakyPlace()
    life = halfway(AT_100, core=Core(archive=PlaceArchive(place, lambda: START)))
    life.live(LATER, SHUTDOWN_REQUESTED, begun=HALFWAY)
    assert is_finished(life)
    assert sorted(numbers(place)) == [["100"] * 4, ["101"]]


def test_without_an_archive_nothing_of_one_is_measured(life: Life) -> None:
    life.live(FIRST, SHUTDOWN_REQUESTED)
    assert not {metrics.ARCHIVE_OBJECTS, metrics.ARCHIVE_BYTES, metrics.ARCHIVE_SECONDS} & life.measured.keys()
