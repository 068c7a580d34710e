"""Where the pages are served, and what their settings may be."""

from collections.abc import Callable

import pytest

from consumer.engine.errors import SettingsError
from consumer.pages.compose import compose
from consumer.settings import PageSettings, load
from tests.support.simulation.pages import KEY, Browser

Given = Callable[..., None]

ISSUER = {"CONSUMER_API_ISSUER": "https://login.example.com", "CONSUMER_API_AUDIENCE": "limits"}
CLIENT = {"CONSUMER_PAGES_CLIENT_ID": "pages"}
ADDRESS = {"CONSUMER_PAGES_URL": "https://limits.example.com/"}
KEY_ADVICE = "use at least 32 printable ASCII characters, such as the output of openssl rand -base64 32"
PROXY = {"CONSUMER_API_TRUSTED_PROXY": "true"}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    def give(**variables: str) -> None:
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return give


def problem() -> str:
    with pytest.raises(SettingsError) as caught:
        load(PageSettings)
    (line,) = caught.value.problems
    return line


def unset(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["unset"] for record in caplog.records if record.name == "consumer.pages.compose"]


@pytest.mark.parametrize(
    "variables", [{}, {"CONSUMER_API_ADDRESS": "localhost:1"}, PROXY | ADDRESS, ISSUER | ADDRESS | CLIENT]
)
def test_the_pages_are_served(given: Given, variables: dict[str, str]) -> None:
    given(**variables)
    browser = Browser(compose(load(PageSettings)))
    assert browser.get("/").status == (303 if "CONSUMER_API_ISSUER" in variables else 200)
    assert browser.get("/docs").status == 200


@pytest.mark.parametrize(
    ("variables", "missing"), [(ISSUER, "CONSUMER_PAGES_CLIENT_ID"), (PROXY, "CONSUMER_PAGES_URL")]
)
def test_the_pages_are_not_served_and_the_log_says_why(
    given: Given, caplog: pytest.LogCaptureFixture, variables: dict[str, str], missing: str
) -> None:
    given(**variables)
    with caplog.at_level("INFO", "consumer"):
        browser = Browser(compose(load(PageSettings)))
    assert unset(caplog) == [missing]
    for path in ("/", "/limits", "/sign-in", "/sign-in/callback", "/signed-out", "/consumer", "/static/pages.css"):
        assert browser.get(path).status == 404
    assert browser.get("/docs").status == 200


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (CLIENT, "CONSUMER_PAGES_CLIENT_ID has no effect without CONSUMER_API_ISSUER: set CONSUMER_API_ISSUER"),
        (
            ISSUER | CLIENT,
            "CONSUMER_PAGES_CLIENT_ID needs CONSUMER_PAGES_URL: the issuer sends people back to this address",
        ),
        (
            {"CONSUMER_PAGES_CLIENT_SECRET": "s"},
            "CONSUMER_PAGES_CLIENT_SECRET has no effect without CONSUMER_PAGES_CLIENT_ID: set CONSUMER_PAGES_CLIENT_ID",
        ),
        (
            {"CONSUMER_PAGES_SESSION_KEY": KEY},
            "CONSUMER_PAGES_SESSION_KEY has no effect without CONSUMER_PAGES_CLIENT_ID: set CONSUMER_PAGES_CLIENT_ID",
        ),
        (
            {"CONSUMER_PAGES_SESSION_KEY": "short"},
            f"CONSUMER_PAGES_SESSION_KEY: {KEY_ADVICE}",
        ),
        (
            {"CONSUMER_PAGES_URL": "http://limits.example.com"},
            "CONSUMER_PAGES_URL: use https, or http on this machine: cookies and codes must not be readable on the way",
        ),
        (
            {"CONSUMER_PAGES_SCOPES": "limits:read"},
            "CONSUMER_PAGES_SCOPES: use scopes separated by single spaces, openid among them",
        ),
        ({"CONSUMER_PAGES_SESSION_SECONDS": "0"}, "CONSUMER_PAGES_SESSION_SECONDS: Input should be greater than 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: Given, variables: dict[str, str], line: str) -> None:
    given(**variables)
    assert problem() == line


@pytest.mark.parametrize(
    "address", ["https://a/path", "https://user:s3cr3t@a", "https://a?s3cr3t", "s3cr3t", "ftp://s3cr3t", "//s3cr3t"]
)
def test_an_address_that_is_none_is_refused_without_being_repeated(given: Given, address: str) -> None:
    given(CONSUMER_PAGES_URL=address)
    assert problem() == "CONSUMER_PAGES_URL: use https://host, without user, password, path or query"


@pytest.mark.parametrize("scopes", ["openid", "openid limits:read", "profile openid", "a openid b"])
def test_scopes_may_have_any_order(given: Given, scopes: str) -> None:
    given(CONSUMER_PAGES_SCOPES=scopes)
    assert load(PageSettings).pages_scopes == scopes


@pytest.mark.parametrize("scopes", ["openidx", "openid  a", " openid", "openid\ta", 'openid "', "xopenid a"])
def test_scopes_of_another_form_are_refused(given: Given, scopes: str) -> None:
    given(CONSUMER_PAGES_SCOPES=scopes)
    assert problem().startswith("CONSUMER_PAGES_SCOPES: use scopes")


def test_secrets_are_not_in_what_settings_print(given: Given) -> None:
    given(**ISSUER, **CLIENT, **ADDRESS, CONSUMER_PAGES_CLIENT_SECRET="s3cr3t", CONSUMER_PAGES_SESSION_KEY=KEY)
    settings = load(PageSettings)
    assert settings.has_pages
    assert settings.pages_url == "https://limits.example.com"
    assert "s3cr3t" not in repr(settings)
    assert KEY not in repr(settings)
