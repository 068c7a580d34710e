"""The function that serves the HTTP API: one application, one loop, and who is let in."""

import asyncio
import contextvars
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from consumer.aws_lambda import api
from consumer.aws_lambda.api import ApiFunction, Application, Message, NoResponse, Receive, Send
from consumer.aws_lambda.handler import Answer, MalformedInvocation
from consumer.engine.errors import SettingsError
from consumer.monitoring import metrics
from consumer.monitoring.logs import JsonLines
from consumer.settings import ApiSettings
from tests.support.driven.invocations import Clock, Invocation
from tests.support.generators.http_events import ROLE, SENDERS, Sender, function_url, http_api, load_balancer, signed

EACH = pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS.keys())


@dataclass
class Echo:
    """An application that responds with what it got, and notes the loops in which it ran."""

    loops: list[asyncio.AbstractEventLoop] = field(default_factory=list)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.loops.append(asyncio.get_running_loop())
        message = await receive()
        logging.getLogger("consumer.api").info("read")
        body = {"path": scope["path"], "method": scope["method"], "body": message["body"].decode()}
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(body).encode(), "more_body": True})
        await send({"type": "http.response.body"})
        assert (await receive())["type"] == "http.disconnect"


@dataclass
class Container:
    """A container of the function with an application."""

    application: Application
    trusts_aws: bool = False
    function: ApiFunction = field(init=False)

    def __post_init__(self) -> None:
        self.function = ApiFunction(self.application, trusts_aws=self.trusts_aws)

    def ask(self, event: object) -> Answer:
        return self.function.handle(event, Invocation(Clock()))

    def close(self) -> None:
        self.function.loop.close()


@pytest.fixture
def echo() -> Iterator[Container]:
    made = Container(Echo())
    yield made
    made.close()


def responding(*messages: Message, error: Exception | None = None) -> Application:
    """An application that sends these messages, and then raises the error."""

    async def application(_scope: Message, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if error:
            raise error

    return application


START: Message = {"type": "http.response.start", "status": 500, "headers": []}
END: Message = {"type": "http.response.body", "body": b"sorry"}


# --- One request ---------------------------------------------------------------------------------------------------


@EACH
def test_the_application_gets_the_request_and_the_sender_its_answer(echo: Container, sender: Sender) -> None:
    found = echo.ask(sender("/user-limits/a%2541", "POST", body="é".encode()))

    assert found["statusCode"] == 200
    assert json.loads(found["body"]) == {"path": "/user-limits/a%41", "method": "POST", "body": "é"}
    assert "application/json" in json.dumps(found.get("headers") or found["multiValueHeaders"])


def test_all_invocations_share_a_loop_so_that_connections_stay_valid(echo: Container) -> None:
    for _ in range(3):
        echo.ask(function_url("/"))

    assert isinstance(echo.application, Echo)
    assert len(echo.application.loops) == 3
    assert len(set(echo.application.loops)) == 1


def test_an_event_that_is_no_request_is_an_error(echo: Container) -> None:
    with pytest.raises(MalformedInvocation):
        echo.ask({"Records": []})
    assert echo.ask(function_url("/"))["statusCode"] == 200


def test_the_loop_keeps_no_context_of_an_invocation() -> None:
    number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)
    seen: list[int] = []

    async def application(_scope: Message, _receive: Receive, send: Send) -> None:
        seen.append(number.get())
        number.set(-1)
        await send(START)
        await send(END)

    container = Container(application)
    for each in (1, 2):
        number.set(each)
        container.ask(function_url("/"))
    container.close()

    assert seen == [1, 2]


# --- Applications that fail ----------------------------------------------------------------------------------------


def test_an_error_after_the_response_is_logged_and_the_response_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    container = Container(responding(START, END, error=ValueError("of the user 1")))
    found = container.ask(function_url("/"))
    container.close()

    assert (found["statusCode"], found["body"]) == (500, "sorry")
    (failed,) = [each for each in caplog.records if each.message == "request failed"]
    line = json.loads(JsonLines().format(failed))
    assert "ValueError" in line["error"]
    assert "of the user" not in line["error"]


@pytest.mark.parametrize(
    ("application", "error"),
    [
        (responding(error=ValueError("early")), ValueError),
        (responding(START, error=ValueError("half-way")), ValueError),
        (responding(START, {**END, "more_body": True}, error=ValueError("half-way")), ValueError),
        (responding(), NoResponse),
        (responding(START), NoResponse),
        (responding(START, {**END, "more_body": True}), NoResponse),
    ],
    ids=["nothing", "start", "half", "silent", "silent-start", "silent-half"],
)
def test_without_a_complete_response_the_invocation_fails(application: Application, error: type[Exception]) -> None:
    container = Container(application)
    with pytest.raises(error):
        container.ask(function_url("/"))
    container.close()


def test_an_application_that_waits_for_the_end_of_the_connection_waits_until_it_has_responded() -> None:
    order: list[str] = []

    async def application(_scope: Message, receive: Receive, send: Send) -> None:
        await receive()

        async def listen() -> None:
            order.append((await receive())["type"])

        waiting = asyncio.create_task(listen())
        await asyncio.sleep(0)
        order.append("responding")
        await send(START)
        await send(END)
        await waiting

    container = Container(application)
    container.ask(function_url("/"))
    container.close()

    assert order == ["responding", "http.disconnect"]


# --- Metrics -------------------------------------------------------------------------------------------------------


def measured(lines: list[str]) -> list[dict[str, Any]]:
    """The values of the lines, without the directives."""
    return [{name: value for name, value in json.loads(line).items() if name != "_aws"} for line in lines]


def test_an_invocation_writes_what_it_adds_to_the_metrics() -> None:
    settings = ApiSettings(region="eu-west-1", api_issuer="https://login.example.com", api_audience="limits")
    lines: list[str] = []
    function = ApiFunction.of(settings, lines.append)
    for _ in range(2):
        lines.clear()
        assert function.handle(http_api("/user-limits/secret"), Invocation(Clock()))["statusCode"] == 401
    function.loop.close()

    requests, seconds, refused = sorted(measured(lines), key=lambda line: ("reason" in line, "status" not in line))
    of_all = {"table": settings.table_name}
    route = "/user-limits/{userId}"
    assert requests == {**of_all, "route": route, "status": "401", metrics.API_REQUESTS.name: 1}
    assert seconds.keys() == {*of_all, "route", metrics.API_SECONDS.name}
    assert refused == {**of_all, "reason": "missing", metrics.API_REFUSED_TOKENS.name: 1}
    assert "secret" not in "".join(lines)


def test_an_invocation_that_fails_writes_them_too() -> None:
    written: list[None] = []
    function = ApiFunction(responding(), trusts_aws=False, flush=lambda: written.append(None))
    with pytest.raises(NoResponse):
        function.handle(function_url("/"), Invocation(Clock()))
    function.loop.close()

    assert len(written) == 1


# --- Whom AWS lets in ----------------------------------------------------------------------------------------------


@EACH
def test_a_function_that_trusts_aws_answers_nobody_whom_aws_has_not_authenticated(
    sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    application = Echo()
    container = Container(application, trusts_aws=True)
    found = container.ask(sender("/user-limits/1", headers=[("Authorization", "Bearer x")]))

    assert found["statusCode"] == 403
    assert json.loads(found["body"]).items() >= {"status": 403, "requestId": Invocation.aws_request_id}.items()
    assert application.loops == []
    assert "AWS has authenticated no caller" in caplog.text


@pytest.mark.parametrize("sender", [function_url, http_api, SENDERS["rest-api"]])
def test_a_function_that_trusts_aws_logs_the_caller_in_every_line_of_the_application(
    sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    container = Container(Echo(), trusts_aws=True)
    with caplog.at_level(logging.INFO), capture() as lines:
        assert container.ask(signed(sender("/user-limits/1")))["statusCode"] == 200
    container.close()

    assert [each["caller"] for each in lines if each["message"] == "read"] == [ROLE]


def test_neither_the_path_nor_the_caller_is_in_the_line_of_a_request(
    echo: Container, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), capture() as lines:
        echo.ask(signed(http_api("/user-limits/secret?type=DEPOSIT"), "arn:secret"))
    (line,) = [each for each in lines if each["message"] == "request"]

    assert (line["method"], line["status"]) == ("GET", 200)
    assert line["seconds"] >= 0
    assert "secret" not in json.dumps(line)


class capture(logging.Handler):  # noqa: N801 - used as a context manager
    """The lines that the service logs inside the block, as they are written."""

    def __enter__(self) -> list[dict[str, Any]]:
        self.lines: list[dict[str, Any]] = []
        logging.getLogger("consumer").addHandler(self)
        return self.lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(JsonLines().format(record)))

    def __exit__(self, *_: object) -> None:
        logging.getLogger("consumer").removeHandler(self)


# --- The container -------------------------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, own_logging: None) -> Iterator[pytest.MonkeyPatch]:
    """The variables that Lambda sets, and no container yet."""
    del own_logging
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    api.container.cache_clear()
    yield monkeypatch
    api.container.cache_clear()


def test_a_function_that_nobody_guards_does_not_start(environment: pytest.MonkeyPatch) -> None:
    """Loopback, which needs no issuer, does not exist on Lambda."""
    with pytest.raises(SettingsError, match="CONSUMER_API_ISSUER is not set: set it, or CONSUMER_API_TRUSTED_PROXY"):
        api.handler(function_url("/"), Invocation(Clock()))
    environment.setenv("CONSUMER_API_TRUSTED_PROXY", "true")
    container = api.container()
    assert api.handler(function_url("/"), Invocation(Clock()))["statusCode"] == 403
    container.loop.close()


def test_all_lines_of_an_invocation_have_its_request_id(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CONSUMER_API_TRUSTED_PROXY", "true")
    with capture() as lines:
        api.handler(load_balancer("/user-limits/1"), Invocation(Clock(), aws_request_id="7"))
    api.container().loop.close()

    assert [each["message"] for each in lines][-1] == "request"
    assert {each["request_id"] for each in lines} == {"7"}
