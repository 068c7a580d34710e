"""Rows 60 and 61: the archive cannot be written; `kill -9` before a record is archived, and before its checkpoint.

Whatever happens, the archive holds every record as it came, no checkpoint passes one that it lacks, and the table
equals the oracle.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random

import pytest

from consumer.limits.sample import Sample, histories
from tests.faults.conftest import Note
from tests.support.driven.archives import data_by_position
from tests.support.driven.leases import lost, owed
from tests.support.driven.scenario import Stage, poison, samples, until_equal
from tests.support.driven.service import consumer, environment, gone
from tests.support.driven.trial import Trial, started_trial, undisturbed, with_endpoints
from tests.support.driven.waiting import until
from tests.support.driven.workers import held_worker, until_consuming, worker
from tests.support.emulators.aws import Emulator
from tests.support.faults.hold_points import Point
from tests.support.faults.proxy import FaultProxy, Request, lose_reply, refuse

SHARDS = 2
SECONDS = 3.0
REFUSALS: Mapping[str, int] = {"SlowDown": 503, "InternalError": 500, "AccessDenied": 403, "NoSuchBucket": 404}


def archived(stage: Stage) -> Counter[bytes]:
    """The bytes of every record in the archive, whatever its copies."""
    return Counter(data_by_position(stage.archive()).values())


def all_of(made: list[Sample]) -> Counter[bytes]:
    return Counter(sample.data for sample in made)


# --- Unavailable -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trial(aws: Emulator, bucket: FaultProxy, seed: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """An undisturbed service with an archive in S3, which the record processors reach through the proxy."""
    directory: Path = tmp_path_factory.mktemp("kept")
    variables = {
        **environment("kept", directory, AWS_ENDPOINT_URL=aws.endpoint),
        "CONSUMER_ARCHIVE": "s3://kept-archive/records",
        "CONSUMER_ARCHIVE_SECONDS": "1",
        "CONSUMER_RESTARTS": "0",
    }
    consumer(variables, "provision", "--stream", str(SHARDS), "--bucket")
    source = histories(Random(seed), 10**9, users=40, duplicates=0.02, poison=0.1)
    command = with_endpoints(AWS_ENDPOINT_URL_S3=bucket.endpoint)
    with started_trial(Stage(variables), variables, directory, source, command, first=300) as started:
        with undisturbed(started):
            yield started
        assert archived(started.stage) == all_of(started.made)


def test_60_archive_in_s3_refuses(trial: Trial, bucket: FaultProxy, note: Note) -> None:
    """Throttled, failing, access denied, no bucket: the shards wait, and `waiting` says for what."""
    for code, status in REFUSALS.items():
        shards: set[str] = set()
        with bucket.fault(refuse(status, code), "PUT", when=noting(shards)) as fault:
            trial.put(200)
            until(lambda: len(shards) == SHARDS, "both shards to be held up")  # noqa: B023 - within the iteration
            lag = trial.stops_consuming(fault, SECONDS, least=1)
        healed = time.monotonic()
        trial.until_settled()
        assert archived(trial.stage) == all_of(trial.made)
        seconds = time.monotonic() - healed
        note(f"{code}: {fault.hits['PUT']} refused; lag up to {lag:.0f} s, settled {seconds:.1f} s later")
    waits = [line for line in trial.logged("waiting") if line["part"] == "archive"]
    assert {line["cause"].rpartition(": ")[2] for line in waits} == REFUSALS.keys()
    assert trial.metric("consumer_environment_retries_total", part="archive") >= len(REFUSALS)


def test_60_archive_in_s3_loses_replies(trial: Trial, bucket: FaultProxy, note: Note) -> None:
    """An object that is written again has the same name and the same content."""
    with bucket.fault(lose_reply, "PUT", probability=0.5) as fault:
        trial.put_until(lambda: fault.hits["PUT"] >= 10)
    trial.until_settled()
    assert archived(trial.stage) == all_of(trial.made)
    note(f"{fault.hits['PUT']} objects were written without a response")


def noting(shards: set[str]) -> Callable[[Request], bool]:
    """Matches every request and collects the shards of the objects."""

    def matches(request: Request) -> bool:
        shards.add(request.target.rpartition("/")[2].rsplit("-", 2)[0])
        return True

    return matches


# --- Killed ----------------------------------------------------------------------------------------------------------


def with_archive(stage: Stage, seconds: float) -> Stage:
    """The stage with an archive in a bucket of its own. Nothing is written for so many seconds."""
    name = stage.variables["CONSUMER_STREAM_NAME"]
    settings = {"CONSUMER_ARCHIVE": f"s3://{name}/archive", "CONSUMER_ARCHIVE_SECONDS": str(seconds)}
    archiving = Stage({**stage.variables, **settings})
    consumer(archiving.variables, "provision", "--bucket")
    return archiving


@pytest.fixture
def made(seed: int) -> list[Sample]:
    return samples(seed, count=1_200, users=40)


def assert_complete(stage: Stage, made: list[Sample]) -> None:
    until_equal(stage, made)
    assert owed(stage) == 0
    assert lost(stage) == []
    assert stage.quarantined() == poison(made)
    assert archived(stage) == all_of(made)


def test_61_kill_between_archive_and_checkpoint(stage: Stage, made: list[Sample], tmp_path: Path, note: Note) -> None:
    """The records are archived again under other names; readers drop the repeats."""
    stage = with_archive(stage, seconds=1)
    with held_worker(stage, tmp_path, "worker") as (running, hold_points):
        hold_points.at(Point.BEFORE_CHECKPOINT)
        stage.put(made[:800])
        until(lambda: len(hold_points.held(Point.BEFORE_CHECKPOINT)) == SHARDS, "both before their checkpoints")
        before = archived(stage)
        assert before
        assert owed(stage) == 800, "nothing is checkpointed"
        os.kill(running.record_processors()[0], signal.SIGKILL)
        killed = time.time()
        hold_points.release(Point.BEFORE_CHECKPOINT)
        stage.put(made[800:])
        seconds = until_consuming(running, SHARDS, killed)
        until(lambda: owed(stage) == 0, "the last checkpoints")
        assert running.stop() == 0
    assert_complete(stage, made)
    copies = sum(1 for _ in stage.archive().list())
    note(f"{before.total()} records archived and not checkpointed, {copies} objects; consumed after {seconds:.1f} s")


def test_61_kill_between_delivery_and_archive(stage: Stage, made: list[Sample], tmp_path: Path, note: Note) -> None:
    """Everything is applied, nothing archived or checkpointed. After the restart it is delivered and archived again."""
    stage = with_archive(stage, seconds=3_600)
    with worker(stage, tmp_path, "worker") as running:
        stage.put(made)
        until_equal(stage, made)
        assert (archived(stage), owed(stage)) == (Counter(), len(made))
        # Both: one that is left would be asked to shut down, and would write its archive.
        for processor in running.record_processors():
            os.kill(processor, signal.SIGKILL)
        seconds = until_consuming(running, SHARDS, time.time())
        until(lambda: running.received() >= 2 * len(made), "everything to be delivered again")
        assert (archived(stage), owed(stage)) == (Counter(), len(made))
        assert running.stop() == 0, "a graceful stop writes the archive, and checkpoints"
    assert_complete(stage, made)
    note(f"consumed again after {seconds:.1f} s")


def test_61_kill_the_worker_before_the_archive_is_written(
    stage: Stage, made: list[Sample], tmp_path: Path, note: Note
) -> None:
    """Another worker, with another id, reads everything again."""
    stage = with_archive(stage, seconds=3_600)
    with worker(stage, tmp_path, "first") as running:
        stage.put(made)
        until_equal(stage, made)
        jvm, processors = running.jvm(), running.record_processors()
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait(10)
        gone([*filter(None, [jvm]), *processors])
    assert (archived(stage), owed(stage)) == (Counter(), len(made))
    with worker(stage, tmp_path, "second") as running:
        until(lambda: running.received() >= len(made), "everything to be delivered again")
        assert running.stop() == 0
    assert_complete(stage, made)
    objects = [found.size for found in stage.archive().list()]
    note(f"{len(made)} records in {len(objects)} objects of {sum(objects)} bytes")
