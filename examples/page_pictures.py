"""Draws docs/images/page-*.png from a real run of `consumer serve`: `python -m examples.page_pictures docs/images`.

The limits of a user, light, dark and narrow; the consumer, while its worker gets events; its quarantine; signing in.
"""

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import NamedTuple

from playwright.sync_api import Browser, Page, expect

from tests.support.driven.browser import NARROW, REFUSED, WIDE, chromium, tab
from tests.support.driven.scenario import samples
from tests.support.driven.site import VIEWS, Filled, Sites, filled, open_pages, pages_of
from tests.support.emulators.issuer import issuer

MOST_BYTES = 120_000
"""Pictures are part of the repository."""
HEIGHT = 630
ROUNDS = 4
"""How often the page of the consumer refreshes itself before it is drawn, with more events each time."""


class Picture(NamedTuple):
    view: str
    is_dark: bool = False
    is_narrow: bool = False


PICTURES: Mapping[str, Picture] = MappingProxyType(
    {
        "limits": Picture("limits"),
        "limits-dark": Picture("limits", is_dark=True),
        "limits-narrow": Picture("limits", is_narrow=True),
        "quarantine": Picture("a reason"),
        "sign-in": Picture("sign in"),
        "consumer": Picture("consumer"),
    }
)


def main() -> None:
    target = Path(sys.argv[1]).resolve()
    with TemporaryDirectory(prefix="pages-") as directory, ExitStack() as stack:
        place = Path(directory)
        behind = stack.enter_context(filled(place))
        op = stack.enter_context(issuer())
        free = stack.enter_context(open_pages(behind, place / "free.log"))
        guarded = stack.enter_context(pages_of(op, behind, place / "guarded.log"))
        browser = stack.enter_context(chromium())
        for name, picture in PICTURES.items():
            _draw(browser, Sites(free, guarded, op), behind, picture, target / f"page-{name}.png")


def _draw(browser: Browser, sites: Sites, behind: Filled, picture: Picture, file: Path) -> None:
    with tab(browser, dark=picture.is_dark, narrow=picture.is_narrow, expected=REFUSED) as page:
        sites.show(page, VIEWS[picture.view])
        if picture.view == "consumer":
            _fill_charts(page, behind)
        width = (NARROW if picture.is_narrow else WIDE)["width"]
        drawn = page.screenshot(animations="disabled", clip={"x": 0, "y": 0, "width": width, "height": HEIGHT})
    file.write_bytes(drawn)
    if len(drawn) > MOST_BYTES:
        print(f"{file.name} has {len(drawn)} bytes, more than {MOST_BYTES}: show less", file=sys.stderr)


def _fill_charts(page: Page, behind: Filled) -> None:
    read_at = page.locator("#part-status dl > div", has_text="Read at").locator("dd")
    for seed in range(ROUNDS):
        before = read_at.inner_text()
        behind.put(samples(seed, 200 * (seed % 3 + 1)))
        expect(read_at).not_to_have_text(before)
    page.locator("#part-throughput").scroll_into_view_if_needed()


if __name__ == "__main__":
    main()
