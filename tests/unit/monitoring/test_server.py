"""A server for machines: one answer a connection, and nobody can hold it up."""

import json
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from consumer.engine.errors import SettingsError
from consumer.monitoring import server as serving
from consumer.monitoring.server import PROBES, Bounds, Server, listen
from tests.support.driven.connections import accepts, cut_off, read
from tests.support.driven.waiting import until


async def echo(request: Request) -> Response:
    if request.url.path == "/broken":
        raise RuntimeError("why")
    return Response(f"{request.url.path} {request.headers.get('accept')}")


def app(respond: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    return Starlette(routes=[Route("/{path:path}", respond)])


@pytest.fixture(params=["127.0.0.1:0", "[::1]:0"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(request.param) as server:
        yield server


class running:  # noqa: N801 - read as a sentence
    def __init__(self, address: str = "127.0.0.1:0", bounds: Bounds = PROBES, served: ASGIApp | None = None) -> None:
        self._listener = listen(address)
        self._server = Server(self._listener, served or app(echo), bounds)

    def __enter__(self) -> Server:
        self._server.start()
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.stop()


def connect(server: Server) -> socket.socket:
    for host in ("127.0.0.1", "::1"):
        try:
            return socket.create_connection((host, server.port), timeout=30)
        except ConnectionRefusedError:
            continue
    raise AssertionError("nobody listens")


def ask(server: Server, head: str) -> str:
    with connect(server) as client:
        client.sendall(head.replace("\n", "\r\n").encode())
        return read(client)


def test_a_get_is_answered_with_path_and_headers(server: Server) -> None:
    answer = ask(server, "GET /metrics?name=x HTTP/1.1\nHost: x\nAccept: text/plain\n\n")
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert answer.endswith("\r\n\r\n/metrics text/plain")


def test_a_head_gets_the_length_and_no_body(server: Server) -> None:
    answer = ask(server, "HEAD /livez HTTP/1.1\nHost: x\n\n")
    assert "content-length: 11\r\n" in answer
    assert answer.endswith("\r\n\r\n")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /metrics HTTP/1.1\nHost: x\n\n", "405 Method Not Allowed"),
        ("nonsense\n\n", "400 Bad Request"),
        ("GET / SPDY/9\n\n", "400 Bad Request"),
        ("GET /broken HTTP/1.1\nHost: x\n\n", "500 Internal Server Error"),
    ],
)
def test_other_requests_are_told_off(head: str, status: str) -> None:
    with running() as server:
        assert ask(server, head).startswith(f"HTTP/1.1 {status}\r\n")


HASTE = replace(PROBES, seconds=0.05)
HEAD = b"GET /whole HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("parts", [1, 2, 7])
@pytest.mark.parametrize(("excess", "status"), [(0, "200 OK"), (1, "431 Request Header Fields Too Large")])
def test_a_head_may_have_so_many_bytes_and_no_more(parts: int, excess: int, status: str) -> None:
    filled = HEAD + b"A: " + b"x" * (PROBES.head_bytes + excess - len(HEAD) - 7) + b"\r\n\r\n"
    assert len(filled) == PROBES.head_bytes + excess
    with running() as server, connect(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in range(parts):
            client.sendall(filled[part * len(filled) // parts : (part + 1) * len(filled) // parts])
        assert read(client).startswith(f"HTTP/1.1 {status}\r\n")


def test_a_head_without_an_end_is_not_read_to_its_end() -> None:
    with running() as server, connect(server) as client, suppress(ConnectionError):
        while True:  # until the server has closed the connection
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x" * 100_000)


def test_what_is_no_request_gets_problem_details() -> None:
    with running() as server:
        head, _, body = ask(server, "nonsense\n\n").partition("\r\n\r\n")
    assert "\r\ncontent-type: application/problem+json\r\n" in head
    assert head.endswith("\r\nconnection: close")
    assert json.loads(body) == {"type": "about:blank", "title": "Bad Request", "status": 400}


@pytest.mark.parametrize("said", [b"", b"GET / HT"], ids=["silent", "slow"])
def test_a_client_that_sends_no_whole_request_is_cut_off(said: bytes) -> None:
    with running(bounds=HASTE) as server, connect(server) as client:
        client.sendall(said)
        assert cut_off(client)


def test_a_client_that_does_not_read_is_cut_off() -> None:
    with running(bounds=HASTE, served=Response(b"x" * 50_000_000)) as flood, connect(flood) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert len(client.recv(1)) == 1
        until(lambda: not flood.open, "the connection to be closed")


def test_more_clients_than_allowed_are_turned_away_and_the_rest_is_served() -> None:
    with running() as server, ExitStack() as crowd:
        for _ in range(serving.CONNECTIONS):
            crowd.enter_context(connect(server)).sendall(b"GET / HT")
        until(lambda: len(server.open) == serving.CONNECTIONS, "the crowd to be let in")
        with connect(server) as client:
            assert cut_off(client)
        crowd.close()
        until(lambda: not server.open, "the crowd to be gone")
        assert ask(server, "GET /back HTTP/1.1\nHost: x\n\n").endswith("/back None")


SILENT, HALF, WHOLE = b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CROWD = 300
ENOUGH = b"x" * 6_000_000
"""An answer that no kernel takes whole for a client that does not read."""


def crowd_of(server: Server, stack: ExitStack, said: bytes, count: int = CROWD) -> list[socket.socket]:
    """So many connections, each with so much said on it; the server may cut off any of them."""
    clients = [stack.enter_context(connect(server)) for _ in range(count)]
    for client in clients:
        with suppress(OSError):
            client.sendall(said)
    return clients


async def large_for_all_but_probes(request: Request) -> Response:
    return Response(b"lives" if request.url.path == "/livez" else ENOUGH)


@pytest.mark.parametrize("said", [SILENT, HALF, WHOLE])
def test_whoever_asks_is_answered_however_many_do_not_or_do_not_read(said: bytes) -> None:
    crowded = Server(listen("127.0.0.1:0"), app(large_for_all_but_probes))
    crowded.start()
    with ExitStack() as stack:
        for _ in range(5):
            crowd_of(crowded, stack, said, CROWD // 5)
            assert ask(crowded, "GET /livez HTTP/1.1\nHost: x\n\n").endswith("lives")
            until(lambda: len(crowded.open) <= serving.CONNECTIONS, "the others to be cut off")
    crowded.stop()


def test_whoever_asks_is_answered_among_those_who_dribble() -> None:
    with running() as server, ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(CROWD)]
        for letter in b"GET / HTTP/1.1\r\nHost: x\r\nA: ":
            for client in clients:
                with suppress(OSError):
                    client.sendall(bytes([letter]))
            assert ask(server, "GET /livez HTTP/1.1\nHost: x\n\n").endswith("/livez None")


def test_whoever_asks_is_answered_when_more_come_than_the_kernel_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "BACKLOG", 8)
    with running() as server, ExitStack() as stack:
        for _ in range(CROWD):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", server.port))
        assert ask(server, "GET /livez HTTP/1.1\nHost: x\n\n").endswith("/livez None")


def test_the_oldest_that_has_not_asked_makes_room() -> None:
    with running() as server, ExitStack() as stack:
        oldest, *others = crowd_of(server, stack, HALF, serving.CONNECTIONS)
        until(lambda: len(server.open) == serving.CONNECTIONS, "the crowd to be let in")
        newest = stack.enter_context(connect(server))
        assert cut_off(oldest)
        for client in (*others, newest):
            client.sendall(b" X\r\n\r\n" if client is newest else b"TP/1.1\r\nHost: x\r\n\r\n")
        assert all(read(client).startswith("HTTP/1.1 200 OK") for client in others)
        assert read(newest).startswith("HTTP/1.1 400 Bad Request")


def test_clients_of_other_machines_make_room_before_those_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_is_local", lambda address: address == "127.0.0.1")
    with running() as server, ExitStack() as stack:
        (own,) = crowd_of(server, stack, HALF, 1)
        for _ in range(CROWD):
            stack.enter_context(
                socket.create_connection(("127.0.0.1", server.port), timeout=30, source_address=("127.0.0.2", 0))
            )
        until(lambda: len(server.open) == serving.CONNECTIONS, "the crowd to be let in")
        own.sendall(b"TP/1.1\r\nHost: x\r\n\r\n")
        assert read(own).startswith("HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("address", "is_local"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False), ("::ffff:10.0.0.1", False)],
)
def test_a_client_of_this_machine_is_known_by_its_address(address: str, is_local: bool) -> None:
    assert serving._is_local(address) == is_local


SCARCE = """
import resource, sys
from pathlib import Path
from starlette.responses import Response
from consumer.monitoring.server import Server, listen

async def app(scope, receive, send):
    content = Path(__file__ if "__file__" in globals() else "/dev/null").read_bytes() + b"lives"
    await Response(content)(scope, receive, send)

listener = listen("127.0.0.1:0")
server = Server(listener, app)
resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
server.start()
print(server.port, flush=True)
sys.stdin.read()
server.stop()
"""


def test_whoever_asks_is_answered_when_file_descriptors_run_out() -> None:
    """To answer takes one as well."""
    process = subprocess.Popen([sys.executable, "-c", SCARCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process, ExitStack() as stack:
        assert process.stdin
        assert process.stdout
        place = ("127.0.0.1", int(process.stdout.readline()))
        for _ in range(5):
            for _ in range(CROWD // 5):
                stack.enter_context(socket.create_connection(place, timeout=30))
            with socket.create_connection(place, timeout=30) as client:
                client.sendall(WHOLE)
                assert read(client).endswith("lives")
        process.stdin.close()
        assert process.wait(30) == 0


def test_stopping_closes_open_connections() -> None:
    with running() as server:
        client = connect(server)
        client.sendall(b"GET / HT")
        until(lambda: server.open, "the connection")
    with client:
        assert cut_off(client)


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "no.such.host.invalid:0"])
def test_an_address_that_cannot_be_had_is_one_line(address: str) -> None:
    with pytest.raises(SettingsError) as refused:
        listen(address)
    (line,) = refused.value.problems
    assert line.startswith(f"CONSUMER_METRICS_ADDRESS: cannot listen on {address}: ")


@pytest.mark.parametrize(
    ("address", "answering"),
    [
        ("[::]:0", {"127.0.0.1", "::1"}),
        ("[0:0:0:0:0:0:0:0]:0", {"127.0.0.1", "::1"}),
        ("0.0.0.0:0", {"127.0.0.1"}),
        ("[::1]:0", {"::1"}),
    ],
)
def test_all_addresses_of_ipv6_are_those_of_ipv4_too(address: str, answering: set[str]) -> None:
    with running(address) as server:
        assert {host for host in ("127.0.0.1", "::1") if accepts(host, server.port)} == answering


def test_without_ipv6_the_line_says_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with pytest.raises(SettingsError) as refused:
        listen("[::]:9464")
    assert refused.value.problems == [
        "CONSUMER_METRICS_ADDRESS: cannot listen on [::]:9464: this machine has no IPv6: use 0.0.0.0:9464"
    ]


def test_an_occupied_port_is_one_line() -> None:
    with listen("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingsError, match="Address already in use"):
            listen(address)


def test_only_the_first_request_of_a_connection_is_answered(server: Server) -> None:
    answer = ask(server, 2 * "GET /once HTTP/1.1\nHost: x\n\n")
    assert answer.count("HTTP/1.1 200 OK\r\n") == 1
    assert "\r\nconnection: close\r\n" in answer


def test_a_client_that_sends_nonsense_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with running() as server:
        ask(server, "nonsense\n\n")
        ask(server, "GET /broken HTTP/1.1\nHost: x\n\n")
    assert not caplog.records
