"""Clients of an HTTP server: frequent scrapers, and slow or silent connections."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import cycle, islice
from typing import Self

from tests.support.driven.background import background
from tests.support.driven.processes import LOOPBACK

SILENT, HALF, WHOLE = b"", b"GET /metrics HTTP/1.1\r\nHos", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
"""What a slow client sends. None of them ever reads a response."""
CHECK_SECONDS = 0.1
SCRAPERS = 4
"""They take turns, so a scraper that waits for its response does not delay the next scrape."""


@dataclass
class Scrapes:
    answered: int = 0
    failed: int = 0
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def count(self, *, answered: bool) -> None:
        with self._counting:
            self.answered += answered
            self.failed += not answered


@contextmanager
def scraping(port: int, rate: float) -> Iterator[Scrapes]:
    """Scrapes /metrics in the background, `rate` times per second, each time over a new connection."""
    scrapes = Scrapes()

    def run(over: threading.Event) -> None:
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            due = max(due + SCRAPERS / rate, time.monotonic() - 1)  # catch up on at most one second
            scrapes.count(answered=answers(port))

    with ExitStack() as scrapers:
        for number in range(SCRAPERS):
            scrapers.enter_context(background(run, f"scraper {number}"))
        yield scrapes


def answers(port: int) -> bool:
    """Whether /metrics is served completely."""
    with closing(HTTPConnection(LOOPBACK, port, timeout=30)) as connection:
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            return response.status == 200 and bool(response.read())
        except (OSError, HTTPException):
            return False


@contextmanager
def slow_clients(port: int, count: int) -> Iterator[None]:
    """Keeps `count` connections open that make no progress. One that the server closes is opened again."""
    with ExitStack() as stack:
        clients = [stack.enter_context(SlowClient(port, sent)) for sent in islice(cycle((SILENT, HALF, WHOLE)), count)]

        def run(over: threading.Event) -> None:
            while not over.wait(CHECK_SECONDS):
                for client in clients:
                    client.reconnect()

        with background(run, "slow clients"):
            yield


class SlowClient:
    """A connection on which `sent` is written and nothing is read."""

    def __init__(self, port: int, sent: bytes) -> None:
        self._port = port
        self._sent = sent
        self._connection = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def reconnect(self) -> None:
        """Opens the connection again if the server has closed it."""
        if self._is_closed():
            self._connection.close()
            self._connection = self._open()

    def _open(self) -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        connection.settimeout(5)
        with suppress(OSError):
            connection.connect((LOOPBACK, self._port))
            connection.sendall(self._sent)
        return connection

    def _is_closed(self) -> bool:
        try:
            return not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
