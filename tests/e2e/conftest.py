"""One AWS for all end-to-end tests: MiniStack, unless CONSUMER_TEST_AWS names another.

Each test has its own stream, tables and quarantine in it. See tests/support/emulators/place.py.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.driven.scenario import Stage
from tests.support.driven.service import environment, provision
from tests.support.emulators.aws import Emulator, ministack
from tests.support.emulators.place import Place, opened


@pytest.fixture(scope="session")
def aws() -> Iterator[Emulator]:
    with ministack() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def endpoints(aws_place: Place, request: pytest.FixtureRequest) -> Iterator[Mapping[str, str]]:
    """The endpoints of AWS, as variables of the service."""
    if aws_place == Place():
        emulator: Emulator = request.getfixturevalue("aws")
        yield {"AWS_ENDPOINT_URL": emulator.endpoint}
        return
    with opened(aws_place) as found:
        yield found


@pytest.fixture
def stage(
    aws_place: Place, endpoints: Mapping[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Stage]:
    """A provisioned stream of two shards and empty tables."""
    name = request.node.name.removeprefix("test_")[:40]
    theirs = aws_place != Place()
    variables = environment(f"{name}-{uuid4().hex[:8]}" if theirs else name, tmp_path, **endpoints)
    provision(variables, "--stream", "2")
    made = Stage(variables)
    yield made
    if theirs:
        made.remove()
