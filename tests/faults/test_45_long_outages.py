"""Row 45: Kinesis, DynamoDB or S3 does not respond for longer than the hang timeout. No worker is replaced for it.

One service each, at the same time, with the default hang timeout.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import pytest

from consumer.limits.sample import histories
from consumer.settings import Settings
from tests.faults.conftest import Note
from tests.support.driven.leases import owed
from tests.support.driven.scenario import Stage
from tests.support.driven.service import consumer, environment
from tests.support.driven.trial import Trial, started_trial
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator
from tests.support.faults.tunnel import Tunnel, tunnel

OUTAGE_SECONDS = 330.0
SETTLED_SECONDS = 15.0
SERVICES = ("KINESIS", "DYNAMODB", "S3")


@dataclass(frozen=True)
class Outage:
    """A healthy service, and the connection of all its processes to one service of AWS."""

    trial: Trial
    line: Tunnel

    def healthy(self) -> bool:
        """Fails if the worker would be replaced."""
        for path in ("/livez", "/healthz"):
            status, body = self.trial.running.get(path)
            assert status == 200, (path, body)
        return True


@pytest.fixture(scope="module")
def outages(aws: Emulator, seed: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Outage]]:
    with ExitStack() as stack:
        found = {}
        for name in SERVICES:
            directory: Path = tmp_path_factory.mktemp(name)
            line = stack.enter_context(tunnel(aws.endpoint))
            variables = environment(f"away-{name.lower()}", directory, AWS_ENDPOINT_URL=aws.endpoint)
            variables["CONSUMER_QUARANTINE"] = f"s3://away-{name.lower()}/kept"
            consumer(variables, "provision", "--stream", "1", "--bucket")
            behind = {**variables, f"AWS_ENDPOINT_URL_{name}": line.endpoint, "CONSUMER_HEALTHY_AFTER_SECONDS": "5"}
            source = histories(Random(seed), 10**9, users=40, duplicates=0.02, poison=0.1)
            trial = stack.enter_context(started_trial(Stage(variables), behind, directory, source, first=300))
            found[name] = Outage(trial, line)
        yield found


def owes_nothing(trial: Trial) -> bool:
    return owed(trial.stage) == 0


def test_45_outages_replace_no_worker(outages: Mapping[str, Outage], note: Note) -> None:
    assert Settings.model_fields["hang_seconds"].default < OUTAGE_SECONDS
    for name, outage in outages.items():
        until(lambda outage=outage: outage.trial.running.get("/healthz")[0] == 200, f"{name}: healthy")  # type: ignore[misc]
    for outage in outages.values():
        outage.line.stop()
        outage.trial.put(300)
    end = time.monotonic() + OUTAGE_SECONDS
    until(
        lambda: all(outage.healthy() for outage in outages.values()) and time.monotonic() > end,
        "the end of the outages",
        seconds=2 * OUTAGE_SECONDS,
        every=1.0,
    )
    for name, outage in outages.items():
        outage.line.heal()
        healed = time.monotonic()
        until(partial(owes_nothing, outage.trial), f"{name}: everything to be checkpointed", seconds=120)
        seconds = time.monotonic() - healed
        outage.trial.until_settled()
        note(f"{name}: settled {seconds:.1f} s after the outage")
        assert seconds < SETTLED_SECONDS
        assert outage.trial.running.get("/readyz")[0] == 200
