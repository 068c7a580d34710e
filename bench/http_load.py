"""Calls an HTTP server as fast as it answers, over a fixed number of connections: `python -m bench.http_load`.

It reads a Load as JSON from stdin and writes an Outcome as JSON to stdout. It is a process of its own, so that its CPU
is not the server's.
"""

import asyncio
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from statistics import quantiles

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Load:
    """Which requests are sent: one after the other on each connection, in the order of the paths.

    cores  the client runs on these only; empty: on any
    """

    port: int
    seconds: float
    connections: int
    paths: Sequence[str]
    headers: Mapping[str, str]
    cores: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back. `p50` and `p99`: seconds of a request. `statuses`: how many responses had each."""

    seconds: float
    requests: int
    p50: float
    p99: float
    statuses: Mapping[str, int]
    lost_connections: int


class _Client(asyncio.Protocol):
    """One connection. A request is sent when the response to the one before is complete."""

    def __init__(self, requests: Iterator[bytes], took: list[float], counts: Counter[str]) -> None:
        self._requests = requests
        self._took = took
        self._counts = counts
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if end and len(body) >= int(length[1] if length else 0):
            self._took.append(time.perf_counter() - self._sent_at)
            self._counts[head[9:12].decode()] += 1
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - an overridden method
        self._counts["lost"] += 1

    def _send(self) -> None:
        self._received = b""
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))


async def run(load: Load) -> Outcome:
    took: list[float] = []
    counts: Counter[str] = Counter()
    headers = "".join(f"{name}: {value}\r\n" for name, value in load.headers.items())
    requests = cycle([f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode() for path in load.paths])
    loop, start = asyncio.get_running_loop(), time.perf_counter()
    opened = [
        await loop.create_connection(lambda: _Client(requests, took, counts), "127.0.0.1", load.port)
        for _ in range(load.connections)
    ]
    await asyncio.sleep(load.seconds)
    outcome = _outcome(time.perf_counter() - start, took, counts)
    for transport, _ in opened:
        transport.close()
    await asyncio.sleep(0)  # the loop closes them in its next round
    return outcome


def _outcome(seconds: float, took: Sequence[float], counts: Counter[str]) -> Outcome:
    lost = counts.pop("lost", 0)
    percentiles = quantiles(took, n=100) if len(took) > 1 else [float("nan")] * 99
    return Outcome(seconds, len(took), percentiles[49], percentiles[98], dict(counts), lost)


def main() -> None:
    load = Load(**json.load(sys.stdin))
    if load.cores:
        os.sched_setaffinity(0, load.cores)
    json.dump(asdict(asyncio.run(run(load))), sys.stdout)


if __name__ == "__main__":
    main()
