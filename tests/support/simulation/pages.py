"""The pages over limits in memory, called without a server, and what a test reads in them."""

import asyncio
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import Morsel, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI

from consumer.api.histories import Histories
from consumer.api.tokens import tokens
from consumer.pages.compose import add_pages
from consumer.settings import PageSettings
from tests.support.emulators.issuer import AUDIENCE, Issuer
from tests.support.generators.events import START
from tests.support.simulation.api import Answer, Api, call

HOST = "127.0.0.1:8080"
URL = f"http://{HOST}"
CLIENT = "limits-pages"
KEY = "a-key-of-the-tests-that-is-long-enough"
VOID = frozenset({"meta", "link", "input", "rect", "br", "img"})


@dataclass
class Element:
    """`text`: everything in it, with single blanks."""

    tag: str
    attributes: dict[str, str | None]
    parent: "Element | None"
    words: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        """An attribute, empty if it has no value."""
        return self.attributes[name] or ""

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def within(self, tag: str) -> bool:
        return self.parent is not None and (self.parent.tag == tag or self.parent.within(tag))


class Document(HTMLParser):
    """The elements of a page, or of a part of one, all of which must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs), self._open[-1] if self._open else None))
        assert len(self.elements[-1].attributes) == len(attrs), "an attribute twice"
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.words.append(data)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """The elements with this tag, and with these attributes: `data_x` is `data-x`, `class_` is `class`."""
        wanted = {name.strip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [each for each in self.elements if each.tag == tag and wanted.items() <= each.attributes.items()]

    def one(self, tag: str, **attributes: str) -> Element:
        (found,) = self.all(tag, **attributes)
        return found

    def texts(self, tag: str, **attributes: str) -> list[str]:
        return [each.text for each in self.all(tag, **attributes)]


@dataclass
class Browser:
    """Calls the application as a browser does: it keeps cookies. It follows nothing by itself."""

    app: FastAPI
    cookies: dict[str, Morsel[str]] = field(default_factory=dict)

    def get(self, target: str, method: str = "GET", **headers: str) -> Answer:
        sent = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={each.value}" for name, each in self.cookies.items())
        answer = asyncio.run(call(self.app, target, sent.items(), method))
        self._keep(answer)
        return answer

    def page(self, target: str, **headers: str) -> Document:
        """A page that is there."""
        answer = self.get(target, **headers)
        assert answer.status == 200, answer.body
        return document(answer)

    def back_from(self, op: Issuer, target: str = "/") -> str:
        """Asks for a page and signs in. Returns the address to which the issuer sends the browser."""
        asked = self.get(target)
        assert asked.status == 303, asked.body
        link = next(each for each in self.page(asked.headers["location"]).all("a") if each.within("main"))
        return local(op.authorized(link["href"]))

    def sign_in(self, op: Issuer, target: str = "/") -> Answer:
        """Asks for a page, signs in, and returns the last answer, which leads to the page."""
        return self.get(self.back_from(op, target))

    def _keep(self, answer: Answer) -> None:
        for header in answer.headers.getlist("set-cookie"):
            for name, each in SimpleCookie(header).items():
                self.cookies[name] = each
                if each["max-age"] == "0":
                    del self.cookies[name]


def local(address: str) -> str:
    """The path and query of an address of the pages."""
    place = urlsplit(address)
    assert f"{place.scheme}://{place.netloc}" in (URL, URL.replace("http:", "https:")), address
    return f"{place.path}?{place.query}"


def document(answer: Answer) -> Document:
    assert answer.headers["content-type"] == "text/html; charset=utf-8", answer.headers
    return Document(answer.body.decode())


def settings(**given: Any) -> PageSettings:
    return PageSettings(region="eu-west-1", **given)


def of_issuer(op: Issuer, **given: Any) -> PageSettings:
    """Settings with which people sign in."""
    usual = {"api_issuer": op.url, "api_audience": AUDIENCE, "pages_client_id": CLIENT, "pages_url": URL}
    return settings(**{**usual, "pages_session_key": KEY, **given})


def served(
    op: Issuer | None = None, now: int = START, histories: Histories | None = None, **given: Any
) -> tuple[Api, Browser]:
    """The limits, and a browser that sees the pages. `now`: epoch milliseconds, of the limits alone."""
    if op is None:
        chosen, api = settings(**given), Api(now=now, histories=histories)
    else:
        chosen = of_issuer(op, **given)
        authenticator = tokens(op.url, AUDIENCE, user_claim=chosen.api_user_claim)
        api = Api(now=now, authenticator=authenticator, histories=histories)
    add_pages(api.app, chosen)
    return api, Browser(api.app)
