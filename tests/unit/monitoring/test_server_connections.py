"""A server whose connections carry several requests, and how it drains."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Self

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from consumer.monitoring.server import PROBES, Bounds, Server, listen
from tests.support.driven.connections import accepts, answer, cut_off, read
from tests.support.driven.waiting import until

REUSED = replace(PROBES, seconds=60.0, idle_seconds=60)
LARGE = Response(b"x" * 50_000_000)
"""A response that no kernel takes whole for a client that does not read."""


def held(release: threading.Event) -> Starlette:
    """Answers with the path: /held only when `release` is set, every other one at once."""

    async def respond(request: Request) -> Response:
        while request.url.path == "/held" and not release.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.01)
        return Response(request.url.path)

    return Starlette(routes=[Route("/{path:path}", respond)])


@contextmanager
def running(bounds: Bounds = REUSED, served: ASGIApp | None = None) -> Iterator[Server]:
    server = Server(listen("127.0.0.1:0"), served or held(threading.Event()), bounds)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def request(path: str, *headers: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: x", *headers, "", "")).encode()


def ask(client: socket.socket, path: str) -> bytes:
    """The body of the response; the connection is used for further requests."""
    client.sendall(request(path))
    response, body = answer(client)
    assert (response.status, response.getheader("connection")) == (200, None)
    return body


def until_busy(server: Server) -> None:
    """Waits until a request is under way."""
    until(
        lambda: any(each.exchange and not each.exchange.response_complete for each in list(server.open)), "the request"
    )


def test_a_connection_carries_several_requests() -> None:
    with running() as server, connect(server) as client:
        assert [ask(client, path) for path in ("/one", "/two", "/three")] == [b"/one", b"/two", b"/three"]
        assert len(server.open) == 1


def test_every_response_has_a_date() -> None:
    with running() as server, connect(server) as client:
        client.sendall(request("/"))
        response, _ = answer(client)
        assert parsedate_to_datetime(response.getheader("date") or "").tzinfo


@pytest.mark.parametrize("asked", [request("/", "Connection: close"), b"GET / HTTP/1.0\r\n\r\n"], ids=["new", "old"])
def test_a_client_can_end_a_connection_with_its_request(asked: bytes) -> None:
    with running() as server, connect(server) as client:
        client.sendall(asked)
        assert read(client).startswith("HTTP/1.1 200 OK\r\n")


def test_a_request_with_a_body_is_the_last_of_its_connection() -> None:
    """Nothing reads the body, so its sender cannot keep the connection busy."""
    with running() as server, connect(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        answered = read(client)
    assert answered.startswith("HTTP/1.1 405 ")
    assert "\r\nconnection: close\r\n" in answered


@pytest.mark.parametrize("together", [True, False])
def test_a_request_that_does_not_wait_for_the_response_before_it_is_not_read(together: bool) -> None:
    release = threading.Event()
    with running(served=held(release)) as server, connect(server) as client:
        client.sendall(request("/held") + request("/next") * together)
        until_busy(server)
        if not together:
            client.sendall(request("/next"))
        until(lambda: not any(each.cycle.keep_alive for each in list(server.open)), "the next request to be ignored")
        release.set()
        answered = read(client)
    assert answered.endswith("\r\n\r\n/held")
    assert answered.count("HTTP/1.1 200 OK") == answered.count("connection: close") == 1


def test_a_connection_without_a_request_is_closed_after_a_while() -> None:
    with running(replace(REUSED, idle_seconds=1)) as server, connect(server) as client:
        ask(client, "/")
        assert client.recv(1) == b""


def test_a_waiting_connection_outlives_the_deadline_of_its_last_request() -> None:
    with running(replace(REUSED, seconds=1.0)) as server, connect(server) as client:
        ask(client, "/")
        (connection,) = server.open
        until(lambda: connection._deadline.when() + 0.1 < server.loop.time(), "the deadline to pass")
        assert ask(client, "/again") == b"/again"


def test_a_slow_second_request_is_cut_off() -> None:
    with running(replace(REUSED, seconds=1.0)) as server, connect(server) as client:
        ask(client, "/")
        client.sendall(b"GET / HT")
        assert cut_off(client)


def test_the_head_of_a_second_request_is_bounded_too() -> None:
    with running() as server, connect(server) as client:
        ask(client, "/")
        client.sendall(b"GET / HTTP/1.1\r\nA: ".ljust(REUSED.head_bytes + 1, b"x"))
        assert answer(client)[0].status == 431


def test_waiting_connections_make_room_before_busy_ones() -> None:
    release = threading.Event()
    with running(replace(REUSED, connections=3), held(release)) as server, ExitStack() as stack:
        busy = stack.enter_context(connect(server))
        busy.sendall(request("/held"))
        until_busy(server)
        waiting = [stack.enter_context(connect(server)) for _ in range(2)]
        assert [ask(client, "/") for client in waiting] == [b"/", b"/"]
        assert ask(stack.enter_context(connect(server)), "/more") == b"/more"
        assert cut_off(waiting[0])
        assert ask(waiting[1], "/") == b"/"
        release.set()
        assert answer(busy)[1] == b"/held"


# --- Draining ------------------------------------------------------------------------------------------------------


class draining:  # noqa: N801 - read as a sentence
    """A server with a request under way, and a connection that waits for its next request."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.server = Server(listen("127.0.0.1:0"), held(self.release), REUSED)
        self.port = self.server.port
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.server.start()
        self.busy, self.waiting = (self._stack.enter_context(connect(self.server)) for _ in range(2))
        self.busy.sendall(request("/held"))
        assert ask(self.waiting, "/") == b"/"
        until_busy(self.server)
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.server.stop()
        self._stack.close()


def test_draining_answers_requests_under_way_and_refuses_connections() -> None:
    with draining() as at:
        at.server.drain()
        assert at.waiting.recv(1) == b"", "a connection without a request is closed at once"
        assert not accepts("127.0.0.1", at.port)
        assert not at.server.join(0.0)
        at.release.set()
        response, body = answer(at.busy)
        assert (response.status, body, response.getheader("connection")) == (200, b"/held", "close")
        assert at.busy.recv(1) == b""
        assert at.server.join(30.0)


def test_draining_answers_clients_that_only_the_kernel_has_accepted() -> None:
    with draining() as at, ExitStack() as stack:
        clients: list[socket.socket] = []

        def stop_with_a_queue() -> None:
            # On the server's thread, which therefore accepts none of them before it stops.
            clients.extend(stack.enter_context(connect(at.server)) for _ in range(5))
            for client in clients:
                client.sendall(request("/queued"))
            at.server.drain()
            at.server._stopped.set()

        at.server.loop.call_soon_threadsafe(stop_with_a_queue)
        until(lambda: len(clients) == 5, "the queue")
        assert [read(client).rpartition("\r\n")[2] for client in clients] == ["/queued"] * 5
        assert not at.server.join(0.0), "the held request is still under way"


def test_a_request_that_is_not_complete_is_not_waited_for() -> None:
    with draining() as at, connect(at.server) as client:
        client.sendall(b"GET / HT")
        until(lambda: len(at.server.open) == 3, "the connection")
        at.server.drain()
        assert cut_off(client)


def test_draining_ends_with_the_deadline_of_the_requests() -> None:
    server = Server(listen("127.0.0.1:0"), LARGE, replace(REUSED, seconds=0.5))
    server.start()
    with connect(server) as client:
        client.sendall(request("/"))
        assert len(client.recv(1)) == 1  # and it reads no more
        server.drain()
        assert server.join(30.0)


def test_stopping_ends_a_drain() -> None:
    with draining() as at:
        at.server.drain()
        assert at.waiting.recv(1) == b""
        at.server.stop()
        assert cut_off(at.busy)


def test_a_server_that_has_ended_can_be_stopped_again() -> None:
    with draining() as at:
        at.release.set()
        at.server.drain()
        assert at.server.join(30.0)
        at.server.stop()
