"""A server for machines: one answer a connection, and nobody can hold it up."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus

import pytest

from consumer.engine.errors import SettingsError
from consumer.worker import server as serving
from consumer.worker.server import Request, Response, Server, listen, parse
from tests.support.waiting import until


def echo(request: Request) -> Response:
    if request.path == "/broken":
        raise RuntimeError("why")
    return Response(HTTPStatus.OK, f"{request.path} {request.headers.get('accept')}".encode())


@pytest.fixture(params=["127.0.0.1:0", "[::1]:0"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(request.param) as server:
        yield server


class running:  # noqa: N801 - read as a sentence
    def __init__(self, address: str = "127.0.0.1:0") -> None:
        self._listener = listen(address)
        self._server = Server(self._listener, echo)

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


def read(client: socket.socket) -> str:
    answer = b""
    while part := client.recv(65_536):
        answer += part
    return answer.decode()


def test_a_get_is_answered_with_path_and_headers(server: Server) -> None:
    answer = ask(server, "GET /metrics?name=x HTTP/1.1\nAccept: text/plain\n\n")
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert answer.endswith("\r\n\r\n/metrics text/plain")


def test_a_head_gets_the_length_and_no_body(server: Server) -> None:
    answer = ask(server, "HEAD /livez HTTP/1.1\n\n")
    assert "Content-Length: 11\r\n" in answer
    assert answer.endswith("\r\n\r\n")


def cut_off(client: socket.socket) -> bool:
    """Whether the server ends the connection without a word."""
    try:
        return not read(client)
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /metrics HTTP/1.1\n\n", "405 Method Not Allowed"),
        ("nonsense\n\n", "400 Bad Request"),
        ("GET / SPDY/9\n\n", "400 Bad Request"),
        ("GET /broken HTTP/1.1\n\n", "500 Internal Server Error"),
    ],
)
def test_other_requests_are_told_off(head: str, status: str) -> None:
    with running() as server:
        assert ask(server, head).startswith(f"HTTP/1.1 {status}\r\n")


def test_a_head_without_an_end_is_cut_off() -> None:
    with running() as server, connect(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + b"x" * 100_000)
        assert cut_off(client)


def test_a_slow_client_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SECONDS", 0.05)
    with running() as server, connect(server) as client:
        client.sendall(b"GET / HT")
        assert cut_off(client)


def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SECONDS", 0.05)
    flood = Server(listen("127.0.0.1:0"), lambda _: Response(HTTPStatus.OK, b"x" * 50_000_000))
    flood.start()
    with connect(flood) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert len(client.recv(1)) == 1
        until(lambda: not flood._open, "the connection to be closed")
    flood.stop()


def test_more_clients_than_allowed_are_turned_away_and_the_rest_is_served() -> None:
    with running() as server, ExitStack() as crowd:
        for _ in range(serving.CONNECTIONS):
            crowd.enter_context(connect(server)).sendall(b"GET / HT")
        until(lambda: len(server._open) == serving.CONNECTIONS, "the crowd to be let in")
        with connect(server) as client:
            assert cut_off(client)
        crowd.close()
        until(lambda: not server._open, "the crowd to be gone")
        assert ask(server, "GET /back HTTP/1.1\n\n").endswith("/back None")


def test_stopping_closes_open_connections() -> None:
    with running() as server:
        client = connect(server)
        client.sendall(b"GET / HT")
        until(lambda: server._open, "the connection")
    with client:
        assert cut_off(client)


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "no.such.host.invalid:0"])
def test_an_address_that_cannot_be_had_is_one_line(address: str) -> None:
    with pytest.raises(SettingsError) as refused:
        listen(address)
    (line,) = refused.value.problems
    assert line.startswith(f"CONSUMER_METRICS_ADDRESS: cannot listen on {address}: ")


def test_an_occupied_port_is_one_line() -> None:
    with listen("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingsError, match="Address already in use"):
            listen(address)


def test_header_names_come_in_lower_case() -> None:
    assert parse(b"GET /x HTTP/1.1\r\nAccept-Encoding:  gzip \r\n\r\n") == Request(
        "GET", "/x", {"accept-encoding": "gzip"}
    )
