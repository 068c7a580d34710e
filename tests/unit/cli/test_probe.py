"""`consumer doctor --live` prints the health of the worker and sets the exit code, without any package."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from consumer.cli.probe import DEFAULT, VARIABLE, Health, probe
from consumer.monitoring.server import Server, listen
from consumer.settings import Settings, variable
from tests.support.driven.processes import free_port

ROOT = Path(__file__).resolve().parents[3]
HANGS = ["the supervisor hangs", "the record processor of shardId-000000000000 has been silent for 301 s"]


def worker(*reasons: str, path: str = "/healthz") -> ASGIApp:
    """The response of a worker at `path`."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = json.dumps({"ok": not reasons, "reasons": reasons}).encode()

    async def healthz(_: Request) -> Response:
        return Response(body, status)

    return Starlette(routes=[Route(path, healthz)])


@contextmanager
def answering(app: ASGIApp, host: str = "127.0.0.1") -> Iterator[dict[str, str]]:
    """An environment with a worker on `host` that serves `app`."""
    with listen(f"{host}:0") as listener:
        server = Server(listener, app)
        server.start()
        yield {VARIABLE: f"{host}:{server.port}"}
        server.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::]", "[::0]", "[::1]"])
def test_a_worker_is_reached_at_any_address(host: str) -> None:
    with answering(worker(), host) as environment:
        assert probe(environment) == Health(ok=True)


@pytest.mark.parametrize("reasons", [(), ("the server hangs",)])
def test_a_service_without_healthz_is_asked_for_livez(reasons: tuple[str, ...]) -> None:
    with answering(worker(*reasons, path="/livez")) as environment:
        assert probe(environment) == Health(ok=not reasons, reasons=reasons)


def test_a_worker_that_is_not_healthy_reports_the_reasons() -> None:
    with answering(worker(*HANGS)) as environment:
        assert probe(environment) == Health(ok=False, reasons=tuple(HANGS))


def test_a_closed_connection_is_retried() -> None:
    """The worker closes the oldest of too many connections."""
    with listen("127.0.0.1:0") as listener:
        environment = {VARIABLE: f"127.0.0.1:{listener.getsockname()[1]}"}
        server = Server(listener, worker())
        cut = threading.Thread(target=cut_off_one, args=(listener, server.start))
        cut.start()
        assert probe(environment) == Health(ok=True)
        cut.join()
        server.stop()


def cut_off_one(listener: socket.socket, then: Callable[[], None]) -> None:
    client, _ = listener.accept()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    then()


def test_an_ipv6_address_without_brackets_is_accepted() -> None:
    """`--live` does not load the settings, which require the brackets."""
    with answering(worker(), "[::]") as environment:
        assert probe({VARIABLE: environment[VARIABLE].replace("[", "").replace("]", "")}) == Health(ok=True)


def test_a_worker_that_does_not_answer_is_not_healthy() -> None:
    address = f"127.0.0.1:{free_port()}"
    (reason,) = probe({VARIABLE: address}).reasons
    assert reason == f"no answer from {address}: [Errno 111] Connection refused"


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b'{"ok": true}'])
def test_an_unexpected_response_is_not_healthy(body: bytes) -> None:
    with answering(Response(body)) as environment:
        health = probe(environment)
    assert health == Health(ok=False, reasons=(f"unexpected response from {environment[VARIABLE]}: not a consumer",))


@pytest.mark.parametrize("address", ["127.0.0.1", ":9464", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:http"])
def test_an_invalid_address_is_reported(address: str) -> None:
    assert probe({VARIABLE: address}).reasons == (f"{VARIABLE}: {address} is not HOST:PORT",)


def test_variable_and_default_are_those_of_the_settings() -> None:
    assert (variable("metrics_address"), Settings.model_fields["metrics_address"].default) == (VARIABLE, DEFAULT)


def command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "consumer", "doctor", "--live", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("reasons", "code", "printed"), [([], 0, "ok\n"), (HANGS, 1, "\n".join(HANGS) + "\n")])
def test_the_command_needs_nothing_but_the_address(reasons: list[str], code: int, printed: str) -> None:
    with answering(worker(*reasons)) as environment:
        run = command(environment)
    assert (run.returncode, run.stdout, run.stderr) == (code, printed, "")


def test_the_command_has_json_too() -> None:
    with answering(worker(*HANGS)) as environment:
        run = command(environment, "--json")
    assert (run.returncode, json.loads(run.stdout)) == (1, {"ok": False, "reasons": HANGS})


def test_the_probe_imports_only_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import consumer.__main__, consumer.cli.probe;"
        "print(*{name.partition('.')[0] for name in sys.modules.keys() - before})"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert set(run.stdout.split()) - sys.stdlib_module_names == {"consumer"}


def test_the_probe_uses_no_proxy() -> None:
    with answering(worker()) as environment, answering(worker("the proxy was used")) as other:
        assert command(environment | {"http_proxy": f"http://{other[VARIABLE]}"}).stdout == "ok\n"
