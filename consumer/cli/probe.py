"""`consumer doctor --live`: checks the health of this container's service, for health checks without curl.

A health check runs every few seconds, so this module imports only the standard library.
"""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass

VARIABLE = "CONSUMER_METRICS_ADDRESS"
DEFAULT = "127.0.0.1:9464"
SECONDS = 5.0
"""Timeout of each socket operation. The worker closes a connection after the same time."""
PATHS = ("/healthz", "/livez")
"""In this order. `consumer serve` has no start that could fail, and so only the second."""
TRIES = 3
"""Attempts. A worker with many clients may close a connection whose request is slow."""
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the worker is healthy, and each reason if it is not."""

    ok: bool
    reasons: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps({"ok": self.ok, "reasons": self.reasons})

    def __str__(self) -> str:
        return "ok" if self.ok else "\n".join(self.reasons)


def probe(environment: Mapping[str, str]) -> Health:
    """What the worker at CONSUMER_METRICS_ADDRESS reports. One that does not answer is not healthy."""
    address = environment.get(VARIABLE) or DEFAULT
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        return Health(ok=False, reasons=(f"{VARIABLE}: {address} is not HOST:PORT",))
    try:
        status, body = _request(_LOOPBACK if _is_unspecified(host) else host, int(port))
    except (OSError, http.client.HTTPException) as error:
        return Health(ok=False, reasons=(f"no answer from {address}: {str(error) or type(error).__name__}",))
    try:
        return Health(status == http.client.OK, tuple(map(str, json.loads(body)["reasons"])))
    except (ValueError, LookupError, TypeError):
        return Health(ok=False, reasons=(f"unexpected response from {address}: not a consumer",))


def _is_unspecified(host: str) -> bool:
    """Whether the address means all interfaces. A worker that listens on `::` accepts IPv4 too."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return not any(socket.inet_pton(family, host))
        except OSError:
            continue
    return False


def _request(host: str, port: int) -> tuple[int, bytes]:
    for _ in range(TRIES - 1):
        try:
            return _get(host, port)
        except (ConnectionResetError, BrokenPipeError):
            continue
    return _get(host, port)


def _get(host: str, port: int) -> tuple[int, bytes]:
    answer = 0, b""
    for path in PATHS:
        answer = _get_path(host, port, path)
        if answer[0] != http.client.NOT_FOUND:
            break
    return answer


def _get_path(host: str, port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def check(environment: Mapping[str, str]) -> int:
    """Prints the health. Returns the exit code: 0 healthy, 1 not healthy."""
    health = probe(environment)
    print(health)
    return 0 if health.ok else 1
