"""HTTP server that serves an ASGI application to machines. uvicorn speaks HTTP; this module limits the connections.

A connection carries one request and one response, within five seconds. At most 32 connections are open. When one more
arrives, the server closes the oldest connection that has not sent a whole request, so that silent clients cannot keep
out a client that sends one. It closes connections from other machines before those from this one, so that the
container's own health check is answered.
"""

import asyncio
import errno
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address

import h11
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
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
_HEAD_BYTES = 16_384


class Connection(H11Protocol):
    """One request and its response. uvicorn has no deadline for a request, nor for a client that does not read."""

    def __init__(self, server: "Server", client: socket.socket, *, is_local: bool) -> None:
        super().__init__(server.config, server.state, {}, server.loop)
        self.is_local = is_local
        self.is_cut_off = False
        self._is_made = False
        self._client = client
        self._received = 0
        self._deadline = self.loop.call_later(SECONDS, self.cut_off)
        self._open = server.open
        self._open[self] = self.loop.create_task(self.loop.connect_accepted_socket(lambda: self, client))

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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._is_made = True
        if self.is_cut_off:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.conn.their_state is h11.IDLE:  # what follows the first request is ignored
            left = _HEAD_BYTES - self._received
            self._received += len(data)
            super().data_received(data[:left])
            if self.conn.their_state is h11.IDLE and self._received > _HEAD_BYTES:
                self.cut_off()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        self._open.pop(self)
        super().connection_lost(exc)


class Server:
    """Serves `app` on `listener` until `stop`. `app` runs on the server's thread, so it must not wait."""

    def __init__(self, listener: socket.socket, app: ASGIApp) -> None:
        self._listener = listener
        self.open: dict[Connection, asyncio.Task[object]] = {}
        """The oldest first. The task connects the socket to the protocol; the loop keeps no reference to it."""
        self._most = CONNECTIONS
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self.loop = asyncio.new_event_loop()
        self.state = ServerState()
        self.state.default_headers = [(b"connection", b"close")]
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
        )

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Closes the listener and every connection."""
        self.loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._listener.setblocking(False)
        self._listen()
        await self._stopped.wait()
        self.loop.remove_reader(self._listener)
        self._listener.close()
        await asyncio.gather(*self.open.values())
        for connection in self.open:
            connection.cut_off()
        await asyncio.sleep(0)  # the loop calls connection_lost in its next round

    def _listen(self) -> None:
        # Accepts one connection per round of the loop, so that its request is read before the next one is accepted.
        # asyncio's own server accepts as many as there are, and pauses for a second when file descriptors run out.
        if not self._stopped.is_set():
            self.loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            client, (address, *_) = self._listener.accept()
        except OSError as error:
            self._not_accepted(error)
            return
        client.setblocking(False)
        self._make_room(1)
        Connection(self, client, is_local=_is_local(address))

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
