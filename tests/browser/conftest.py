"""One worker, one server for each kind of access, and one browser. Each test has a session of its own in it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.support.driven.browser import chromium, tab
from tests.support.driven.site import Filled, Sites, filled, open_pages, pages_of
from tests.support.emulators.issuer import issuer


@pytest.fixture(scope="session")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """What the pages show."""
    with filled(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="session")
def sites(behind: Filled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    logs = tmp_path_factory.mktemp("logs")
    with (
        issuer() as op,
        open_pages(behind, logs / "free") as free,
        pages_of(op, behind, logs / "guarded") as guarded,
    ):
        yield Sites(free, guarded, op)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Wide and light. The test fails if the console of the page has a warning or an error."""
    with tab(browser) as opened:
        yield opened
