"""A proxy before an emulator of AWS that does harm on demand, and counts it. HTTP/1.1, on 127.0.0.1.

    with fault_proxy(aws.endpoint, seed) as proxy:
        with proxy.fault(refuse(400, "ThrottlingException"), "UpdateItem", probability=0.3) as fault:
            ...
        assert fault.hits["UpdateItem"]

Of several faults the first that fits a request is done to it; a request that none fits is passed on.
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
"""Connections served at once, a thread each; more have to wait."""
LOOK_SECONDS = 0.1
UPSTREAM_SECONDS = 60.0
_OURS = ("connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "x-amz-crc32")
"""Header fields of a reply that are the proxy's to set, or that would be wrong for another body."""


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """What AWS is asked for: `UpdateItem`; the method, `PUT`, where the protocol names no operation."""
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
    """Chances in 0..1. The n-th throw for the same thing is the same for the same seed, whoever throws in between."""

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
    """A request, and what an effect may do about it.

    forward  asks the real thing
    lifted   is set when the fault is over
    gone     whether the client has hung up
    """

    request: Request
    forward: Callable[[Request], Reply]
    lifted: threading.Event
    gone: Callable[[], bool]
    throw: Callable[[bytes], float]
    count: Callable[[str], None]

    def wait(self, seconds: float | None = None) -> None:
        """So many seconds, for ever when None; no longer than the fault lasts and the client waits."""
        for _ in range(round(seconds / LOOK_SECONDS)) if seconds is not None else iter(int, 1):
            if self.lifted.wait(LOOK_SECONDS) or self.gone():
                return


Effect: TypeAlias = Callable[[Exchange], Reply | None]
"""What is done to a request; None: its connection is closed without a word."""


def _always(_request: Request) -> bool:
    return True


@dataclass
class Fault:
    """An effect on some requests. `hits`: how often, by operation, and whatever the effect counts besides.

    operations   none: all
    probability  of a request that fits
    most         so many requests, then no more
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

    def fits(self, request: Request, dice: Dice) -> bool:
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


# --- What can be done to a request ---------------------------------------------------------------------------------


def refuse(status: int, code: str) -> Effect:
    """An error of AWS; nothing is passed on."""
    return lambda exchange: _error(exchange.request, status, code)


THROTTLED = refuse(400, "ProvisionedThroughputExceededException")
FAILING = refuse(500, "InternalServerError")
UNAVAILABLE = refuse(503, "ServiceUnavailable")
ACCESS_DENIED = refuse(400, "AccessDeniedException")
TOKEN_EXPIRED = refuse(400, "ExpiredTokenException")


def lose_reply(exchange: Exchange) -> None:
    """The request is carried out, and nobody hears of it."""
    exchange.forward(exchange.request)


def hang_up(_exchange: Exchange) -> None:
    """Neither passed on nor answered: the connection is closed at once."""


def swallow(exchange: Exchange) -> None:
    """A black hole: neither passed on nor answered, for as long as the fault lasts."""
    exchange.wait()


def hold(exchange: Exchange) -> Reply:
    """Passed on when the fault is over."""
    exchange.wait()
    return exchange.forward(exchange.request)


def delay(seconds: float) -> Effect:
    """Passed on after so many seconds, or when the fault is over."""

    def wait(exchange: Exchange) -> Reply:
        exchange.wait(seconds)
        return exchange.forward(exchange.request)

    return wait


def spoil_statements(probability: float, code: str = "ThrottlingError") -> Effect:
    """Each statement of a BatchExecuteStatement fails with that probability, by itself; counted as `statements`."""

    def spoil(exchange: Exchange) -> Reply:
        request = exchange.request.json()
        statements = request["Statements"]
        spoilt = [exchange.throw(json.dumps(statement).encode()) < probability for statement in statements]
        kept = [statement for statement, bad in zip(statements, spoilt, strict=True) if not bad]
        reply = _forward_json(exchange, request | {"Statements": kept}) if kept else _json(200, {"Responses": []})
        if reply.status != 200:
            return reply
        answers = iter(json.loads(reply.body)["Responses"])
        error = {"Error": {"Code": code, "Message": "made up by the proxy"}}
        for _ in filter(None, spoilt):
            exchange.count("statements")
        return _json(200, {"Responses": [error if bad else next(answers) for bad in spoilt]})

    return spoil


def leave_unread(probability: float) -> Effect:
    """Each key of a BatchGetItem comes back unprocessed with that probability, but never all; counted as `keys`."""

    def leave(exchange: Exchange) -> Reply:
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

    return leave


def _forward_json(exchange: Exchange, document: Mapping[str, Any]) -> Reply:
    given = exchange.request
    return exchange.forward(Request(given.method, given.target, given.headers, json.dumps(document).encode()))


def _error(request: Request, status: int, code: str) -> Reply:
    if request.speaks_json:
        return _json(status, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "made up by the proxy"})
    text = f"<Error><Code>{code}</Code><Message>made up by the proxy</Message></Error>"
    return Reply(status, (("Content-Type", "application/xml"),), text.encode())


def _json(status: int, document: Mapping[str, Any]) -> Reply:
    return Reply(status, (("Content-Type", "application/x-amz-json-1.0"),), json.dumps(document).encode())


# --- The proxy -----------------------------------------------------------------------------------------------------


class FaultProxy:
    """Passes on to `upstream`. `forwarded`: what was passed on and answered, by operation."""

    def __init__(self, upstream: str, seed: int = 0) -> None:
        self.forwarded: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self.dice = Dice(seed)
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), int(parts.port or 80))
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(LOOK_SECONDS,), name="proxy")

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Lifts every fault, closes every connection, and waits for every thread. Once is enough."""
        if not self._thread.is_alive():
            return
        self.heal()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def impose(self, effect: Effect, *operations: str, **rest: Any) -> Fault:
        """A fault that lasts until it is lifted. `rest`: as Fault has it."""
        fault = Fault(effect, operations, **rest)
        with self._lock:
            self._faults.append(fault)
        return fault

    def lift(self, fault: Fault) -> None:
        """Ends a fault; whoever waited because of it goes on."""
        with self._lock:
            if fault in self._faults:
                self._faults.remove(fault)
        fault.lifted.set()

    def heal(self) -> None:
        """Lifts every fault."""
        for fault in list(self._faults):
            self.lift(fault)

    @contextmanager
    def fault(self, effect: Effect, *operations: str, **rest: Any) -> Iterator[Fault]:
        """A fault inside the block."""
        fault = self.impose(effect, *operations, **rest)
        try:
            yield fault
        finally:
            self.lift(fault)

    def answer(self, request: Request, gone: Callable[[], bool]) -> Reply | None:
        """What the client gets, None for nothing at all."""
        with self._lock:
            faults = list(self._faults)
        fault = next((fault for fault in faults if fault.fits(request, self.dice)), None)
        try:
            return self._treat(request, fault, gone) if fault else self.forward(request)
        except (OSError, HTTPException):
            return None  # the real thing is not there

    def forward(self, request: Request) -> Reply:
        """The reply of the real thing. Raises OSError or HTTPException when there is none."""
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

    def _treat(self, request: Request, fault: Fault, gone: Callable[[], bool]) -> Reply | None:
        fault.count(request.operation)
        return fault.effect(Exchange(request, self.forward, fault.lifted, gone, self.dice.throw, fault.count))


@contextmanager
def fault_proxy(upstream: str, seed: int = 0) -> Iterator[FaultProxy]:
    """A proxy inside the block. Raises what went wrong in it, unheard by any client."""
    proxy = FaultProxy(upstream, seed)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
    if proxy.errors:
        raise proxy.errors[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them
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

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - not ours to name
        error = sys.exc_info()[1]
        # a client may hang up whenever it likes
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
        """Says nothing."""

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
