"""Fixtures of the fault tests: MiniStack, a stage per test, the seed of the run, and figures printed at the end.

The seed is the environment's CONSUMER_TEST_SEED; otherwise it is drawn once for all processes that share the tests.
Tests draw everything random from it.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.support.driven.scenario import Stage
from tests.support.driven.service import environment, provision
from tests.support.emulators.aws import Emulator, dynamodb_local, kinesis_mock, ministack
from tests.support.faults.proxy import FaultProxy, fault_proxy

LONGEST = (
    *("test_03_04_47_52_takeover.py", "test_45_long_outages.py", "test_53_58_gathering.py", "test_rewind.py"),
    *("test_35_large_records.py", "test_37_leases_of_another_stream.py", "test_59_forked_record_processors.py"),
    *("test_44_46_container_health.py", "test_simulated_takeover.py", "test_simulation.py", "test_62_proof.py"),
)
"""The files that take two to nine minutes, the longest first."""
SEED = "CONSUMER_TEST_SEED"
FIGURE = "figure"

SLOW_IN_AWS = ("CREATE_STREAM_DURATION", "SPLIT_SHARD_DURATION", "MERGE_SHARDS_DURATION")

Note = Callable[[str], None]
"""Takes a line that is printed after all tests, whether they pass or fail."""


def pytest_configure() -> None:
    os.environ[SEED] = os.environ.get(SEED) or str(secrets.randbelow(2**32))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files begin first. One that begins last would keep its process busy when the others have finished."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"repeat with {SEED}={os.environ[SEED]}")
    reports = [report for some in terminalreporter.stats.values() for report in some]
    for report in (each for each in reports if isinstance(each, pytest.TestReport) and each.when == "call"):
        for line in (value for name, value in report.user_properties if name == FIGURE):
            terminalreporter.write_line(f"{report.location[2]}: {line}")


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed for everything random in this run."""
    return int(os.environ[SEED])


@pytest.fixture(scope="module")
def others() -> Iterator[Executor]:
    """One process per core, each with its own hash seed and thus its own order of sets."""
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    return lambda line: record_property(FIGURE, line)


@pytest.fixture(scope="session")
def aws() -> Iterator[Emulator]:
    with ministack() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def bucket(aws: Emulator, seed: int) -> Iterator[FaultProxy]:
    """A proxy before S3, in which a test puts faults."""
    with fault_proxy(aws.endpoint, seed) as started:
        yield started


@pytest.fixture
def stage(aws: Emulator, tmp_path: Path, request: pytest.FixtureRequest) -> Stage:
    """A provisioned stream of two shards and empty tables."""
    variables = environment(_name(request), tmp_path, AWS_ENDPOINT_URL=aws.endpoint)
    provision(variables, "--stream", "2")
    return Stage(variables)


@pytest.fixture(scope="session")
def streams() -> Iterator[Emulator]:
    """Kinesis with shards that can be split and merged, and that report their children."""
    with kinesis_mock(dict.fromkeys(SLOW_IN_AWS, "100ms") | {"SHARD_LIMIT": "200"}) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def tables() -> Iterator[Emulator]:
    with dynamodb_local() as emulator:
        yield emulator


def stage_of(shards: int, streams: Emulator, tables: Emulator, directory: Path, name: str) -> Stage:
    """A provisioned stream whose shards can be split and merged."""
    endpoints = {"AWS_ENDPOINT_URL_KINESIS": streams.endpoint, "AWS_ENDPOINT_URL_DYNAMODB": tables.endpoint}
    variables = environment(name, directory, **endpoints)
    provision(variables, "--stream", str(shards))
    return Stage(variables)


def stage_of_one_shard(aws: Emulator, directory: Path, name: str, place: str) -> Stage:
    """A provisioned stream of one shard, with the quarantine in a directory (`dir`) or in `s3`."""
    variables = environment(f"{name}-{place}", directory, AWS_ENDPOINT_URL=aws.endpoint)
    bucket = []
    if place == "s3":
        variables["CONSUMER_QUARANTINE"] = f"s3://{name}-quarantine/kept"
        bucket = ["--bucket"]
    provision(variables, "--stream", "1", *bucket)
    return Stage(variables)


def _name(request: pytest.FixtureRequest) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name.removeprefix("test_"))[:40]
