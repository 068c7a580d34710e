"""Rows 17 and 21: the quarantine cannot be written, the table of limits is gone.

A record processor that waits for either holds its shard, and what lies behind in it, until all is settled.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest

from consumer.limits.sample import histories
from tests.faults.conftest import Tell
from tests.support.driven.scenario import Stage, poison, until_equal
from tests.support.driven.service import RUN, consumer, environment
from tests.support.driven.trial import Trial, started_trial, undisturbed, with_endpoints
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator
from tests.support.faults.proxy import FaultProxy, Request, fault_proxy, lose_reply, refuse

SHARDS = 2
SECONDS = 3.0
REFUSALS: Mapping[str, int] = {"SlowDown": 503, "InternalError": 500, "AccessDenied": 403}


@pytest.fixture(scope="module")
def bucket(aws: Emulator, seed: int) -> Iterator[FaultProxy]:
    with fault_proxy(aws.endpoint, seed) as started:
        yield started


@pytest.fixture(scope="module")
def trial(aws: Emulator, bucket: FaultProxy, seed: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A service with its quarantine in S3, which the record processors reach through the proxy."""
    directory: Path = tmp_path_factory.mktemp("away")
    place = {"CONSUMER_QUARANTINE": "s3://away-quarantine/kept"}
    variables = environment("away", directory, AWS_ENDPOINT_URL=aws.endpoint) | place
    consumer(variables, "provision", "--stream", str(SHARDS), "--bucket")
    with steady(variables, directory, seed, with_endpoints(AWS_ENDPOINT_URL_S3=bucket.endpoint)) as started:
        yield started


@contextmanager
def steady(variables: Mapping[str, str], directory: Path, seed: int, command: Sequence[str] = RUN) -> Iterator[Trial]:
    """A service that whatever happens in the block does not disturb. One record in ten is poison."""
    source = histories(Random(seed), 10**9, users=40, duplicates=0.02, poison=0.1)
    variables = {**variables, "CONSUMER_RESTARTS": "0"}
    with started_trial(Stage(variables), variables, directory, source, command, first=300) as trial, undisturbed(trial):
        yield trial


def test_17_quarantine_in_s3_refuses(trial: Trial, bucket: FaultProxy, tell: Tell) -> None:
    """Throttled, failing, without the right: what is sound is applied, what is not is waited for."""
    for code, status in REFUSALS.items():
        shards: set[str] = set()
        with bucket.fault(refuse(status, code), "PUT", when=noting(shards)) as fault:
            trial.put(200)
            until(partial(both, shards), "both shards to be held up")
            lag = trial.stops_consuming(fault, SECONDS, least=1)
        healed = time.monotonic()
        trial.until_settled()
        seconds = time.monotonic() - healed
        tell(f"{code}: {fault.hits['PUT']} refused; lag up to {lag:.0f} s, settled {seconds:.1f} s later")
    assert causes(trial) >= REFUSALS.keys()


def test_17_quarantine_in_s3_loses_replies(trial: Trial, bucket: FaultProxy, tell: Tell) -> None:
    """A record put there again is the same object."""
    with bucket.fault(lose_reply, "PUT", probability=0.5) as fault:
        trial.put_until(lambda: fault.hits["PUT"] >= 10)
    trial.until_settled()
    tell(f"{fault.hits['PUT']} records were set aside unheard")


def test_17_quarantine_in_a_folder_that_is_none(aws: Emulator, seed: int, tmp_path: Path, tell: Tell) -> None:
    """A file is in its place: the folder cannot be made."""
    variables = environment("folder", tmp_path, AWS_ENDPOINT_URL=aws.endpoint)
    consumer(variables, "provision", "--stream", str(SHARDS))
    place = tmp_path / "quarantine"
    with steady(variables, tmp_path, seed) as trial:
        place.rename(tmp_path / "elsewhere")
        place.touch()
        checkpoints = trial.checkpoints()
        trial.put(200)
        trial.until_logged("waiting", part="quarantine")
        until(lambda: min(trial.lags().values()) > SECONDS, "both shards to be held up")
        assert trial.checkpoints() == checkpoints
        assert trial.running.get("/livez")[0] == 200
        place.unlink()
        (tmp_path / "elsewhere").rename(place)
        healed = time.monotonic()
        trial.until_settled()
        tell(f"settled {time.monotonic() - healed:.1f} s after the folder was back")


def test_21_limits_table_deleted_and_made_again(trial: Trial, tell: Tell) -> None:
    """It is filled by what comes from then on, and by what is read again, whatever was remembered of the old one."""
    before = trial.checkpoints(), trial.stage.quarantined()
    table = trial.stage.variables["AWS_TABLE_NAME"]
    trial.stage.dynamodb().delete_table(TableName=table)
    since = [next(trial.source) for _ in range(300)]
    trial.put_these(since)
    until(lambda: min(trial.lags().values()) > SECONDS, "both shards to be held up")
    assert (trial.checkpoints(), trial.stage.quarantined()) == before
    assert trial.running.get("/livez")[0] == 200
    assert "ResourceNotFound" in {cause.removesuffix("Exception") for cause in causes(trial)}

    made = time.monotonic()
    consumer(trial.stage.variables, "provision")
    until_equal(trial.stage, since)
    tell(f"equal to what had come since {time.monotonic() - made:.1f} s after the order to make the table again")
    assert poison(trial.made) - trial.stage.quarantined() <= poison(since), "no sound record is set aside"

    trial.put_these(list(trial.made))
    trial.until_settled()


def both(shards: set[str]) -> bool:
    return len(shards) == SHARDS


def noting(shards: set[str]) -> Callable[[Request], bool]:
    """Fits every request, and notes the shard of the record that is to be put."""

    def note(request: Request) -> bool:
        shards.add(request.target.split("/")[-2])
        return True

    return note


def causes(trial: Trial) -> set[str]:
    """What was waited for, as the log has it."""
    return {line["cause"].rpartition(": ")[2] for line in trial.logged("waiting")}
