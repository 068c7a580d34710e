"""The names under which the API answers."""

import pytest

from consumer.api.app import app
from consumer.api.hosts import any_host, local_host, one_of
from consumer.api.metrics import ApiMetrics
from consumer.limits.repository import LimitReader
from consumer.pages.compose import compose
from consumer.settings import PageSettings
from tests.support.simulation.api import BOUNDS, Api

LOCAL = [
    "localhost",
    "localhost:8080",
    "LOCALHOST:1",
    "127.0.0.1",
    "127.0.0.1:8080",
    "127.9.9.9",
    "[::1]",
    "[::1]:8080",
]
FOREIGN = [
    "",
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.7",
    "[::2]",
]
ODD = ["evil.example@localhost:1:2", "[::1", "localhost evil", "localhost/..", "\x00", "[localhost]"]


@pytest.mark.parametrize("header", LOCAL)
def test_this_machine_has_several_names(header: str) -> None:
    assert local_host(header)


@pytest.mark.parametrize("header", [*FOREIGN, *ODD, "localhost:", "localhost:x", "evil.example@localhost"])
def test_no_other_name_is_this_machines(header: str) -> None:
    assert not local_host(header)


@pytest.mark.parametrize("header", [*LOCAL, *FOREIGN, *ODD])
def test_names_are_compared_whole_and_without_case(header: str) -> None:
    known = one_of(["Limits.example.com", "10.0.0.8"])
    assert not known(header)
    assert known("limits.EXAMPLE.com:443")
    assert known("10.0.0.8")


def served(is_local: bool) -> Api:
    api = Api()
    api.app = app(
        LimitReader(api.rows, lambda: api.now),
        api.authenticator,
        ApiMetrics(),
        BOUNDS,
        local_host if is_local else any_host,
    )
    return api


@pytest.mark.parametrize("path", ["/user-limits/u-anna", "/docs", "/openapi.json", "/nothing"])
def test_a_request_under_another_name_is_refused(path: str) -> None:
    api = served(is_local=True)
    answer = api.get(path, {"Host": "evil.example"})
    assert (answer.status, answer.headers["content-type"]) == (421, "application/problem+json")
    assert (answer.json()["status"], api.rows.reads) == (421, [])
    assert api.get(path, {"Host": "127.0.0.1:8080"}).status != 421


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_probes_are_answered_under_any_name(path: str) -> None:
    assert served(is_local=True).get(path, {"Host": "10.0.0.7:8080"}).status == 200


@pytest.mark.parametrize(
    ("settings", "header", "status"),
    [
        ({}, "evil.example", 421),
        ({"api_trusted_proxy": True, "api_hosts": ("localhost",)}, "evil.example", 421),
        ({"api_hosts": ("limits.example.com",)}, "localhost", 421),
        ({"api_issuer": "https://id.example.com", "api_audience": "limits"}, "evil.example", 401),
    ],
)
def test_the_settings_decide(settings: dict[str, object], header: str, status: int) -> None:
    api = Api()
    api.app = compose(PageSettings.model_validate({"region": "eu-north-1", **settings}))
    assert api.get("/user-limits/u-anna", {"Host": header}).status == status


@pytest.mark.parametrize(
    ("hosts", "header", "status"),
    [
        ((), "evil.example", 421),
        ((), "localhost:8080", 200),
        (("limits.example.com",), "limits.example.com", 200),
        (("limits.example.com",), "localhost", 421),
    ],
)
def test_they_decide_for_pages_as_well(hosts: tuple[str, ...], header: str, status: int) -> None:
    api = Api()
    api.app = compose(PageSettings.model_validate({"region": "eu-north-1", "api_hosts": hosts}))
    assert api.get("/", {"Host": header}).status == status
