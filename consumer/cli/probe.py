"""`consumer doctor --live`: asks this container's worker whether it lives, for health checks without curl.

It is asked every few seconds for as long as the container lives, so it needs Python's own modules only.
"""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass

VARIABLE = "CONSUMER_METRICS_ADDRESS"
DEFAULT = "127.0.0.1:9464"
SECONDS = 5.0
"""The most that any step of asking may take; the worker cuts an exchange off after as long."""
TRIES = 3
"""A worker with many clients may cut off one that was slow to ask."""
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Life:
    """Whether the worker lives, and each reason why not."""

    ok: bool
    reasons: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps({"ok": self.ok, "reasons": self.reasons})

    def __str__(self) -> str:
        return "ok" if self.ok else "\n".join(self.reasons)


def ask(environment: Mapping[str, str]) -> Life:
    """What the worker says of itself at CONSUMER_METRICS_ADDRESS; who cannot be asked does not live."""
    address = environment.get(VARIABLE) or DEFAULT
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        return Life(ok=False, reasons=(f"{VARIABLE}: {address} is not HOST:PORT",))
    try:
        status, body = _answer(_LOOPBACK if _is_unspecified(host) else host, int(port))
    except (OSError, http.client.HTTPException) as error:
        return Life(ok=False, reasons=(f"no answer from {address}: {str(error) or type(error).__name__}",))
    try:
        return Life(status == http.client.OK, tuple(map(str, json.loads(body)["reasons"])))
    except (ValueError, LookupError, TypeError):
        return Life(ok=False, reasons=(f"what answers at {address} is no worker",))


def _is_unspecified(host: str) -> bool:
    """Whether a worker at that address listens on all: on `::` it does so on IPv4 as well."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return not any(socket.inet_pton(family, host))
        except OSError:
            continue
    return False


def _answer(host: str, port: int) -> tuple[int, bytes]:
    for _ in range(TRIES - 1):
        try:
            return _get(host, port)
        except (ConnectionResetError, BrokenPipeError):
            continue
    return _get(host, port)


def _get(host: str, port: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def check(environment: Mapping[str, str]) -> int:
    """Prints what it found; 0: the worker lives, 1: it does not."""
    life = ask(environment)
    print(life)
    return 0 if life.ok else 1
