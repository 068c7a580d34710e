"""The API's server: what it says when it starts, its bounds, and how it ends."""

import asyncio
import logging
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consumer.api import server as serving
from consumer.api.server import bounds_of, serve
from consumer.engine.errors import SettingsError
from consumer.monitoring.server import SECONDS, Bounds
from consumer.settings import ApiSettings
from tests.support.driven.clients import slow_clients
from tests.support.driven.connections import accepts, answer
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.waiting import until

ISSUER = {"api_issuer": "https://login.example.com", "api_audience": "limits"}
WARNED = "serving every limit without authentication, to this machine only: no issuer is set"
TRUSTED = "serving every limit: a gateway must authenticate each request"
TOKENS = "serving limits to callers with a token"


def settings(**given: Any) -> ApiSettings:
    return ApiSettings(region="eu-west-1", **given)


@dataclass
class Running:
    """`serve` on a thread. `stop` is a signal, `release` lets the response to /held go."""

    settings: ApiSettings
    release: threading.Event = field(default_factory=threading.Event)
    code: int | None = None
    _signals: "queue.SimpleQueue[int]" = field(default_factory=queue.SimpleQueue)

    def run(self) -> None:
        app = Starlette(routes=[Route("/{path:path}", self._respond)])
        self.code = serve(self.settings, app, self._is_stop_requested)

    def stop(self) -> None:
        self._signals.put(15)

    @property
    def port(self) -> int:
        return int(self.settings.api_address.rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.port), timeout=30)

    def _is_stop_requested(self, seconds: float) -> bool:
        try:
            return bool(self._signals.get(timeout=min(seconds, 60.0)) if seconds else self._signals.get_nowait())
        except queue.Empty:
            return False

    async def _respond(self, request: Request) -> Response:
        while request.url.path == "/held" and not self.release.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.01)
        return Response("answered")


@contextmanager
def running(**given: Any) -> Iterator[Running]:
    made = Running(settings(api_address=f"{LOOPBACK}:{free_port()}", **given))
    thread = threading.Thread(target=made.run)
    thread.start()
    until(lambda: accepts(LOOPBACK, made.port), "the server")
    try:
        yield made
    finally:
        made.release.set()
        for _ in range(2):
            made.stop()
        thread.join(60)
    assert not thread.is_alive()


def ask(client: socket.socket, path: str = "/") -> None:
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def held(at: Running, stack: ExitStack) -> socket.socket:
    """A client whose request is under way."""
    client = stack.enter_context(at.connect())
    ask(client, "/held")
    with at.connect() as later:
        # Connections are accepted one by one: the held one was read before this one is answered.
        ask(later)
        assert answer(later)[1] == b"answered"
    return client


@pytest.mark.parametrize(
    ("given", "level", "message"),
    [({}, logging.WARNING, WARNED), ({"api_trusted_proxy": True}, logging.WARNING, TRUSTED), (ISSUER, 20, TOKENS)],
)
def test_it_says_whom_it_serves(
    given: dict[str, Any], level: int, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, serving.__name__)
    with running(**given) as at:
        pass
    (said,) = [record for record in caplog.records if "serving" in record.message]
    assert (said.levelno, said.message) == (level, message)
    assert vars(said)["port"] == at.port


def test_no_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A path has the id of a user."""
    caplog.set_level(logging.DEBUG)
    with running() as at, at.connect() as client:
        ask(client, "/user-limits/u-secret")
        assert answer(client)[0].status == 200
    assert "u-secret" not in caplog.text


def test_an_address_in_use_is_one_line_that_names_the_setting() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        address = f"{LOOPBACK}:{taken.getsockname()[1]}"
        with pytest.raises(SettingsError) as refused:
            serve(settings(api_address=address), Response(), lambda _: True)
    (line,) = refused.value.problems
    assert line.startswith(f"CONSUMER_API_ADDRESS: cannot listen on {address}: Address already in use")


def test_the_bounds_are_those_of_the_settings() -> None:
    given = settings(
        api_max_connections=7, api_max_header_bytes=2_048, api_request_seconds=20, api_keep_alive_seconds=3
    )
    assert bounds_of(given) == Bounds(connections=7, head_bytes=2_048, seconds=20 + 2 * SECONDS, idle_seconds=3)


def test_a_stop_answers_the_requests_under_way() -> None:
    with running() as at, ExitStack() as stack:
        client = held(at, stack)
        at.stop()
        until(lambda: not accepts(LOOPBACK, at.port), "new connections to be refused")
        assert at.code is None
        at.release.set()
        assert answer(client)[1] == b"answered"
        until(lambda: at.code is not None, "the end")
    assert at.code == 0


def test_a_second_stop_does_not_wait_for_them() -> None:
    with running() as at, ExitStack() as stack:
        client = held(at, stack)
        at.stop()
        until(lambda: not accepts(LOOPBACK, at.port), "new connections to be refused")
        at.stop()
        until(lambda: at.code is not None, "the end")
        assert at.code == 1
        client.setblocking(False)
        with pytest.raises(BlockingIOError):  # only the exit of the process closes the connection
            client.recv(1)


def test_a_stop_without_requests_ends_at_once_although_connections_are_open() -> None:
    with running() as at, at.connect() as silent, at.connect() as waiting:
        ask(waiting)
        assert answer(waiting)[1] == b"answered"
        at.stop()
        until(lambda: at.code is not None, "the end")
        assert silent.recv(1) == waiting.recv(1) == b""
    assert at.code == 0


def test_a_head_that_is_too_long_is_refused() -> None:
    with running(api_max_header_bytes=1_024) as at, at.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nA: ".ljust(1_025, b"x"))
        response, body = answer(client)
    assert (response.status, response.getheader("content-type")) == (431, "application/problem+json")
    assert b"Request Header Fields Too Large" in body


def test_a_client_that_asks_is_answered_among_many_that_do_not() -> None:
    with running(api_max_connections=16) as at, slow_clients(at.port, 160):
        for _ in range(40):
            with at.connect() as client:
                ask(client)
                assert answer(client)[1] == b"answered"
