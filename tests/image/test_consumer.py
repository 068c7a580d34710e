"""The service as a container: its own user, no writable files except a tmpfs, 512 MiB, four shards."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.daemon import java
from tests.support.driven import lambda_environment
from tests.support.driven.container import MIB, Image, as_service, container
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.scenario import Stage, expected, first_difference, poison, samples, until_received
from tests.support.driven.service import FAST, Service, command_line
from tests.support.driven.waiting import until
from tests.support.emulators.aws import CREDENTIALS, REGION, Emulator

EVENTS = 5_000
SHARDS = 4
MEMORY = 512 * MIB
WRITABLE = """
import os
places = (line.split()[1] for line in open("/proc/mounts"))
print(*(place for place in places if os.access(place, os.W_OK) and not place.startswith(("/proc/", "/sys/"))))
"""
"""Prints the writable mounts, except those that an engine puts over /proc and /sys."""


@pytest.fixture
def variables(aws: Emulator, request: pytest.FixtureRequest) -> dict[str, str]:
    """The variables of a task definition."""
    place = lambda_environment.variables(request.node.name, aws)
    return {
        **CREDENTIALS,
        **FAST,
        **place,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "CONSUMER_STREAM_NAME": f"{place['AWS_TABLE_NAME']}-stream",
        "CONSUMER_APPLICATION_NAME": f"{place['AWS_TABLE_NAME']}-app",
        "CONSUMER_METRICS_ADDRESS": f"{LOOPBACK}:{free_port()}",
    }


@pytest.fixture
def stage(consumer_image: Image, variables: dict[str, str], tmp_path: Path) -> Stage:
    """Stream, tables and bucket, created by the image itself."""
    provision = ["consumer", "provision", "--stream", str(SHARDS), "--bucket"]
    with container(consumer_image, variables, tmp_path, provision) as task:
        assert task.process.wait(120) == 0, task.log.read_text()
    return Stage(variables)


def test_four_shards_in_512_mib(stage: Stage, consumer_image: Image, variables: dict[str, str], tmp_path: Path) -> None:
    made = samples(seed=7, count=EVENTS)
    stage.put(made)
    before = dict(files(consumer_image.root))
    with container(consumer_image, variables, tmp_path, memory=MEMORY) as task:
        service = as_service(task, variables["CONSUMER_METRICS_ADDRESS"])
        until_received(service, EVENTS)
        held = [(memory(process), command_line(process)) for process in task.processes()]
        print(*(f"{resident / MIB:.0f} MiB {command[-40:]}" for resident, command in held), sep="\n")

        record_processors = sum(command.endswith((" process", " fork-server")) for _, command in held)
        assert record_processors == SHARDS + 1, "and the process that they are forked from"
        assert sum(resident for resident, _ in held) < MEMORY
        assert first_difference(stage.limits(), expected(made)) is None
        assert lambda_environment.quarantined(variables) == poison(made)
        assert service.outcomes().total() == EVENTS
        assert restarts(service) == [0]
        until(lambda: service.get("/healthz")[0] == 200, "the worker to be healthy", seconds=120)
        task.execute(*consumer_image.health_check)
        assert {privileges(process) for process in task.processes()} == {("10001", "10001", "0" * 16)}
        assert task.execute("python3", "-c", WRITABLE).stdout == "/tmp\n"
        assert task.stop() == 0
    assert dict(files(consumer_image.root)) == before
    assert "Read-only file system" not in task.log.read_text()
    assert [line for line in service.lines() if line["level"] == "ERROR"] == []


def test_the_jvm_starts_with_the_cache_of_the_image(
    stage: Stage, consumer_image: Image, variables: dict[str, str], tmp_path: Path
) -> None:
    stage.put(samples(seed=8, count=1))
    logged = {"CONSUMER_JAVA_OPTIONS": "-XX:+UseSerialGC -Xlog:class+load"}
    with container(consumer_image, variables | logged, tmp_path, memory=MEMORY) as task:
        service = as_service(task, variables["CONSUMER_METRICS_ADDRESS"])
        until_received(service, 1)
        assert f"{java.DAEMON} source: shared objects file" in task.log.read_text()
        assert task.stop() == 0


def test_it_serves_the_api_in_256_mib(
    stage: Stage, consumer_image: Image, variables: dict[str, str], tmp_path: Path
) -> None:
    address = stage.variables["CONSUMER_METRICS_ADDRESS"]
    serving = {**variables, "CONSUMER_API_ADDRESS": address}
    with container(consumer_image, serving, tmp_path, ["consumer", "serve"], memory=256 * MIB) as task:
        service = as_service(task, address)
        until(lambda: service.get("/readyz")[0] == 200, "the API to be ready")
        status, body = service.get("/user-limits/u-1")
        assert (status, json.loads(body)["limits"]) == (200, [])
        task.execute(*consumer_image.health_check)
        assert {privileges(process) for process in task.processes()} == {("10001", "10001", "0" * 16)}
        assert task.stop() == 0


def test_the_health_check_fails_if_the_service_does_not_run(
    consumer_image: Image, variables: dict[str, str], tmp_path: Path
) -> None:
    with container(consumer_image, variables, tmp_path, ["sleep", "infinity"]) as task:
        assert task.execute(*consumer_image.health_check, check=False).returncode == 1


def memory(process: int) -> int:
    """Resident memory in bytes, with a proportional share of shared memory (PSS)."""
    rolled = Path(f"/proc/{process}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB$", rolled, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def privileges(process: int) -> tuple[str, str, str]:
    """Effective user, group and capabilities."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return status["Uid"].split()[1], status["Gid"].split()[1], status["CapEff"]


def files(root: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Size and time of modification of every file of a container."""
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found = path.stat()
            yield str(path), (found.st_size, found.st_mtime_ns)


def restarts(service: Service) -> list[float]:
    return [sample.value for sample in service.samples() if sample.name == "consumer_daemon_restarts_total"]
