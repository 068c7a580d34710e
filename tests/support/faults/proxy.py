"""A proxy in front of an AWS emulator that injects faults and counts them. HTTP/1.1, on 127.0.0.1.

    with fault_proxy(aws.endpoint, seed) as proxy:
        with proxy.fault(refuse(400, "ThrottlingException"), "UpdateItem", probability=0.3) as fault:
            ...
        assert fault.hits["UpdateItem"]

The first fault that matches a request is applied to it; a request that none matches is forwarded.
"""

import json
import select
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from tests.support.driven.processes import LOOPBACK

CONNECTIONS = 128
"""Connections served at once, with one thread each; further ones wait."""
CHECK_SECONDS = 0.1
UPSTREAM_SECONDS = 60.0
_OURS = ("connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "x-amz-crc32")
"""Header fields of a response that the proxy sets itself, or that are wrong for a changed body."""


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """The AWS operation, such as `UpdateItem`; the HTTP method where the protocol names no operation."""
        return self.headers.get("x-amz-target", "").rpartition(".")[2] or self.method

    @property
    def speaks_json(self) -> bool:
        return "x-amz-target" in self.headers

    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


@dataclass(frozen=True)
class Reply:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Dice:
    """Random numbers in 0..1. The n-th throw for a thing depends only on the seed, not on other throws."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._thrown: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    def throw(self, thing: bytes) -> float:
        name = blake2b(thing, digest_size=8).digest()
        with self._lock:
            self._thrown[name] += 1
            count = self._thrown[name]
        drawn = blake2b(name, key=f"{self._seed} {count}".encode(), digest_size=8).digest()
        return int.from_bytes(drawn, "big") / 2**64


@dataclass
class Exchange:
    """A request, and what an effect needs to handle it.

    forward  sends a request to the upstream server
    lifted   is set when the fault is lifted
    gone     whether the client has closed the connection
    """

    request: Request
    forward: Callable[[Request], Reply]
    lifted: threading.Event
    gone: Callable[[], bool]
    throw: Callable[[bytes], float]
    count: Callable[[str], None]

    def wait(self, seconds: float | None = None) -> None:
        """Waits for `seconds`, without limit if None; returns early if the fault is lifted or the client is gone."""
        for _ in range(round(seconds / CHECK_SECONDS)) if seconds is not None else iter(int, 1):
            if self.lifted.wait(CHECK_SECONDS) or self.gone():
                return


Effect: TypeAlias = Callable[[Exchange], Reply | None]
"""Handles a request. None: the connection is closed without a response."""


def _always(_request: Request) -> bool:
    return True


@dataclass
class Fault:
    """An effect on some requests. `hits`: the requests by operation, and what the effect counts itself.

    operations   the operations it applies to; empty: all
    probability  that a matching request is hit
    most         the maximum number of requests; None: no maximum
    """

    effect: Effect
    operations: tuple[str, ...] = ()
    when: Callable[[Request], bool] = _always
    probability: float = 1.0
    most: int | None = None
    hits: Counter[str] = field(default_factory=Counter)
    lifted: threading.Event = field(default_factory=threading.Event)
    _left: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._left = self.most

    def matches(self, request: Request, dice: Dice) -> bool:
        if self.lifted.is_set() or (self.operations and request.operation not in self.operations):
            return False
        if not self.when(request) or (self.probability < 1 and dice.throw(request.body) >= self.probability):
            return False
        return self._take()

    def count(self, what: str) -> None:
        with self._lock:
            self.hits[what] += 1

    def _take(self) -> bool:
        with self._lock:
            if self._left is not None:
                self._left -= 1
            return self._left is None or self._left >= 0


# --- Effects ---------------------------------------------------------------------------------------------------------


def refuse(status: int, code: str) -> Effect:
    """Answers with an AWS error; the request is not forwarded."""
    return lambda exchange: _error(exchange.request, status, code)


THROTTLED = refuse(400, "ProvisionedThroughputExceededException")
FAILING = refuse(500, "InternalServerError")
UNAVAILABLE = refuse(503, "ServiceUnavailable")
ACCESS_DENIED = refuse(400, "AccessDeniedException")
TOKEN_EXPIRED = refuse(400, "ExpiredTokenException")


def lose_reply(exchange: Exchange) -> None:
    """Forwards the request and closes the connection without the response."""
    exchange.forward(exchange.request)


def hang_up(_exchange: Exchange) -> None:
    """Closes the connection at once, without forwarding the request."""


def swallow(exchange: Exchange) -> None:
    """A black hole: neither forwards nor answers while the fault lasts."""
    exchange.wait()


def hold(exchange: Exchange) -> Reply:
    """Forwards the request when the fault is lifted."""
    exchange.wait()
    return exchange.forward(exchange.request)


def delay(seconds: float) -> Effect:
    """Forwards the request after `seconds`, or when the fault is lifted."""

    def wait(exchange: Exchange) -> Reply:
        exchange.wait(seconds)
        return exchange.forward(exchange.request)

    return wait


def fail_statements(probability: float, code: str = "ThrottlingError") -> Effect:
    """Each statement of a BatchExecuteStatement fails independently with this probability; counts `statements`."""

    def fail(exchange: Exchange) -> Reply:
        request = exchange.request.json()
        statements = request["Statements"]
        failed = [exchange.throw(json.dumps(statement).encode()) < probability for statement in statements]
        kept = [statement for statement, bad in zip(statements, failed, strict=True) if not bad]
        reply = _forward_json(exchange, request | {"Statements": kept}) if kept else _json(200, {"Responses": []})
        if reply.status != 200:
            return reply
        answers = iter(json.loads(reply.body)["Responses"])
        error = {"Error": {"Code": code, "Message": "injected by the proxy"}}
        for _ in filter(None, failed):
            exchange.count("statements")
        return _json(200, {"Responses": [error if bad else next(answers) for bad in failed]})

    return fail


def skip_keys(probability: float) -> Effect:
    """Each key of a BatchGetItem is unprocessed with this probability, but never all of them; counts `keys`."""

    def skip(exchange: Exchange) -> Reply:
        request = exchange.request.json()
        ((table, wanted),) = request["RequestItems"].items()
        first, *rest = wanted["Keys"]
        unread = [key for key in rest if exchange.throw(json.dumps(key).encode()) < probability]
        kept = [first, *(key for key in rest if key not in unread)]
        reply = _forward_json(exchange, request | {"RequestItems": {table: wanted | {"Keys": kept}}})
        if reply.status != 200 or not unread:
            return reply
        for _ in unread:
            exchange.count("keys")
        return _json(200, json.loads(reply.body) | {"UnprocessedKeys": {table: wanted | {"Keys": unread}}})

    return skip


def _forward_json(exchange: Exchange, document: Mapping[str, Any]) -> Reply:
    given = exchange.request
    return exchange.forward(Request(given.method, given.target, given.headers, json.dumps(document).encode()))


def _error(request: Request, status: int, code: str) -> Reply:
    if request.speaks_json:
        return _json(status, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "injected by the proxy"})
    text = f"<Error><Code>{code}</Code><Message>injected by the proxy</Message></Error>"
    return Reply(status, (("Content-Type", "application/xml"),), text.encode())


def _json(status: int, document: Mapping[str, Any]) -> Reply:
    return Reply(status, (("Content-Type", "application/x-amz-json-1.0"),), json.dumps(document).encode())


# --- The proxy -----------------------------------------------------------------------------------------------------


class FaultProxy:
    """Forwards requests to `upstream`. `forwarded`: the requests that it answered, by operation."""

    def __init__(self, upstream: str, seed: int = 0) -> None:
        self.forwarded: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self.dice = Dice(seed)
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), int(parts.port or 80))
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(CHECK_SECONDS,), name="proxy")

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Lifts all faults, closes all connections and waits for all threads. Idempotent."""
        if not self._thread.is_alive():
            return
        self.heal()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def impose(self, effect: Effect, *operations: str, **rest: Any) -> Fault:
        """Adds a fault that lasts until it is lifted. `rest`: further fields of Fault."""
        fault = Fault(effect, operations, **rest)
        with self._lock:
            self._faults.append(fault)
        return fault

    def lift(self, fault: Fault) -> None:
        """Ends a fault. Requests that it delays continue."""
        with self._lock:
            if fault in self._faults:
                self._faults.remove(fault)
        fault.lifted.set()

    def heal(self) -> None:
        """Lifts all faults."""
        for fault in list(self._faults):
            self.lift(fault)

    @contextmanager
    def fault(self, effect: Effect, *operations: str, **rest: Any) -> Iterator[Fault]:
        """A fault that lasts during the block."""
        fault = self.impose(effect, *operations, **rest)
        try:
            yield fault
        finally:
            self.lift(fault)

    def answer(self, request: Request, gone: Callable[[], bool]) -> Reply | None:
        """The response for the client; None: close the connection."""
        with self._lock:
            faults = list(self._faults)
        fault = next((fault for fault in faults if fault.matches(request, self.dice)), None)
        try:
            return self._apply(request, fault, gone) if fault else self.forward(request)
        except (OSError, HTTPException):
            return None  # upstream is not available

    def forward(self, request: Request) -> Reply:
        """The response of upstream. Raises OSError or HTTPException if there is none."""
        connection = HTTPConnection(*self._upstream, timeout=UPSTREAM_SECONDS)
        headers = {name: value for name, value in request.headers.items() if name not in _OURS and name != "expect"}
        try:
            connection.request(request.method, request.target, request.body, headers)
            response = connection.getresponse()
            reply = Reply(response.status, tuple(response.getheaders()), response.read())
        finally:
            connection.close()
        with self._lock:
            self.forwarded[request.operation] += 1
        return reply

    def _apply(self, request: Request, fault: Fault, gone: Callable[[], bool]) -> Reply | None:
        fault.count(request.operation)
        return fault.effect(Exchange(request, self.forward, fault.lifted, gone, self.dice.throw, fault.count))


@contextmanager
def fault_proxy(upstream: str, seed: int = 0) -> Iterator[FaultProxy]:
    """Runs a proxy during the block. Raises the first error of an effect, which clients do not see."""
    proxy = FaultProxy(upstream, seed)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
    if proxy.errors:
        raise proxy.errors[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() waits for them
    request_queue_size = CONNECTIONS

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        self._open: set[socket.socket] = set()
        super().__init__((LOOPBACK, 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._places.acquire()
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)
        self._places.release()

    def hang_up(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - an overridden method
        error = sys.exc_info()[1]
        # a client may close its connection at any time
        if error and not isinstance(error, OSError):
            self.proxy.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        reply = self.server.proxy.answer(self._request(), self._gone)
        if reply is None:
            self.close_connection = True
            return
        self._send(reply)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""

    def _request(self) -> Request:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, self.path, headers, body)

    def _gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _send(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            if name.lower() not in _OURS:
                self.send_header(name, value)
        length = next((value for name, value in reply.headers if name.lower() == "content-length"), None)
        self.send_header("Content-Length", str(length if self.command == "HEAD" else len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
