"""Rows 10 and 11: the network to the limits, the leases, or both fails; checkpoints are refused.

The record processors reach DynamoDB through one proxy, the daemon through another. One service survives all of it.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Note
from tests.support.driven.leases import leases, lost
from tests.support.driven.scenario import Stage, endless, until_equal
from tests.support.driven.service import consumer, environment
from tests.support.driven.trial import Trial, started_trial, with_endpoints
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator
from tests.support.faults.proxy import (
    FAILING,
    FaultProxy,
    Request,
    fault_proxy,
    hang_up,
    hold,
    refuse,
    swallow,
)

SHARDS = 2
THIEF = "a worker that is none"


@pytest.fixture(scope="module")
def data_plane(aws: Emulator, seed: int) -> Iterator[FaultProxy]:
    with fault_proxy(aws.endpoint, seed) as started:
        yield started


@pytest.fixture(scope="module")
def lease_plane(aws: Emulator, seed: int) -> Iterator[FaultProxy]:
    with fault_proxy(aws.endpoint, seed) as started:
        yield started


@pytest.fixture(scope="module")
def trial(
    aws: Emulator,
    data_plane: FaultProxy,
    lease_plane: FaultProxy,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Trial]:
    directory: Path = tmp_path_factory.mktemp("leases")
    variables = environment("leases", directory, AWS_ENDPOINT_URL=aws.endpoint)
    consumer(variables, "provision", "--stream", str(SHARDS))
    parted = {**variables, "AWS_ENDPOINT_URL_DYNAMODB": lease_plane.endpoint}
    command = with_endpoints(AWS_ENDPOINT_URL_DYNAMODB=data_plane.endpoint)
    with started_trial(Stage(variables), parted, directory, endless(seed), command) as started:
        yield started


def test_11_checkpoint_of_a_lost_lease(trial: Trial, data_plane: FaultProxy, note: Note) -> None:
    """The batch is written, its checkpoint is refused: the record processor stops, and the batch is delivered again."""
    processes, received = trial.processes(), trial.running.received()
    with data_plane.fault(hold) as fault:
        trial.put(300)
        until(lambda: len(fault.hits), "a batch to be under way")
        stolen = steal(trial.stage)
    start = time.monotonic()
    trial.until_settled()
    answers = trial.metric("consumer_checkpoints_total", result="ShutdownException")
    again = trial.running.received() - received - 300
    seconds = time.monotonic() - start
    note(
        f"{answers:.0f} of {len(stolen)} answered ShutdownException; {again} records came again, within {seconds:.1f} s"
    )
    assert answers >= 1
    assert again > 0
    assert trial.running.jvm() in processes, "no exit"
    assert trial.logged("exiting") == []


def test_10_parted_from_the_limits(trial: Trial, data_plane: FaultProxy, note: Note) -> None:
    """Consumption waits: no lease is lost, and no record is delivered twice."""
    before, delivered = trial.processes(), trial.delivered()
    with data_plane.fault(swallow) as fault:
        trial.put(300)
        trial.stops_consuming(fault, 10.0, least=1)
    healed = time.monotonic()
    trial.until_settled()
    note(f"all settled {time.monotonic() - healed:.1f} s later; {fault.hits}")
    assert trial.processes() == before
    assert trial.delivered() == delivered + 300


def test_10_parted_from_the_leases(trial: Trial, lease_plane: FaultProxy, note: Note) -> None:
    """The leases expire; records after the checkpoints are delivered again."""
    before = len(trial.logged("lease lost"))
    start = time.monotonic()
    with lease_plane.fault(hang_up) as fault:
        trial.put(300)
        until(lambda: len(trial.logged("lease lost")) >= before + SHARDS, "both leases to be lost")
        lost_after = time.monotonic() - start
        trial.put(300)
        assert lost(trial.stage) == []
    healed = time.monotonic()
    trial.until_settled()
    note(f"leases lost after {lost_after:.1f} s; all settled {time.monotonic() - healed:.1f} s later; {fault.hits}")


def test_10_parted_from_both(trial: Trial, data_plane: FaultProxy, lease_plane: FaultProxy, note: Note) -> None:
    """The leases expire in the middle of a batch, which is then written late by a worker that lost the shard."""
    before = len(trial.logged("lease lost"))
    with data_plane.fault(swallow) as data:
        trial.put(300)
        until(lambda: len(data.hits), "a batch to be under way")
        with lease_plane.fault(hang_up) as lease:
            trial.stops_consuming(data, 10.0, least=1)
            assert len(trial.logged("lease lost")) == before, "it is heard of after the batch"
    healed = time.monotonic()
    trial.put(300)
    trial.until_settled()
    note(f"all settled {time.monotonic() - healed:.1f} s later; {data.hits}, {lease.hits}")
    assert len(trial.logged("lease lost")) > before


def test_11_checkpoints_fail_for_a_while(trial: Trial, lease_plane: FaultProxy, note: Note) -> None:
    """Settled records are delivered again: Java does not renew the lease while it tries to checkpoint.

    Throttled ones it tries for a minute: tests/unit/kcl/test_record_processor.py has that answer, and all others.
    """
    answer = "KinesisClientLibDependencyException"
    before, jvm = trial.checkpoints(), trial.running.jvm()
    with lease_plane.fault(FAILING, when=is_checkpoint) as fault:
        trial.put(300)
        until(lambda: trial.metric("consumer_checkpoints_total", result=answer) >= SHARDS, f"the answer {answer}")
        trial.put(300)
        until_equal(trial.stage, trial.made)
        assert trial.checkpoints() == before
        assert lost(trial.stage) == []
    trial.until_settled()
    note(f"{trial.metric('consumer_checkpoints_total', result=answer):.0f} answers {answer}; {fault.hits}")
    assert trial.running.jvm() == jvm
    assert trial.logged("exiting") == []


def test_11_checkpoint_answered_with_invalid_state(trial: Trial, lease_plane: FaultProxy, note: Note) -> None:
    """The state is unknown: the record processor exits, and the daemon is restarted."""
    processes = trial.processes()
    with lease_plane.fault(refuse(400, "ResourceNotFoundException"), when=is_checkpoint, most=1):
        trial.put(300)
        until(lambda: trial.logged("exiting"), "a record processor to leave")
        start = time.monotonic()
        trial.put(300)
        trial.until_settled()
    note(f"restarted and all settled {time.monotonic() - start:.1f} s later")
    assert [line["error"].splitlines()[-1] for line in trial.logged("exiting")] == [
        "consumer.kcl.record_processor.CheckpointRefused: InvalidStateException"
    ]
    assert not trial.processes() & processes


def is_checkpoint(request: Request) -> bool:
    """Whether the request sets a checkpoint; a renewal does not."""
    return request.operation == "UpdateItem" and b'"checkpoint"' in request.body


def steal(stage: Stage) -> list[str]:
    """Assigns every lease to a worker that does not exist."""
    shards = sorted(leases(stage))
    for shard in shards:
        stage.dynamodb().update_item(
            TableName=stage.variables["CONSUMER_APPLICATION_NAME"],
            Key={"leaseKey": {"S": shard}},
            UpdateExpression="SET leaseOwner = :thief ADD leaseCounter :one",
            ExpressionAttributeValues={":thief": {"S": THIEF}, ":one": {"N": "1"}},
        )
    return shards
