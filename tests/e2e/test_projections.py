"""The projections of examples/, installed into a folder of their own, on the real daemon and as a Lambda function."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.driven import lambda_environment
from tests.support.driven.invocations import SUCCESS, event
from tests.support.driven.lambda_zip import unpack
from tests.support.driven.scenario import until_received
from tests.support.driven.service import consumer, environment, service
from tests.support.emulators.aws import Emulator, session
from tests.support.emulators.runtime_api import lambda_runtime
from tests.support.generators.events import records
from tests.support.generators.projects import EXAMPLES, Example, Item


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


@pytest.fixture
def packages(example: Example, tmp_path: Path) -> Path:
    """The folder into which the package of the example is installed (docs/how-to/keep-another-projection.md)."""
    project, folder = tmp_path / "project", tmp_path / "projections"
    shutil.copytree(example.folder, project, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, *offline, "--target", folder, project], check=True)
    return folder


def kept(variables: dict[str, str], example: Example) -> list[Item]:
    found: list[Item] = json.loads(consumer(variables, "show", *example.key, "--json"))
    return found


def test_the_worker_keeps_it(aws: Emulator, example: Example, packages: Path, tmp_path: Path) -> None:
    name = f"{example.folder.name}-worker"
    chosen = {"CONSUMER_PROJECTION": example.projection, "PYTHONPATH": str(packages)}
    variables = environment(name, tmp_path, AWS_ENDPOINT_URL=aws.endpoint, **chosen)
    consumer(variables, "provision", "--stream", "2")
    kinesis = session().client("kinesis", endpoint_url=aws.endpoint)
    for number, data in enumerate(example.records):
        kinesis.put_record(StreamName=variables["CONSUMER_STREAM_NAME"], Data=data, PartitionKey=str(number))
    with service(variables, tmp_path / "log") as running:
        until_received(running, len(example.records))
        assert running.outcomes()["quarantined"] == 1
        assert running.stop() == 0
    assert kept(variables, example) == [example.item]


def test_the_lambda_function_keeps_it(aws: Emulator, example: Example, packages: Path, tmp_path: Path) -> None:
    task = unpack(tmp_path / "task", added=packages)
    chosen = {"CONSUMER_PROJECTION": example.projection}
    variables = {**lambda_environment.variables(f"{example.folder.name}-function", aws), **chosen}
    local = environment("any", tmp_path, **variables, PYTHONPATH=str(packages))
    consumer(local, "provision", "--stream", "1", "--bucket")
    with lambda_runtime(task, variables, tmp_path) as function:
        assert function.invoke(event(records(*example.records))) == SUCCESS
    assert kept(local, example) == [example.item]
    assert lambda_environment.quarantined(variables) == {b"poison": 1}
