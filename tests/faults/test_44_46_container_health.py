"""Rows 44 and 46: broken versions, a good one, and a stopped JVM, under the health check of the Fargate template.

All containers run at the same time. All times of the health check, and the setting that belongs to it, are halved.
"""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from consumer.monitoring.endpoints import STILL_SECONDS
from consumer.settings import Settings
from consumer.supervisor.restarts import FAILED_STARTS
from tests.faults.conftest import Note
from tests.support.driven.ecs import Container, HealthCheck, Status, supervised
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.scenario import Stage, expected, samples, until_equal
from tests.support.driven.service import RUN, consumer, environment, service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator
from tests.support.faults.proxy import ACCESS_DENIED, fault_proxy
from tests.support.faults.tunnel import tunnel

FACTOR = 0.5
REFUSED_WITHIN = 15.0
LONG = 240.0
HEALTHY_AFTER = str(FACTOR * float(Settings.model_fields["healthy_after_seconds"].default))
DIES = ("tests.support.driven.worker", "false")


@dataclass(frozen=True)
class Fleet:
    """A good version with the only shard, a second one without a shard, and broken ones by what is broken."""

    stage: Stage
    check: HealthCheck
    good: Container
    idle: Container
    broken: Mapping[str, Container]


@pytest.fixture(scope="module")
def fleet(aws: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    check = HealthCheck.of_template(FACTOR)
    with ExitStack() as stack:

        def started(name: str, variables: Mapping[str, str], command: Sequence[str] = RUN) -> Container:
            own = {
                **variables,
                "CONSUMER_METRICS_ADDRESS": f"{LOOPBACK}:{free_port()}",
                "CONSUMER_HEALTHY_AFTER_SECONDS": HEALTHY_AFTER,
            }
            running = stack.enter_context(service(own, directory / f"{name}.log", command))
            return stack.enter_context(supervised(running, own, check))

        def provisioned(name: str) -> dict[str, str]:
            variables = environment(name, directory, AWS_ENDPOINT_URL=aws.endpoint)
            consumer(variables, "provision", "--stream", "1")
            return variables

        sound, broken = provisioned("sound"), provisioned("broken")
        refusing = stack.enter_context(fault_proxy(aws.endpoint))
        refusing.impose(ACCESS_DENIED)
        silent = stack.enter_context(tunnel(aws.endpoint))
        silent.stop()
        good = started("good", sound)
        until(good.running.record_processors, "the good version to have the shard", seconds=LONG)
        yield Fleet(
            Stage(sound),
            check,
            good,
            started("idle", sound),
            {
                "DynamoDB refuses": started("denied", {**broken, "AWS_ENDPOINT_URL_DYNAMODB": refusing.endpoint}),
                "Kinesis refuses": started("unread", {**broken, "AWS_ENDPOINT_URL_KINESIS": refusing.endpoint}),
                "no such stream": started("misnamed", {**broken, "CONSUMER_STREAM_NAME": "no-such-stream"}),
                "DynamoDB is silent": started("silent", {**broken, "AWS_ENDPOINT_URL_DYNAMODB": silent.endpoint}),
                "the record processor dies": started("dies", broken, DIES),
            },
        )


def test_46_stopped_jvm(fleet: Fleet, note: Note) -> None:
    """The JVM of a worker without shards: nothing else would notice."""
    healthy = fleet.idle.until(Status.HEALTHY, LONG)
    assert fleet.idle.running.record_processors() == []
    jvm = fleet.idle.running.jvm()
    assert jvm
    os.kill(jvm, signal.SIGSTOP)
    unhealthy = fleet.idle.until(Status.UNHEALTHY, LONG)
    assert "the JVM has been still for" in fleet.idle.running.get("/livez")[1]
    note(f"healthy after {healthy:.0f} s, unhealthy {unhealthy - healthy:.0f} s later")
    assert unhealthy - healthy > STILL_SECONDS
    assert not fleet.good.was(Status.UNHEALTHY)


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("DynamoDB refuses", ["table broken-limits: dynamodb:DescribeTable", "table broken-app: dynamodb:"]),
        ("Kinesis refuses", ["stream broken-stream: kinesis:DescribeStreamSummary"]),
        ("no such stream", ["stream no-such-stream: kinesis:DescribeStreamSummary: ResourceNotFoundException"]),
    ],
)
def test_44_what_is_refused_or_missing_exits_at_once(fleet: Fleet, note: Note, what: str, named: list[str]) -> None:
    container = fleet.broken[what]
    seconds, code = container.until_exit(LONG)
    note(f"{what}: exit {code} after {seconds:.1f} s")
    assert (code, container.statuses[1:]) == (2, [])
    assert seconds < REFUSED_WITHIN
    lines = container.running.log.read_text().splitlines()
    assert all(any(line.startswith(f"consumer: {name}") for line in lines) for name in named), lines


def test_44_silent_dynamodb_is_never_healthy(fleet: Fleet, note: Note) -> None:
    container = fleet.broken["DynamoDB is silent"]
    unhealthy = container.until(Status.UNHEALTHY, LONG)
    note(f"DynamoDB is silent: unhealthy after {unhealthy:.0f} s")
    assert not container.was(Status.HEALTHY)
    assert container.running.get("/livez")[0] == 200, "an outage is no reason to replace a container that was healthy"


def test_44_dying_record_processor_is_never_healthy(fleet: Fleet, note: Note) -> None:
    container = fleet.broken["the record processor dies"]
    seconds, code = container.until_exit(LONG)
    lines = container.running.lines()
    note(f"the record processor dies: exit {code} after {seconds:.0f} s")
    assert (code, container.was(Status.HEALTHY)) == (1, False)
    assert sum(line["message"] == "daemon started" for line in lines) == FAILED_STARTS


def test_44_good_version_is_healthy_and_stays_so(fleet: Fleet, seed: int, note: Note) -> None:
    healthy = fleet.good.until(Status.HEALTHY, LONG)
    note(f"the good version: healthy after {healthy:.0f} s")
    assert healthy <= fleet.check.start_period + fleet.check.retries * fleet.check.interval
    made = [sample for sample in samples(seed, 300, users=20) if not sample.poison_reason]
    fleet.stage.put(made)
    until_equal(fleet.stage, made)
    assert expected(made)
    assert not fleet.good.was(Status.UNHEALTHY)
    assert fleet.good.running.stop() == 0
