"""`consumer serve`: what it refuses before it starts, in one line, and how it starts and stops."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.driven.connections import accepts
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.service import Service, service
from tests.support.driven.waiting import until

SOUND = {
    "PATH": os.environ["PATH"],
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "CONSUMER_API_ADDRESS": "127.0.0.1:0",
}
WITHOUT = """
import sys
sys.modules[{package!r}] = None  # an import raises ModuleNotFoundError
sys.argv = ["consumer", "serve"]
from consumer.__main__ import main
main()
"""


def run(variables: Mapping[str, str], *options: str) -> tuple[int, str, list[str]]:
    command = [sys.executable, *(options or ("-m", "consumer", "serve"))]
    done = subprocess.run(command, env=dict(variables), capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr.splitlines()


@contextmanager
def served(tmp_path: Path, **variables: str) -> Iterator[Service]:
    """A running server. Its table does not answer."""
    address = f"{LOOPBACK}:{free_port()}"
    environment = {**SOUND, "CONSUMER_API_ADDRESS": address, "CONSUMER_METRICS_ADDRESS": address, **variables}
    with service(environment, tmp_path / "log", ("consumer", "serve")) as running:
        until(lambda: running.get("/livez")[0] == 200, "the server")
        yield running


@pytest.mark.parametrize("package", ["fastapi", "jwt", "cryptography", "jinja2", "authlib"])
def test_without_the_extra_it_says_what_to_install(package: str) -> None:
    assert run(SOUND, "-c", WITHOUT.format(package=package)) == (
        2,
        "",
        [f"consumer: consumer serve needs {package}, which is not installed: install limits-consumer[api]"],
    )


def test_another_missing_module_is_not_called_the_extra() -> None:
    code, _, lines = run(SOUND, "-c", WITHOUT.format(package="consumer.api.compose"))
    assert code == 1
    assert "limits-consumer[api]" not in "\n".join(lines)


def test_an_open_address_is_refused() -> None:
    code, out, (line,) = run({**SOUND, "CONSUMER_API_ADDRESS": "0.0.0.0:0"})
    assert (code, out) == (2, "")
    assert line.startswith(
        "consumer: CONSUMER_API_ADDRESS: other machines can reach 0.0.0.0:0 without authentication: "
    )


def test_an_address_in_use_is_refused() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        address = f"{LOOPBACK}:{taken.getsockname()[1]}"
        code, out, (line,) = run({**SOUND, "CONSUMER_API_ADDRESS": address})
    assert (code, out) == (2, "")
    assert line.startswith(f"consumer: CONSUMER_API_ADDRESS: cannot listen on {address}: Address already in use")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_without_aws_warns_that_it_is_open_and_stops(number: signal.Signals, tmp_path: Path) -> None:
    with served(tmp_path) as running:
        running.process.send_signal(number)
        assert running.process.wait(30) == 0
    assert [(line["level"], line["message"]) for line in running.lines()] == [
        ("WARNING", "serving every limit without authentication, to this machine only: no issuer is set"),
        ("INFO", "stopping"),
        ("INFO", "stopped gracefully"),
    ]


def test_with_a_trusted_proxy_it_may_listen_to_other_machines(tmp_path: Path) -> None:
    port = free_port()
    address = f"0.0.0.0:{port}"
    variables = {"CONSUMER_API_ADDRESS": address, "CONSUMER_METRICS_ADDRESS": f"{LOOPBACK}:{port}"}
    with served(tmp_path, **variables, CONSUMER_API_TRUSTED_PROXY="true") as running:
        assert accepts("127.0.0.2", port)
        assert running.stop() == 0
    assert [line["address"] for line in running.lines() if "address" in line] == [address]


def test_the_health_check_of_the_image_knows_it(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        checked = run({**SOUND, "CONSUMER_METRICS_ADDRESS": running.address}, "-m", "consumer", "doctor", "--live")
        assert running.stop() == 0
    assert checked == (0, "ok\n", [])
