"""The built site, dist/site: every reference resolves, and nothing is loaded from other hosts.

Zensical checks links between pages and the menu; this checks the rest. `make docs-site` runs it.
"""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

SITE = Path(__file__).parents[2] / "dist" / "site"
PAGES = sorted(SITE.rglob("*.html"))
LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src"}
"""What a browser loads with the page. A `link` may also only announce another page."""


class References(HTMLParser):
    """The addresses that a page links to, and those that it loads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.linked: list[str] = []
        self.loaded: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a":
            self.linked.append(values.get("href") or "")
        elif tag in LOADED:
            self.loaded.append(values.get(LOADED[tag]) or "")


def test_the_site_is_built() -> None:
    assert SITE / "index.html" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(SITE)))
def test_every_reference_leads_into_the_site(page: Path) -> None:
    found = References(page)
    assert [address for address in (*found.linked, *found.loaded) if not _resolves(page, address)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(SITE)))
def test_nothing_is_loaded_from_other_hosts(page: Path) -> None:
    assert [address for address in References(page).loaded if urlsplit(address).netloc] == []


def test_every_page_is_in_the_menu() -> None:
    pages = {page for page in PAGES if page.name != "404.html"}
    home = References(SITE / "index.html").linked
    assert pages == pages & {(SITE / urlsplit(address).path).resolve() for address in home}


@pytest.mark.parametrize("file", sorted(SITE.rglob("*.css")), ids=lambda path: path.name)
def test_no_style_loads_from_other_hosts(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert "url(http" not in text
    assert "@import" not in text


def _resolves(page: Path, address: str) -> bool:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return True
    place = SITE if parts.path.startswith("/") else page.parent
    return not parts.path or (place / unquote(parts.path).lstrip("/")).is_file()
