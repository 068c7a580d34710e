"""Row 59: a worker with many shards, whose record processors are forked from one process, and any of them is killed.

Nothing is lost or applied twice. The fork server is no single point of failure: the record processors outlive it.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Note
from tests.support.driven.leases import lost, owed
from tests.support.driven.scenario import Stage, poison, samples, until_equal, until_received
from tests.support.driven.service import Service, alive, children, consumer, environment, gone
from tests.support.driven.waiting import until
from tests.support.driven.workers import processes, until_consuming, worker
from tests.support.emulators.aws import Emulator

SHARDS = 16
SHARE_MIB = 30.0
"""The most that a shard may use, its part of the fork server and the process that waits for it included."""
RECOVERY_SECONDS = 60.0


@pytest.fixture
def stage(aws: Emulator, tmp_path: Path) -> Stage:
    # While 16 record processors start on a busy machine, the KCL renews too late for a shorter time.
    failover = {"CONSUMER_FAILOVER_MILLIS": "10000"}
    variables = environment(tmp_path.name, tmp_path, AWS_ENDPOINT_URL=aws.endpoint, **failover)
    consumer(variables, "provision", "--stream", str(SHARDS))
    return Stage(variables)


def of_a_fork(running: Service) -> int:
    return running.forks()[0]


def of_a_waiting_process(running: Service) -> int:
    jvm = running.jvm()
    assert jvm
    return next(child for child in children(jvm) if child not in running.record_processors())


def of_the_jvm(running: Service) -> int:
    jvm = running.jvm()
    assert jvm
    return jvm


def until_forked(running: Service) -> None:
    """Waits for the record processors. Those that started before the others run alone."""
    until(lambda: len(running.record_processors()) == SHARDS and len(running.forks()) > SHARDS // 2, "the forks")


@pytest.mark.parametrize("victim", [of_a_fork, of_a_waiting_process, of_the_jvm])
def test_59_kill(victim: Callable[[Service], int], stage: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    """The daemon exits, as after the death of any record processor, and all shards are consumed again."""
    made = samples(seed, count=3_000, users=200)
    with worker(stage, tmp_path, "worker") as running:
        until_forked(running)
        stage.put(made[:1_500])
        until_received(running, 750)
        before = [process for process in processes(running) if process != running.process.pid]
        killed = time.time()
        os.kill(victim(running), signal.SIGKILL)
        gone(before)
        stage.put(made[1_500:])
        seconds = until_consuming(running, SHARDS, killed)
        until_equal(stage, made)
        until(lambda: owed(stage) == 0, "the last checkpoints")
        note(f"every shard consumed again after {seconds:.1f} s")

        assert seconds < RECOVERY_SECONDS
        assert lost(stage) == []
        assert stage.quarantined() == poison(made)
        assert running.stop() == 0
        assert sum(line["message"] == "daemon started" for line in running.lines()) == 2


def test_59_kill_the_fork_server(stage: Stage, seed: int, tmp_path: Path) -> None:
    """It is not missed: a fork ends only with its lease, which a slow machine may lose."""
    made = samples(seed, count=2_000, users=200)
    with worker(stage, tmp_path, "worker") as running:
        until_forked(running)
        stage.put(made[:1_000])
        until_received(running, 500)
        server, forks = running.fork_server(), running.forks()
        assert server
        os.kill(server, signal.SIGKILL)
        gone([server])
        stage.put(made[1_000:])
        until_equal(stage, made)
        until(lambda: owed(stage) == 0, "the last checkpoints")

        ended = [fork for fork in forks if not alive(fork)]
        assert len(ended) <= sum(line["message"] == "lease lost" for line in running.lines())
        assert lost(stage) == []
        assert running.received() >= len(made)
        assert running.stop() == 0
        gone(forks)
        assert sum(line["message"] == "daemon started" for line in running.lines()) == 1


def test_59_kill_the_supervisor(stage: Stage, tmp_path: Path) -> None:
    with worker(stage, tmp_path, "worker") as running:
        until_forked(running)
        everything = processes(running)
        running.process.kill()
        running.process.wait()
        gone(everything)


def test_59_memory_and_stop(stage: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    made = samples(seed, count=SHARDS * 1_000, users=1_000)
    with worker(stage, tmp_path, "worker") as running:
        until_forked(running)
        stage.put(made)
        until_received(running, len(made))
        supervisor, jvm, *rest = processes(running)
        share = sum(map(memory, rest)) / SHARDS
        note(f"{share:.1f} MiB per shard")
        assert share < SHARE_MIB
        assert running.stop() == 0
        gone([supervisor, jvm, *rest])
    assert not {line["message"] for line in running.lines() if line["level"] == "ERROR"}


def memory(process: int) -> float:
    """Resident memory in MiB, with a proportional share of shared memory (PSS)."""
    found = re.search(r"^Pss:\s+(\d+) kB$", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
