"""A small HTTP server for machines: GET and HEAD, one answer a connection, one thread whoever calls.

A whole exchange has five seconds and there are at most 32 at once: slow clients cannot pile up, and cannot keep the
others out for long.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from consumer.engine.errors import SettingsError
from consumer.settings import variable

SECONDS = 5.0
CONNECTIONS = 32
_HEAD_BYTES = 16_384
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


class Server:
    """Answers on `listener` until `stop`. `answer` runs on the server's thread."""

    def __init__(self, listener: socket.socket, answer: Callable[[Request], Response]) -> None:
        self._listener = listener
        self._answer = answer
        self._open: set[asyncio.StreamWriter] = set()
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
        server = await asyncio.start_server(self._connected, sock=self._listener, limit=_HEAD_BYTES)
        await self._stopped.wait()
        server.close()
        # Cut off rather than cancelled: Python 3.11 logs a stream's cancelled task as an error.
        while self._open:
            for writer in self._open:
                writer.transport.abort()
            await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if len(self._open) <= CONNECTIONS:
                await asyncio.wait_for(self._exchange(reader, writer), SECONDS)
        except (TimeoutError, OSError, EOFError, asyncio.LimitOverrunError):
            # Too slow, gone, or not talking HTTP: nobody is there to be told.
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(self._reply(head))
        writer.close()
        await writer.wait_closed()

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
    """A listener on `HOST:PORT` or `[IPV6]:PORT`; port 0 takes a free one. Raises SettingsError when it cannot."""
    host, _, port = address.rpartition(":")
    try:
        if int(port) > 65_535:
            raise OverflowError("a port is at most 65535")  # noqa: TRY301 - told like all that can be wrong here
        family, *_, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family, backlog=CONNECTIONS)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError([f"{variable('metrics_address')}: cannot listen on {address}: {reason}"]) from None
