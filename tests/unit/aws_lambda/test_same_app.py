"""The HTTP API answers on Lambda, whoever sends the event, what it answers to the same request on a server."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from consumer.api.callers import Caller
from consumer.aws_lambda.api import ApiFunction
from tests.support.driven.invocations import Clock, Invocation
from tests.support.generators.events import BRAND, LIMIT, USER, created, progress_changed
from tests.support.generators.http_events import SENDERS, Pairs, Sender, plain_load_balancer
from tests.support.simulation.api import Api, KnownTokens, segment

Shown: TypeAlias = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""

SLASHED = "a/b?c#d"
PERCENT = "100%41 é🎲"
TOKENS = {
    "own": Caller(USER, frozenset()),
    "agent": Caller("agent", frozenset({"limits:read"})),
    "other-brand": Caller("agent", frozenset({"limits:read", "limits:brand:other"})),
}
OWN, AGENT = ([("Authorization", f"Bearer {token}")] for token in ("own", "agent"))
EACH = pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS.keys())
KEEPING = ("function-url", "rest-api", "load-balancer", "plain-load-balancer")
"""The senders that leave a path as it was sent."""


@dataclass
class Both:
    """One application, on Lambda and on a server."""

    api: Api
    function: ApiFunction

    def ask(self, event: object) -> Shown:
        """The answer of the function, as the client of the event's sender gets it."""
        answer = self.function.handle(event, Invocation(Clock(), aws_request_id="7"))
        many: dict[str, Any] = answer.get("multiValueHeaders") or {}
        headers = answer.get("headers") or {name: ", ".join(values) for name, values in many.items()}
        body = answer["body"]
        return answer["statusCode"], headers, base64.b64decode(body) if answer["isBase64Encoded"] else body.encode()

    def served(self, target: str, headers: Pairs = (), method: str = "GET") -> Shown:
        """The answer of a server, without the length, which senders add themselves."""
        found = self.api.get(target, {"X-Request-Id": "7", **dict(headers)}, method)
        kept = {name: value for name, value in found.headers.items() if name != "content-length"}
        return found.status, kept, found.body

    def assert_same(self, sender: Sender, target: str, headers: Pairs = (), method: str = "GET") -> None:
        assert self.ask(sender(target, method, headers)) == self.served(target, headers, method)


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    api = Api(authenticator=KnownTokens(TOKENS))
    api.store(created(1), progress_changed(2), created(3, userLimitId="l-bet", type="BET"))
    api.store(*(created(1, userId=user, userLimitId="l-odd") for user in (SLASHED, PERCENT)))
    function = ApiFunction(api.app, trusts_aws=False)
    yield Both(api, function)
    function.loop.close()


@EACH
@pytest.mark.parametrize("token", [*TOKENS, "unknown", None])
@pytest.mark.parametrize(
    "target",
    [
        f"/user-limits/{USER}",
        f"/user-limits/{USER}?status=ACTIVE&consistency=eventual",
        f"/user-limits/{USER}?type=ODD",
        f"/user-limits/{USER}?odd=1",
        f"/user-limits/{USER}?cursor=!",
        f"/user-limits/{USER}/{LIMIT}",
        f"/user-limits/{USER}/none",
        f"/user-limits/{USER}/headroom?type=DEPOSIT&currencyCode=SEK",
        f"/user-limits/{USER}/headroom",
        f"/user-limits/{segment(PERCENT)}",
        "/user-limits/nobody",
        "/user-limits/%00",
        "/user-limits/..",
        "/user-limits/",
        "/nothing",
        "/openapi.json",
        "/docs",
        "/livez",
        "/metrics/",
    ],
)
def test_an_answer_is_the_same(both: Both, sender: Sender, token: str | None, target: str) -> None:
    headers = [] if token is None else [("Authorization", f"Bearer {token}")]
    for method in ("GET", "HEAD", "POST"):
        both.assert_same(sender, target, headers, method)


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("user", [SLASHED, PERCENT, "..", "\u202e", "a" * 129])
@pytest.mark.parametrize("rest", ["", "/l-odd", "/headroom?type=DEPOSIT"])
def test_an_id_arrives_as_it_was_sent(both: Both, name: str, user: str, rest: str) -> None:
    both.assert_same(SENDERS[name], f"/user-limits/{segment(user)}{rest}", AGENT)


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("odd", ["%ff%fe", "%", "%zz", "%2e%2e", "..%2f..%2fmetrics", "%ed%a0%80", "%0d%0aa:%20b"])
def test_an_odd_id_is_refused_as_a_server_refuses_it(both: Both, name: str, odd: str) -> None:
    for target in (f"/user-limits/{odd}", f"/user-limits/{USER}/{odd}"):
        both.assert_same(SENDERS[name], target, AGENT)


@EACH
def test_repeated_filters_arrive(both: Both, sender: Sender) -> None:
    first, last = f"/user-limits/{USER}?type=DEPOSIT", f"type=BET&brandId={BRAND}"
    wanted = f"/user-limits/{USER}?{last}" if sender is plain_load_balancer else f"{first}&{last}"
    assert both.ask(sender(f"{first}&{last}", headers=OWN)) == both.served(wanted, OWN)


@EACH
def test_what_the_caller_has_is_not_sent_again(both: Both, sender: Sender) -> None:
    target = f"/user-limits/{USER}"
    _, headers, _ = both.ask(sender(target, headers=OWN))

    for tags in (headers["etag"], f'"other", W/{headers["etag"]}', "*"):
        status, _, body = both.ask(sender(target, headers=[*OWN, ("IF-NONE-MATCH", tags)]))
        assert (status, body) == (304, b"")
    assert both.ask(sender(target, headers=[*OWN, ("If-None-Match", '"other"')]))[0] == 200


@EACH
def test_two_tokens_are_refused(both: Both, sender: Sender) -> None:
    """However the sender passes them on: as two headers, or joined. A load balancer without lists keeps one."""
    wanted = 200 if sender is plain_load_balancer else 401
    assert both.ask(sender(f"/user-limits/{USER}", headers=[*OWN, *OWN]))[0] == wanted


@EACH
def test_a_store_that_is_away_is_503(both: Both, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    event = sender(f"/user-limits/{USER}", headers=OWN)
    monkeypatch.setattr(both.api.rows, "is_away", True)
    status, headers, _ = both.ask(event)
    monkeypatch.undo()

    assert (status, headers["content-type"]) == (503, "application/problem+json")
    assert "retry-after" in headers
    assert both.ask(event)[0] == 200
