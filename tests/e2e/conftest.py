"""One MiniStack for all end-to-end tests; each test has its own stream, tables and quarantine in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.emulators import Emulator, ministack
from tests.support.scenario import Stage
from tests.support.service import consumer, environment


@pytest.fixture(scope="session")
def aws() -> Iterator[Emulator]:
    with ministack() as emulator:
        yield emulator


@pytest.fixture
def stage(aws: Emulator, tmp_path: Path, request: pytest.FixtureRequest) -> Stage:
    """A provisioned stream of two shards and empty tables."""
    name = request.node.name.removeprefix("test_")[:40]
    variables = environment(name, tmp_path, AWS_ENDPOINT_URL=aws.endpoint)
    consumer(variables, "provision", "--stream", "2")
    return Stage(variables)
