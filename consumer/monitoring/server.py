"""A small HTTP server for machines: GET and HEAD, one answer a connection, one thread however many clients.

An exchange has five seconds, and there are at most 32 at once. When there are more, the oldest client that has not sent
a whole request is cut off, not the newest refused: silent clients cannot keep out one that asks. Clients of other
machines are cut off before those of this one, so that a container's own check is served.
"""

import asyncio
import errno
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address

from consumer.engine.errors import SettingsError
from consumer.settings import is_loopback, variable

SECONDS = 5.0
CONNECTIONS = 32
BACKLOG = 1_024
"""Connections that the kernel keeps until they are accepted: a burst of a scanner's is not refused."""
SPARED = 8
"""File descriptors that are left free when they have run out: answering takes some as well."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_REST_SECONDS = 0.05
_HEAD_BYTES = 16_384
_HEAD_END = b"\r\n\r\n"
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Request:
    """`path` without the query; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    status: HTTPStatus
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: _TEXT)


@dataclass(slots=True)
class Client:
    """A connection. `asked`: it has sent a whole request."""

    socket: socket.socket
    is_local: bool
    asked: bool = False

    def may_ask(self) -> bool:
        """Whether it has sent a whole request, or something that is not yet read."""
        if self.asked:
            return True
        with suppress(OSError):
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        return False


class Server:
    """Answers on `listener` until `stop`. `answer` runs on the server's thread."""

    def __init__(self, listener: socket.socket, answer: Callable[[Request], Response]) -> None:
        self._listener = listener
        self._answer = answer
        self._open: dict[asyncio.Task[None], Client] = {}
        """The oldest first."""
        self._most = CONNECTIONS
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Closes the listener and every connection."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._listener.setblocking(False)
        self._listen()
        await self._stopped.wait()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _listen(self) -> None:
        # One client for each round of the loop: those who are let in are read before the next ones.
        if not self._stopped.is_set():
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            connection, (address, *_) = self._listener.accept()
        except OSError as error:
            self._not_accepted(error)
            return
        connection.setblocking(False)
        self._make_room(1)
        client = Client(connection, _is_local(address))
        task = self._loop.create_task(self._exchange(client))
        self._open[task] = client
        task.add_done_callback(self._close)

    def _close(self, task: asyncio.Task[None]) -> None:
        # Here, as a task that is cancelled before its first step does nothing.
        self._open.pop(task).socket.close()

    def _not_accepted(self, error: OSError) -> None:
        if error.errno in _EXHAUSTED:
            self._most = max(1, len(self._open) - SPARED)
            self._make_room(0)
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_REST_SECONDS, self._listen)

    def _make_room(self, wanted: int) -> None:
        """Cuts off as many as are too many: of other machines first, then who has not asked, then the oldest."""
        left = {task: client for task, client in self._open.items() if not task.cancelling()}
        excess = len(left) + wanted - self._most
        if excess > 0:
            ranked = sorted(left, key=lambda task: (left[task].is_local, left[task].may_ask()))
            for task in ranked[:excess]:
                task.cancel()

    async def _exchange(self, client: Client) -> None:
        # Whoever is too slow, gone, or not talking HTTP is cut off: nobody is there to be told.
        with suppress(TimeoutError, OSError, EOFError):
            async with asyncio.timeout(SECONDS):
                head = await self._head(client.socket)
                client.asked = True
                await self._loop.sock_sendall(client.socket, self._reply(head))

    async def _head(self, connection: socket.socket) -> bytes:
        """The request up to its blank line. Raises EOFError when there is none, or none within the bytes allowed."""
        head = b""
        while _HEAD_END not in head:
            part = await self._loop.sock_recv(connection, 4_096)
            head += part
            if not part or len(head) > _HEAD_BYTES:
                raise EOFError
        return head.partition(_HEAD_END)[0] + _HEAD_END

    def _reply(self, head: bytes) -> bytes:
        request = parse(head)
        response = self._answered(request) if request else _plain(HTTPStatus.BAD_REQUEST)
        return serialize(response, body=request is None or request.method != "HEAD")

    def _answered(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET, HEAD")
        try:
            return self._answer(request)
        except Exception as error:  # noqa: BLE001 - one bad answer must not end the server; the client is told
            return Response(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}\n".encode())


def _is_local(address: str) -> bool:
    """Whether a client is on this machine; an IPv6 socket has IPv4 addresses as `::ffff:127.0.0.1`."""
    return is_loopback(address.removeprefix("::ffff:"))


def _plain(status: HTTPStatus, **headers: str) -> Response:
    return Response(status, f"{status.phrase}\n".encode(), _TEXT | headers)


def not_found() -> Response:
    return _plain(HTTPStatus.NOT_FOUND)


def parse(head: bytes) -> Request | None:
    """The request of a head that ends with a blank line, None when it is no HTTP/1 request."""
    first, *lines = head.decode("latin-1").split("\r\n")
    match first.split(" "):
        case [method, target, version] if version.startswith("HTTP/1."):
            pairs = (line.partition(":") for line in lines if line)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            return Request(method, target.partition("?")[0], headers)
    return None


def serialize(response: Response, *, body: bool) -> bytes:
    headers = {**response.headers, "Content-Length": str(len(response.body)), "Connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    status = f"HTTP/1.1 {response.status.value} {response.status.phrase}\r\n"
    return f"{status}{lines}\r\n".encode("latin-1") + (response.body if body else b"")


def listen(address: str) -> socket.socket:
    """A listener on `HOST:PORT` or `[IPV6]:PORT`; port 0 takes a free one; `[::]` answers on IPv4 as well.

    Raises SettingsError when it cannot.
    """
    host, _, port = address.rpartition(":")
    try:
        if int(port) > 65_535:
            raise OverflowError("a port is at most 65535")  # noqa: TRY301 - told like all that can be wrong here
        family, *_, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        both = family is socket.AF_INET6 and ip_address(place[0]).is_unspecified
        if both and not socket.has_dualstack_ipv6():
            raise OSError(f"this machine has no IPv6: use 0.0.0.0:{port}")  # noqa: TRY301
        return socket.create_server(place[:2], family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError([f"{variable('metrics_address')}: cannot listen on {address}: {reason}"]) from None
