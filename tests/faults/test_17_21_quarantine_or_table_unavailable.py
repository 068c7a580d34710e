"""Rows 17 and 21: the quarantine cannot be written; the limits table is deleted.

A record processor that waits for either stops consuming its shard until everything is settled.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest

from consumer.limits.sample import histories
from tests.faults.conftest import Note
from tests.support.driven.scenario import Stage, poison, until_equal
from tests.support.driven.service import RUN, consumer, environment
from tests.support.driven.trial import Trial, started_trial, undisturbed, with_endpoints
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator
from tests.support.faults.proxy import FaultProxy, Request, lose_reply, refuse

SHARDS = 2
SECONDS = 3.0
REFUSALS: Mapping[str, int] = {"SlowDown": 503, "InternalError": 500, "AccessDenied": 403}


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
    """A service that must stay undisturbed during the block. One record in ten is poison."""
    source = histories(Random(seed), 10**9, users=40, duplicates=0.02, poison=0.1)
    variables = {**variables, "CONSUMER_RESTARTS": "0"}
    with started_trial(Stage(variables), variables, directory, source, command, first=300) as trial, undisturbed(trial):
        yield trial


def test_17_quarantine_in_s3_refuses(trial: Trial, bucket: FaultProxy, note: Note) -> None:
    """Throttled, failing, access denied: valid records are applied, and the others wait."""
    for code, status in REFUSALS.items():
        shards: set[str] = set()
        with bucket.fault(refuse(status, code), "PUT", when=noting(shards)) as fault:
            trial.put(200)
            until(partial(both, shards), "both shards to be held up")
            lag = trial.stops_consuming(fault, SECONDS, least=1)
        healed = time.monotonic()
        trial.until_settled()
        seconds = time.monotonic() - healed
        note(f"{code}: {fault.hits['PUT']} refused; lag up to {lag:.0f} s, settled {seconds:.1f} s later")
    assert causes(trial) >= REFUSALS.keys()


def test_17_quarantine_in_s3_loses_replies(trial: Trial, bucket: FaultProxy, note: Note) -> None:
    """A record that is written again is the same object."""
    with bucket.fault(lose_reply, "PUT", probability=0.5) as fault:
        trial.put_until(lambda: fault.hits["PUT"] >= 10)
    trial.until_settled()
    note(f"{fault.hits['PUT']} records were quarantined without a response")


def test_17_quarantine_in_a_folder_that_is_none(aws: Emulator, seed: int, tmp_path: Path, note: Note) -> None:
    """A file has the name of the folder, so it cannot be created."""
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
        note(f"settled {time.monotonic() - healed:.1f} s after the folder was back")


def test_21_limits_table_deleted_and_made_again(trial: Trial, note: Note) -> None:
    """The new table gets all later and all replayed records, in spite of cached states of the old one."""
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
    note(f"equal to what had come since {time.monotonic() - made:.1f} s after the order to make the table again")
    assert poison(trial.made) - trial.stage.quarantined() <= poison(since), "no sound record is quarantined"

    trial.put_these(list(trial.made))
    trial.until_settled()


def both(shards: set[str]) -> bool:
    return len(shards) == SHARDS


def noting(shards: set[str]) -> Callable[[Request], bool]:
    """Matches every request and collects the shards of the records."""

    def matches(request: Request) -> bool:
        shards.add(request.target.split("/")[-2])
        return True

    return matches


def causes(trial: Trial) -> set[str]:
    """The logged causes of waiting."""
    return {line["cause"].rpartition(": ")[2] for line in trial.logged("waiting")}
