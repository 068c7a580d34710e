"""A tunnel forwards bytes unless it is stopped, cut or slowed down."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from tests.support.driven.processes import LOOPBACK
from tests.support.faults.tunnel import Tunnel, tunnel


def echo(connection: socket.socket) -> None:
    with connection, suppress(ConnectionError):
        while data := connection.recv(65_536):
            connection.sendall(data)


def serve(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=echo, args=(connection,)).start()


@pytest.fixture
def line() -> Iterator[Tunnel]:
    """A tunnel to an echo server."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with tunnel(f"http://{LOOPBACK}:{listener.getsockname()[1]}") as opened:
            yield opened
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def connect(line: Tunnel, timeout: float = 10.0) -> socket.socket:
    return socket.create_connection((LOOPBACK, int(urlsplit(line.endpoint).port or 0)), timeout=timeout)


def say(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    heard = b""
    while len(heard) < len(text):
        heard += connection.recv(65_536)
    return heard


def closed(connection: socket.socket) -> bool:
    """Waits for data and returns whether the connection is closed instead."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def refuses(line: Tunnel) -> bool:
    """Whether a new connection is reset, while connecting or right after."""
    try:
        with connect(line) as newcomer:
            return closed(newcomer)
    except ConnectionResetError:
        return True


def test_bytes_pass_both_ways(line: Tunnel) -> None:
    text = bytes(range(256)) * 2_000
    with connect(line) as one, connect(line) as two:
        assert say(one, text) == text
        assert say(two, b"short") == b"short"
    assert (line.accepted, line.passed) == (2, 2 * (len(text) + 5))


def test_a_stopped_line_passes_nothing_and_loses_nothing(line: Tunnel) -> None:
    with connect(line, timeout=0.5) as connection:
        assert say(connection, b"before") == b"before"
        line.stop()
        connection.sendall(b"meanwhile")
        with pytest.raises(TimeoutError):
            connection.recv(1)
        with connect(line) as newcomer:
            line.heal()
            connection.settimeout(10)
            assert connection.recv(100) == b"meanwhile"
            assert say(newcomer, b"after") == b"after"


def test_a_cut_line_resets_open_connections_and_new_ones(line: Tunnel) -> None:
    with connect(line) as connection:
        assert say(connection, b"before") == b"before"
        line.cut()
        assert closed(connection)
    assert refuses(line)
    line.heal()
    with connect(line) as again:
        assert say(again, b"after") == b"after"


def test_a_slow_line_delays_both_directions(line: Tunnel) -> None:
    with connect(line) as connection:
        line.slow(0.2)
        start = time.monotonic()
        assert say(connection, b"slow") == b"slow"
        assert time.monotonic() - start >= 0.4
        line.heal()


def test_it_ends_with_connections_open(line: Tunnel) -> None:
    with connect(line) as connection:
        assert say(connection, b"before") == b"before"
        line.stop()
        connection.sendall(b"on its way")
        line.end()
        assert closed(connection)
