"""The whole service on MiniStack: real daemon, real record processors, real DynamoDB calls."""

import json
import os
import signal
import time
from pathlib import Path

from tests.support.driven.scenario import (
    Stage,
    expected,
    first_difference,
    poison,
    samples,
    until_equal,
    until_received,
)
from tests.support.driven.service import Service, alive, children, gone, service
from tests.support.driven.waiting import until
from tests.support.driven.workers import until_consuming

RECOVERY_SECONDS = 30.0
"""The time within which the service consumes again after a record processor or the JVM was killed."""
STOP_SECONDS = 20.0


def test_every_event_has_its_effect_once(stage: Stage, tmp_path: Path) -> None:
    """20,000 events, 2 shards, 1 % poison."""
    made = samples(seed=1, count=20_000)
    with service(stage.variables, tmp_path / "log") as running:
        start = time.monotonic()
        stage.put(made)
        until_received(running, 1)
        print(f"first record after {time.monotonic() - start:.1f} s")
        until_received(running, len(made))
        outcomes = running.outcomes()

        assert first_difference(stage.limits(), expected(made)) is None
        assert outcomes.total() == len(made)
        assert outcomes["quarantined"] == poison(made).total()
        assert stage.quarantined() == poison(made)
        assert len(running.record_processors()) == 2
        assert running.stop() == 0


def test_a_killed_record_processor_loses_nothing(stage: Stage, tmp_path: Path) -> None:
    made = samples(seed=2, count=6_000)
    with service(stage.variables, tmp_path / "log") as running:
        stage.put(made[:2_000])
        until_received(running, 1_000)
        processors = running.record_processors()
        os.kill(processors[0], signal.SIGKILL)
        killed = time.time()
        stage.put(made[2_000:])
        gone(processors)
        _until_working_again(running, killed)
        until_equal(stage, made)
        assert stage.quarantined() == poison(made)
        assert running.stop() == 0


def test_a_killed_jvm_loses_nothing_and_leaves_no_orphan(stage: Stage, tmp_path: Path) -> None:
    made = samples(seed=3, count=6_000)
    with service(stage.variables, tmp_path / "log") as running:
        stage.put(made[:2_000])
        until_received(running, 1_000)
        jvm, processors = running.jvm(), running.record_processors()
        assert jvm is not None
        os.kill(jvm, signal.SIGKILL)
        killed = time.time()
        stage.put(made[2_000:])
        gone([jvm, *processors], seconds=5)
        _until_working_again(running, killed)
        until_equal(stage, made)
        assert stage.quarantined() == poison(made)
        assert running.stop() == 0


def test_sigterm_flushes_checkpoints_and_leaves_nothing_behind(stage: Stage, tmp_path: Path) -> None:
    made = samples(seed=4, count=2_000)
    with service(stage.variables, tmp_path / "log") as running:
        stage.put(made)
        until_received(running, len(made))
        processes = [running.process.pid, running.jvm() or 0, *running.record_processors()]
        start = time.monotonic()
        assert running.stop(within=STOP_SECONDS) == 0
        print(f"stopped within {time.monotonic() - start:.1f} s")
        gone(processes)
        requested = [line for line in running.lines() if line["message"] == "shutdown requested"]
        assert len(requested) == 2
    with service(stage.variables, tmp_path / "second.log") as again:
        until(lambda: len(again.record_processors()) == 2, "both shards to be started")
        stage.put(made[:1])
        until_received(again, 1)
        assert again.received() == 1, "all that was settled before the stop had been checkpointed"
        assert again.stop() == 0


def test_health_and_metrics_are_served(stage: Stage, tmp_path: Path) -> None:
    with service(stage.variables, tmp_path / "log") as running:
        until(lambda: running.get("/readyz")[0] == 200, "the worker to be ready")
        status, body = running.get("/livez")
        assert (status, json.loads(body)["reasons"]) == (200, [])
        until(lambda: len(_shards_alive(running)) == 2, "a heartbeat of both shards")
        assert [sample.value for sample in running.samples() if sample.name == "consumer_daemon_up"] == [1.0]
        assert running.get("/nothing")[0] == 404
        assert running.stop() == 0
        assert not alive(running.process.pid)
        assert children(running.process.pid) == []


def _shards_alive(running: Service) -> set[str]:
    name = "consumer_shard_heartbeat_timestamp_seconds"
    return {sample.labels["shard"] for sample in running.samples() if sample.name == name}


def _until_working_again(running: Service, killed: float) -> None:
    seconds = until_consuming(running, shards=2, since=killed)
    print(f"working again after {seconds:.1f} s")
    assert seconds < RECOVERY_SECONDS
