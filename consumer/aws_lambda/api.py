"""The HTTP API as a Lambda function, behind a function URL, API Gateway or a load balancer.

It is the application of `consumer serve`. Either tokens decide who may read (`CONSUMER_API_ISSUER`), or AWS does, in
front of the function (`CONSUMER_API_TRUSTED_PROXY`, docs/how-to/run-on-lambda.md). There is no third way: a function is
not a loopback address.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import copy_context
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self, TypeAlias

from consumer import bootstrap
from consumer.api.compose import compose
from consumer.api.problems import Problem
from consumer.aws_lambda.deadline import Context
from consumer.aws_lambda.gateway import Request, Response, answer, request_in
from consumer.aws_lambda.handler import Answer, invoke, write_line
from consumer.engine.errors import ConsumerError, SettingsError
from consumer.monitoring import logs
from consumer.monitoring.emf import EmfSink
from consumer.settings import ApiSettings, load, variable

log = logging.getLogger("consumer.lambda")

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
"""An application of ASGI."""


class NoResponse(ConsumerError):
    """The application has returned without a response."""


@dataclass(slots=True)
class Exchange:
    """The two channels between one request and the application, as ASGI defines them."""

    request: Request
    request_id: str
    status: int | None = None
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    is_read: bool = False
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Message:
        """The request, then, once the response is complete, the end of the connection."""
        if not self.is_read:
            self.is_read = True
            return {"type": "http.request", "body": self.request.body, "more_body": False}
        await self.complete.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                self.complete.set()

    async def response(self, application: Application) -> Response:
        """What the application responds. Raises its exception if it has not completed a response before."""
        try:
            await application(self.request.scope(self.request_id), self.receive, self.send)
        except Exception:
            if not self.complete.is_set():
                raise
            # Frameworks respond with 500 and raise the exception again, for the server's log.
            log.exception("request failed")
        if self.status is None or not self.complete.is_set():
            raise NoResponse("the application has returned without a response")
        return Response(self.status, tuple(self.headers), bytes(self.body))


@dataclass(frozen=True, slots=True)
class ApiFunction:
    """The state of one container. Clients, threads and the keys of the issuer are reused by later invocations.

    application    the application that `consumer serve` serves
    trusts_aws     whether AWS authenticates the callers, and not the application
    loop           the event loop of the container
    clock          returns monotonic seconds
    flush          writes the metrics of an invocation
    """

    application: Application
    trusts_aws: bool
    loop: asyncio.Runner = field(default_factory=lambda: asyncio.Runner(loop_factory=asyncio.new_event_loop))
    clock: Callable[[], float] = time.monotonic
    flush: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, settings: ApiSettings, write: Callable[[str], object] = write_line) -> Self:
        """Raises SettingsError if nobody would check who may read."""
        if not settings.api_issuer and not settings.api_trusted_proxy:
            issuer, trusted = variable("api_issuer"), variable("api_trusted_proxy")
            raise SettingsError([f"{issuer} is not set: set it, or {trusted}=true if AWS authenticates the callers"])
        sink = EmfSink(write, bootstrap.now_millis, table=settings.table_name)
        return cls(compose(settings, sink), trusts_aws=settings.api_trusted_proxy, flush=sink.flush)

    def handle(self, event: object, context: Context) -> Answer:
        """Answers a request. Raises MalformedInvocation if the event is none."""
        start, request = self.clock(), request_in(event)
        # A client may choose the id of its request; this one also names the invocation.
        with logs.fields(invocation=context.aws_request_id):
            try:
                response = self._response(request, context.aws_request_id)
            finally:
                self.flush()
        # Neither the path nor the caller: both may name a user.
        extra = {"method": request.method, "status": response.status, "seconds": round(self.clock() - start, 6)}
        log.info("request", extra=extra)
        return answer(request, response)

    def _response(self, request: Request, request_id: str) -> Response:
        exchange = Exchange(request, request_id)
        if not self.trusts_aws:
            return self._run(exchange)
        if not request.caller:
            # The function URL is open, or a route has no authorizer.
            log.error("AWS has authenticated no caller")
            return _forbidden(request_id)
        # The application does not know the caller, and its audit lines should.
        with logs.fields(caller=request.caller):
            return self._run(exchange)

    def _run(self, exchange: Exchange) -> Response:
        # A context of its own: the loop would otherwise keep the log fields of its first invocation.
        return self.loop.run(exchange.response(self.application), context=copy_context())


def _forbidden(request_id: str) -> Response:
    made = Problem(HTTPStatus.FORBIDDEN, "AWS has authenticated no caller.").response(request_id)
    return Response(made.status_code, tuple(made.raw_headers), bytes(made.body))


def handler(event: object, context: Context) -> Answer:
    """The function's entry point: `consumer.aws_lambda.api.handler`."""
    return invoke(container, event, context)


@functools.cache
def container() -> ApiFunction:
    """Creates the state of the container on the first invocation. Raises SettingsError."""
    settings = load(ApiSettings)
    logs.configure(settings.log_level)
    return ApiFunction.of(settings)
