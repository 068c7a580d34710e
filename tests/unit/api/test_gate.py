"""What every request passes: bounds, ids of requests, HEAD, metrics, and an answer whatever fails."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest

from consumer.api.callers import Authenticator, Caller, KeysUnavailable
from consumer.api.gate import Bounds
from consumer.limits.repository import LimitsPage
from tests.support.generators.events import START, USER, created
from tests.support.simulation.api import Answer, Api, KnownTokens, call

PATH = f"/user-limits/{USER}"
PROBLEM = "application/problem+json"


@dataclass
class Held:
    """A reader whose read number `last` waits until `release` is set. `is_waiting` is set then."""

    last: int = 1
    release: Event = field(default_factory=Event)
    is_waiting: Event = field(default_factory=Event)
    reads: int = 0

    def page(self, _user_id: str, _after: str | None = None, *, consistent: bool = True) -> LimitsPage:  # noqa: ARG002
        self.reads += 1
        if self.reads < self.last:
            return LimitsPage(START, [], after=f"l-{self.reads}")
        self.is_waiting.set()
        assert self.release.wait(60)
        return LimitsPage(START, [], after=f"l-{self.reads}" if self.last > 1 else None)

    def one(self, user_id: str, _user_limit_id: str, *, consistent: bool = True) -> LimitsPage:
        return self.page(user_id, consistent=consistent)


@dataclass(frozen=True)
class Failing:
    """A reader and an authenticator that raise."""

    error: Exception

    def page(self, _user_id: str, _after: str | None = None, *, consistent: bool = True) -> LimitsPage:  # noqa: ARG002
        raise self.error

    def one(self, user_id: str, _user_limit_id: str, *, consistent: bool = True) -> LimitsPage:
        return self.page(user_id, consistent=consistent)

    async def caller(self, _authorization: str | None) -> Caller:
        raise self.error


def counts(api: Api) -> dict[str, float]:
    """The counts that are not 0."""
    text = Api(metrics=api.metrics).get("/metrics").body.decode()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines if float(value) and "_total" in name}


def held_api(bounds: Bounds, last: int = 1) -> tuple[Api, Held]:
    api, held = Api(bounds=bounds), Held(last)
    api.serve(held)
    return api, held


@asynccontextmanager
async def waiting(api: Api, held: Held) -> AsyncIterator["asyncio.Task[Answer]"]:
    """A request whose read waits during the block."""
    request = asyncio.create_task(call(api.app, PATH))
    assert await asyncio.to_thread(held.is_waiting.wait, 60)
    try:
        yield request
    finally:
        held.release.set()


# bounds


def test_one_request_too_many_is_refused_and_probes_are_answered() -> None:
    api, held = held_api(Bounds(requests=1, seconds=60))

    async def run() -> tuple[list[Answer], Answer]:
        async with waiting(api, held) as request:
            others = [await call(api.app, target) for target in (PATH, "/docs", "/livez", "/metrics")]
        return others, await request

    (refused, page, live, metrics), served = asyncio.run(run())
    assert (refused.status, refused.headers["retry-after"], refused.headers["content-type"]) == (503, "1", PROBLEM)
    assert [page.status, live.status, metrics.status, served.status] == [503, 200, 200, 200]
    assert b"consumer_api_requests_in_flight 1.0\n" in metrics.body
    assert api.get(PATH).status == 200, "there is room again"


def test_a_request_that_takes_too_long_is_ended_and_its_room_is_free() -> None:
    api, held = held_api(Bounds(requests=1, seconds=0.05))
    try:
        first, second = api.get(PATH), api.get(PATH)
    finally:
        held.release.set()
    assert [(answer.status, answer.headers["retry-after"]) for answer in (first, second)] == [(503, "1")] * 2
    assert held.reads <= 1, "the read of the first request still has the only thread"


def test_a_request_that_ended_reads_no_further_page() -> None:
    api, held = held_api(Bounds(requests=1, seconds=60), last=2)

    async def run() -> None:
        async with waiting(api, held) as request:
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request

    asyncio.run(run())
    assert api.get("/readyz").status == 200, "the only thread is free"
    assert held.reads == 3, "two for the request, one for the probe"


# failures


@pytest.mark.parametrize("error", [ValueError(f"bad input {USER}"), TimeoutError("of a library"), RuntimeError()])
@pytest.mark.parametrize("who", ["reader", "authenticator"])
def test_a_failure_is_500_and_logged_under_the_id_of_the_request(
    error: Exception, who: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing(error)
    api = Api(authenticator=failing) if who == "authenticator" else Api()
    api.serve(failing)
    answer = api.get(PATH)
    assert (answer.status, answer.headers["content-type"]) == (500, PROBLEM)
    assert USER not in answer.body.decode()
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (record.getMessage(), vars(record)["route"]) == ("a request failed", "/user-limits/{userId}")
    assert record.exc_info
    # asyncio makes another TimeoutError of one that comes from a thread.
    assert repr(record.exc_info[1]) == repr(error)


def test_keys_that_cannot_be_fetched_are_503() -> None:
    api = Api(authenticator=Failing(KeysUnavailable("connection refused")))
    answer = api.get(PATH)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert counts(api)['consumer_api_refused_tokens_total{reason="keys_unavailable"}'] == 1


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/user-limits", 404),
        ("GET", "/user-limits/", 404),
        ("GET", f"{PATH}/", 404),
        ("GET", f"{PATH}/a/b", 404),
        ("GET", "//user-limits/u", 404),
        ("GET", "/%75ser-limits/u", 404),
        ("GET", "/docs/", 404),
        ("POST", PATH, 405),
        ("DELETE", f"{PATH}/l-1", 405),
        ("OPTIONS", f"{PATH}/headroom", 405),
        ("BREW", "/openapi.json", 405),
    ],
)
def test_every_error_is_a_problem(method: str, target: str, status: int) -> None:
    answer = Api().get(target, method=method)
    problem = answer.json()
    assert (answer.status, problem["status"], problem["type"]) == (status, status, "about:blank")
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["cache-control"] == "no-store"
    assert problem["requestId"] == answer.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]
    assert answer.headers.get("allow") == ("GET" if status == 405 else None)


# HEAD and ids of requests


@pytest.mark.parametrize("target", [PATH, "/docs", "/livez", "/nothing"])
def test_head_is_get_without_a_body(target: str) -> None:
    api = Api()
    got, head = api.get(target), api.get(target, method="HEAD")
    assert (head.status, head.body) == (got.status, b"")
    assert {name: value for name, value in head.headers.items() if name != "x-request-id"} == {
        name: value for name, value in got.headers.items() if name != "x-request-id"
    }


def test_the_id_of_a_request_is_the_callers() -> None:
    assert Api().get("/livez", {"X-Request-Id": "Root=1-abc.d_e"}).headers["x-request-id"] == "Root=1-abc.d_e"


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "x" * 65, '"', "{}", "\u00e9"])
def test_an_id_that_cannot_be_logged_is_replaced(given: str) -> None:
    api = Api()
    ids = {api.get(target, {"X-Request-Id": given}).headers["x-request-id"] for target in ("/livez", "/livez")}
    assert len(ids) == 2
    assert all(len(each) == 32 for each in ids)


def test_no_answer_is_taken_for_another_type() -> None:
    for target in (PATH, "/docs", "/metrics", "/nothing"):
        assert Api().get(target).headers["x-content-type-options"] == "nosniff"


# metrics


def test_requests_are_counted_by_route_and_status() -> None:
    api = Api(authenticator=KnownTokens({"own": Caller(USER, frozenset()), "other": Caller("u", frozenset())}))
    api.store(created(1))
    own = {"Authorization": "Bearer own"}
    tag = api.get(PATH, own).headers["etag"]
    api.get(PATH, {**own, "If-None-Match": tag})
    api.get(f"{PATH}/l-9", own)
    api.get(f"{PATH}/headroom", own)
    api.get("/user-limits/%00", own)
    api.get(PATH)
    api.get(PATH, {"Authorization": "Bearer wrong"})
    api.get(PATH, {"Authorization": "Bearer other"})
    api.get(PATH, method="POST")
    api.get(f"/{USER}")
    api.get("/livez")
    route = "/user-limits/{userId}"
    assert counts(api) == {
        f'consumer_api_requests_total{{route="{route}",status="200"}}': 1,
        f'consumer_api_requests_total{{route="{route}",status="304"}}': 1,
        f'consumer_api_requests_total{{route="{route}",status="401"}}': 2,
        f'consumer_api_requests_total{{route="{route}",status="403"}}': 1,
        f'consumer_api_requests_total{{route="{route}",status="405"}}': 1,
        f'consumer_api_requests_total{{route="{route}",status="422"}}': 1,
        f'consumer_api_requests_total{{route="{route}/{{userLimitId}}",status="404"}}': 1,
        f'consumer_api_requests_total{{route="{route}/headroom",status="422"}}': 1,
        'consumer_api_requests_total{route="unmatched",status="404"}': 1,
        'consumer_api_refused_tokens_total{reason="missing"}': 1,
        'consumer_api_refused_tokens_total{reason="signature"}': 1,
        'consumer_api_refused_tokens_total{reason="forbidden"}': 1,
    }


def test_a_request_that_is_cancelled_is_no_longer_in_flight() -> None:
    api, held = held_api(Bounds(requests=1, seconds=60))

    async def run() -> None:
        async with waiting(api, held) as request:
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request

    asyncio.run(run())
    assert api.metrics.in_flight == 0
    assert counts(api) == {'consumer_api_requests_total{route="/user-limits/{userId}",status="none"}': 1}


# what the server sends beyond requests


def test_a_response_that_cannot_be_sent_in_time_stays_incomplete() -> None:
    api, begun = Api(bounds=Bounds(requests=1, seconds=0.05)), []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        begun.append(message["type"])
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/openapi.json",
        "raw_path": b"/openapi.json",
        "query_string": b"",
        "headers": [],
    }
    asyncio.run(api.app(scope, receive, send))
    assert begun == ["http.response.start", "http.response.body"]
    assert api.metrics.in_flight == 0


def test_a_path_without_its_raw_form_is_encoded_again() -> None:
    api = Api()
    api.store(created(1, userId="a b"))

    async def ask() -> Any:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/user-limits/a b", "query_string": b"", "headers": []}
        await api.app(scope, receive, send)
        return json.loads(sent[1]["body"])

    assert len(asyncio.run(ask())["limits"]) == 1


@pytest.mark.parametrize("authenticator", [KnownTokens({}), Failing(RuntimeError())], ids=["tokens", "failing"])
@pytest.mark.parametrize("target", ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs"])
def test_what_holds_no_limits_needs_no_token(authenticator: Authenticator, target: str) -> None:
    assert Api(authenticator=authenticator).get(target).status == 200
