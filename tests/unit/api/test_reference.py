"""The OpenAPI document, and the page that shows it."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from consumer.api import reference
from tests.support.generators.events import START, USER, created, progress_changed, reset
from tests.support.simulation.api import Api, KnownTokens
from tests.support.simulation.archive import Archived

OPEN, GUARDED = Api(), Api(authenticator=KnownTokens({}))
DOCUMENT: dict[str, Any] = OPEN.get("/openapi.json").json()
PATH = f"/user-limits/{USER}"


def test_it_is_openapi_3_1_and_names_the_routes() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["paths"].keys() == {
        "/user-limits/{userId}",
        "/user-limits/{userId}/headroom",
        "/user-limits/{userId}/{userLimitId}",
        "/user-limits/{userId}/{userLimitId}/history",
    }
    assert all(each.keys() == {"get"} for each in DOCUMENT["paths"].values())


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_every_parameter_and_every_answer_is_described(path: str) -> None:
    operation = DOCUMENT["paths"][path]["get"]
    assert all(parameter["description"] for parameter in operation["parameters"])
    one = {"404"} if "{userLimitId}" in path else set()
    assert operation["responses"].keys() == {"200", "304", "401", "403", "405", "421", "422", "500", "503"} | one
    problems = {status: each["content"] for status, each in operation["responses"].items() if status >= "4"}
    of_problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert problems == dict.fromkeys(problems, of_problem)


def test_every_schema_is_sound_and_describes_every_field() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema["description"], name
        assert [field for field, each in schema["properties"].items() if not each["description"]] == []


def test_a_token_is_required_where_one_is_checked() -> None:
    guarded = GUARDED.get("/openapi.json").json()
    assert guarded["security"] == [{"accessToken": []}]
    assert guarded["components"]["securitySchemes"]["accessToken"]["scheme"] == "bearer"
    assert "security" not in DOCUMENT
    assert "securitySchemes" not in DOCUMENT["components"]


ANSWERS = {
    "": "UserLimitsAnswer",
    "/l-day": "Limit",
    "/l-odd": "Limit",
    "/headroom?type=DEPOSIT": "HeadroomAnswer",
    "/headroom?type=LOSS&currencyCode=SEK": "HeadroomAnswer",
    "/l-day/history": "HistoryAnswer",
    "/l-none": "Problem",
    "?type=WIN": "Problem",
}


@pytest.mark.parametrize(("route", "name"), ANSWERS.items())
def test_answers_are_as_it_says(route: str, name: str) -> None:
    events = (
        created(1, nextResetTime=START, activeUntil=5),
        progress_changed(2, remainingAmount="990"),
        progress_changed(3, userLimitId="l-odd"),
        reset(4, userLimitId="l-reset"),
    )
    archive = Archived()
    archive.deliver(*events, progress_changed(5, amount="no"))
    api = Api(now=START, histories=archive)
    api.store(*events)
    document = DRAFT202012.create_resource(DOCUMENT)
    schema = {"$ref": f"urn:document#/components/schemas/{name}"}
    registry: Registry[Any] = Registry().with_resource("urn:document", document)
    Draft202012Validator(schema, registry=registry).validate(api.get(PATH + route).json())
    # A field that the schema does not know would go unnoticed.
    assert api.get(PATH + route).json().keys() <= DOCUMENT["components"]["schemas"][name]["properties"].keys()


# the page


class Links(HTMLParser):
    """The elements of a page, their attributes, and what is linked."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def all(self, name: str) -> set[str]:
        return {value for found, value in self.attributes if found == name}


def parsed(page: str) -> Links:
    found = Links()
    found.feed(page)
    return found


def test_the_page_has_all_that_the_document_has() -> None:
    answer = OPEN.get("/docs")
    page = answer.body.decode()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for path, operations in DOCUMENT["paths"].items():
        assert f"<code>GET {path}</code>" in page
        assert all(f"<code>{each['name']}</code>" in page for each in operations["get"]["parameters"])
    for schema in DOCUMENT["components"]["schemas"].values():
        assert all(f"<code>{field}</code>" in page for field in schema["properties"])


def test_every_link_leads_somewhere_on_this_server() -> None:
    links = parsed(OPEN.get("/docs").body.decode())
    here = {f"#{name}" for name in links.all("id")}
    assert links.all("href") <= here | {"openapi.json"}
    assert here <= links.all("href") | {"#Problem"}


def test_the_page_has_no_script_and_loads_nothing() -> None:
    answer = OPEN.get("/docs")
    page = answer.body.decode()
    links = parsed(page)
    assert not {"script", "link", "img", "iframe", "form", "object", "base"} & set(links.tags)
    assert not {name for name, _ in links.attributes if name.startswith("on") or name in ("src", "style")}
    assert not re.search(r"https?://|url\(|@import", page)


def test_the_policy_allows_the_style_of_the_page_and_nothing_else() -> None:
    answer = OPEN.get("/docs")
    (style,) = re.findall(r"<style>(.*?)</style>", answer.body.decode(), re.DOTALL)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy.pop("style-src") == f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"
    assert policy == dict.fromkeys(["default-src", "base-uri", "form-action", "frame-ancestors"], "'none'")


def test_the_page_says_whether_a_token_is_needed() -> None:
    assert "needs no access token" in OPEN.get("/docs").body.decode()
    assert "need an access token" in GUARDED.get("/docs").body.decode()


def test_text_of_the_document_is_not_markup() -> None:
    odd = "<b>&`<i>` #<x>"
    document = {
        "info": {"title": odd, "version": odd, "description": odd},
        "paths": {
            odd: {
                "get": {
                    "summary": odd,
                    "description": odd,
                    "parameters": [{"name": odd, "in": odd, "schema": {"enum": [odd]}, "description": odd}],
                    "responses": {"200": {"description": odd}},
                }
            }
        },
        "components": {"schemas": {odd: {"description": odd, "properties": {odd: {"type": odd, "description": odd}}}}},
    }
    page = reference.page(document)
    assert not {"b", "i", "x"} & set(parsed(page).tags)
    assert "&lt;b&gt;" in page
