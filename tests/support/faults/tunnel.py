"""Forwards TCP connections, which can be cut, stopped and slowed down. On 127.0.0.1, in one thread.

with tunnel(aws.endpoint) as line:
    line.stop()     # connections stay open, no bytes pass
    line.cut()      # open and new connections are reset
    line.slow(0.2)
    line.heal()
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.support.driven.processes import LOOPBACK

PIECE = 65_536
CONNECTIONS = 256
"""Open at once; further ones are reset."""
_RESET = struct.pack("ii", 1, 0)


class Tunnel:
    """Forwards connections from `endpoint` to `upstream`. `accepted`, `passed`: connections and bytes so far."""

    def __init__(self, upstream: str) -> None:
        self.accepted = 0
        self.passed = 0
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), int(parts.port or 80))
        self._listener = socket.create_server((LOOPBACK, 0))
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._open = asyncio.Event()
        self._is_cut = False
        self._seconds = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, name="tunnel")

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self._listener.getsockname()[1]}"

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Resets all connections and stops. Idempotent."""
        if not self._thread.is_alive():
            return
        self._call(self._over.set)
        self._thread.join()
        self._listener.close()

    def cut(self) -> None:
        """Resets all open connections, and all new ones until `heal`."""
        self._is_cut = True
        self._call(self._reset_all)

    def stop(self) -> None:
        """Passes no bytes until `heal`; then the delayed ones arrive."""
        self._call(self._open.clear)

    def slow(self, seconds: float) -> None:
        """Delays each piece of at most 64 KiB by `seconds`, independently in each direction, until `heal`."""
        self._seconds = seconds

    def heal(self) -> None:
        self._is_cut, self._seconds = False, 0.0
        self._call(self._open.set)

    def _call(self, act: Callable[[], object]) -> None:
        """Calls `act` in the tunnel's thread and waits for it."""
        done = threading.Event()

        def run() -> None:
            act()
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._open.set()
        server = await asyncio.start_server(self._connected, sock=self._listener)
        await self._over.wait()
        server.close()
        self._reset_all()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut or len(self._writers) >= 2 * CONNECTIONS:
            _reset(writer)
            return
        self.accepted += 1
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            _reset(writer)
            return
        both = {writer, upstream_writer}
        self._writers |= both
        try:
            await asyncio.gather(self._pump(reader, upstream_writer), self._pump(upstream_reader, writer))
        finally:
            self._writers -= both

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                await asyncio.sleep(self._seconds)
                await self._open.wait()
                self.passed += len(piece)  # count first, so that a client that has read the piece finds it counted
                writer.write(piece)
                await writer.drain()
        writer.close()

    def _reset_all(self) -> None:
        for writer in self._writers:
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@contextmanager
def tunnel(upstream: str) -> Iterator[Tunnel]:
    """Runs a tunnel during the block."""
    line = Tunnel(upstream)
    line.begin()
    try:
        yield line
    finally:
        line.end()
