"""HTTP server that serves an ASGI application to machines. uvicorn speaks HTTP; this module limits the connections.

A request and its response have a deadline, and a bounded number of connections is open. When one more arrives, the
server closes the oldest connection that has not sent a whole request, so that silent clients cannot keep out a client
that sends one. It closes connections from other machines before those from this one, so that the container's own health
check is answered.
"""

import asyncio
import errno
import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from ipaddress import ip_address

import h11
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from consumer.engine.errors import SettingsError
from consumer.settings import is_loopback, variable

SECONDS = 5.0
CONNECTIONS = 32
BACKLOG = 1_024
"""Connections that the kernel queues until they are accepted, so that a burst is not refused."""
SPARED = 8
"""File descriptors to free when none is left: a response needs some too."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_REST_SECONDS = 0.05
_READ_SECONDS = 0.02
_CLOSE = (b"connection", b"close")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a server.

    connections   how many are open at the same time
    head_bytes    the maximum size of request line and headers; a longer one gets 431
    seconds       from the begin of a request to the end of its response. The first one begins with the connection
    idle_seconds  how long a connection waits for its next request. 0: it carries one request
    """

    connections: int
    head_bytes: int
    seconds: float
    idle_seconds: int


PROBES = Bounds(CONNECTIONS, head_bytes=16_384, seconds=SECONDS, idle_seconds=0)
"""For health checks and scrapers: one request per connection."""


class Connection(H11Protocol):
    """Requests and their responses, one after the other.

    uvicorn has no deadline for a request, nor for a client that does not read.
    """

    def __init__(self, server: "Server", client: socket.socket, *, is_local: bool) -> None:
        super().__init__(server.config, server.state, {}, server.loop)
        self.is_local = is_local
        self.is_cut_off = False
        self._is_made = False
        self._client = client
        self._server = server
        self._received = 0  # bytes of the current request while its head is not complete
        self._deadline = self.loop.call_later(server.bounds.seconds, self._overdue)
        self._open = server.open
        self._open[self] = self.loop.create_task(self.loop.connect_accepted_socket(lambda: self, client))

    @property
    def exchange(self) -> RequestResponseCycle | None:
        """The current request and its response, or the last ones. None before the first request."""
        return self.cycle

    def has_sent(self) -> bool:
        """Whether the client has sent a whole request, or bytes that are not read yet."""
        if self.conn.their_state is not h11.IDLE:
            return True
        with suppress(OSError):
            return bool(self._client.recv(1, socket.MSG_PEEK))
        return False

    def cut_off(self) -> None:
        self.is_cut_off = True
        if self._is_made:
            self.transport.abort()

    def finish(self) -> None:
        """Closes the connection after the response to the current request, or at once if there is none."""
        if not self.transport.is_closing():
            self._close_after_response()
            self.shutdown()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._is_made = True
        if self.is_cut_off:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.conn.their_state is h11.IDLE:
            data = self._head_received(data)
        if data and self.conn.their_state is h11.SEND_BODY:
            super().data_received(data)
            data = b""
        if self.conn.their_state is h11.DONE and (data or self.conn.trailing_data[0]):
            # The client does not wait for the response. Its next request is not read, and can be sent again.
            self._close_after_response()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE:
            self._received = 0

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the message says nothing
        self._refuse(HTTPStatus.BAD_REQUEST)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        self._open.pop(self)
        self._server.changed.set()
        super().connection_lost(exc)

    def _head_received(self, data: bytes) -> bytes:
        """Reads the head of a request. Returns the bytes that are not part of it and not read yet."""
        if not self._received:
            self._request_begins()
        left = self._server.bounds.head_bytes - self._received
        self._received += len(data)
        if left:  # no bytes would mean the end of the stream
            super().data_received(data[:left])
        if self.conn.their_state is h11.IDLE:
            if self._received > self._server.bounds.head_bytes:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return b""
        if self.exchange:
            self.exchange.default_headers = self._server.response_headers()
        if self.conn.their_state is h11.SEND_BODY:
            # No application here reads a body. What is left of it is not waited for.
            self._close_after_response()
        return data[left:]

    def _request_begins(self) -> None:
        # The first deadline begins with the connection. A client that has not read the previous response gets no more
        # time by sending another request.
        if self.exchange and not self.transport.get_write_buffer_size():
            self._deadline.cancel()
            self._deadline = self.loop.call_later(self._server.bounds.seconds, self._overdue)

    def _overdue(self) -> None:
        """At the deadline. Without a request and with all responses sent, the connection only waits."""
        waits = self.exchange and self.conn.their_state is h11.IDLE and not self._received
        if not waits or self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.cut_off()

    def _close_after_response(self) -> None:
        if (exchange := self.exchange) and not exchange.response_complete:
            exchange.keep_alive = False
            others = [header for header in exchange.default_headers if header != _CLOSE]
            exchange.default_headers = [*others, _CLOSE]

    def _refuse(self, status: HTTPStatus) -> None:
        """Answers what is no request, and closes the connection."""
        if (exchange := self.exchange) and not exchange.response_complete:
            if exchange.response_started:
                self.cut_off()
                return
            exchange.disconnected = True  # the application must not answer as well
        self.transport.write(_refusal(status))
        self.transport.close()


class Server:
    """Serves `app` on `listener` until `stop`. `app` runs on the server's thread, so it must not wait."""

    def __init__(self, listener: socket.socket, app: ASGIApp, bounds: Bounds = PROBES) -> None:
        self.bounds = bounds
        self._listener = listener
        self.open: dict[Connection, asyncio.Task[object]] = {}
        """The oldest first. The task connects the socket to the protocol; the loop keeps no reference to it."""
        self._most = bounds.connections
        self.changed = asyncio.Event()
        """Set when a connection is lost."""
        self._stopped = asyncio.Event()
        self._drains = False
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self.loop = asyncio.new_event_loop()
        self.state = ServerState()
        # the log level: a client that sends nonsense must not fill the log
        self.config = Config(
            app,
            interface="asgi3",
            http="h11",
            ws="none",
            lifespan="off",
            proxy_headers=False,
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_keep_alive=bounds.idle_seconds,
            h11_max_incomplete_event_size=bounds.head_bytes,
        )

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def response_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every response."""
        date = (b"date", formatdate(usegmt=True).encode())
        return [date] if self.bounds.idle_seconds and not self._stopped.is_set() else [date, _CLOSE]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Closes the listener and every connection."""
        self._drains = False
        self._stop()
        self._thread.join()

    def drain(self) -> None:
        """Closes the listener and every connection without a request; the server ends after the last response.

        Returns at once. The deadline of the requests bounds how long it takes.
        """
        self._drains = True
        self._stop()

    def join(self, seconds: float) -> bool:
        """Waits at most `seconds` for the end of the server. Returns whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _stop(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server has ended
            self.loop.call_soon_threadsafe(self._stopped.set)
            self.loop.call_soon_threadsafe(self.changed.set)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._listener.setblocking(False)
        self._listen()
        await self._stopped.wait()
        self.loop.remove_reader(self._listener)
        if self._drains:
            self._accept_queued()
        self._listener.close()
        await asyncio.gather(*self.open.values())
        if self._drains:
            await self._finish()
        for connection in self.open:
            connection.cut_off()
        await asyncio.sleep(0)  # the loop calls connection_lost in its next round

    async def _finish(self) -> None:
        """Waits for the responses to the requests that have been received."""
        await asyncio.sleep(_READ_SECONDS)  # the loop reads what the kernel has received
        for connection in list(self.open):
            connection.finish()
        while self._drains and self.open:
            self.changed.clear()
            await self.changed.wait()

    def _listen(self) -> None:
        # Accepts one connection per round of the loop, so that its request is read before the next one is accepted.
        # asyncio's own server accepts as many as there are, and pauses for a second when file descriptors run out.
        if not self._stopped.is_set():
            self.loop.add_reader(self._listener, self._accept)

    def _accept_queued(self) -> None:
        """Accepts the connections that the kernel has already accepted: closing the listener would reset them."""
        for _ in range(BACKLOG):
            if not self._accept():
                return

    def _accept(self) -> bool:
        try:
            client, (address, *_) = self._listener.accept()
        except OSError as error:
            self._not_accepted(error)
            return False
        client.setblocking(False)
        self._make_room(1)
        Connection(self, client, is_local=_is_local(address))
        return True

    def _not_accepted(self, error: OSError) -> None:
        if error.errno in _EXHAUSTED:
            self._most = max(1, len(self.open) - SPARED)
            self._make_room(0)
            self.loop.remove_reader(self._listener)
            self.loop.call_later(_REST_SECONDS, self._listen)

    def _make_room(self, wanted: int) -> None:
        """Closes surplus connections: from other machines first, then those that have sent nothing, then the oldest."""
        left = [connection for connection in self.open if not connection.is_cut_off]
        excess = len(left) + wanted - self._most
        if excess > 0:
            ranked = sorted(left, key=lambda connection: (connection.is_local, connection.has_sent()))
            for connection in ranked[:excess]:
                connection.cut_off()


def _refusal(status: HTTPStatus) -> bytes:
    """A response, as problem details (RFC 9457), to a client whose request could not be read."""
    body = json.dumps({"type": "about:blank", "title": status.phrase, "status": status})
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"date: {formatdate(usegmt=True)}",
        "content-type: application/problem+json",
        f"content-length: {len(body)}",
        "connection: close",
    )
    return "\r\n".join((*head, "", body)).encode("ascii")


def _is_local(address: str) -> bool:
    """Whether a client is on this machine. An IPv6 socket reports IPv4 addresses as `::ffff:127.0.0.1`."""
    return is_loopback(address.removeprefix("::ffff:"))


def listen(address: str, source: str = variable("metrics_address")) -> socket.socket:
    """A listener on `HOST:PORT` or `[IPV6]:PORT`. Port 0 takes a free port. `[::]` accepts IPv4 as well.

    Raises SettingsError when the address cannot be used. `source` is where it was set.
    """
    host, _, port = address.rpartition(":")
    try:
        if int(port) > 65_535:
            raise OverflowError("a port is at most 65535")  # noqa: TRY301 - reported like every other fault of the address
        family, *_, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        both = family is socket.AF_INET6 and ip_address(place[0]).is_unspecified
        if both and not socket.has_dualstack_ipv6():
            raise OSError(f"this machine has no IPv6: use 0.0.0.0:{port}")  # noqa: TRY301
        return socket.create_server(place[:2], family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError([f"{source}: cannot listen on {address}: {reason}"]) from None
