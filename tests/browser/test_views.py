"""Every view, light and dark, wide and narrow: nothing for axe-core to find, and nothing that scrolls sideways."""

import pytest
from playwright.sync_api import Browser

from tests.support.driven.browser import NARROW, REFUSED, contrast, style, tab, violations
from tests.support.driven.site import VIEWS, Sites


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", VIEWS)
def test_axe_finds_nothing_and_360_pixels_are_enough(
    browser: Browser, sites: Sites, name: str, *, is_dark: bool
) -> None:
    with tab(browser, dark=is_dark, expected=REFUSED) as page:
        sites.show(page, VIEWS[name])
        assert violations(page) == []
        page.set_viewport_size(NARROW)
        assert violations(page) == []
        assert page.evaluate("() => document.scrollingElement.scrollWidth") == NARROW["width"]


def test_axe_sees_what_is_wrong(browser: Browser, sites: Sites) -> None:
    with tab(browser) as page:
        sites.show(page, VIEWS["search"])
        page.evaluate("() => document.querySelector('label').remove()")
        assert [line.partition(":")[0] for line in violations(page)] == ["label"]


def test_the_colours_follow_the_wish_for_dark(browser: Browser, sites: Sites) -> None:
    grounds = []
    for is_dark in (False, True):
        with tab(browser, dark=is_dark) as page:
            sites.show(page, VIEWS["limits"])
            body = page.locator("body")
            ground = style(body, "background-color")
            assert contrast(ground, style(body, "color")) >= 4.5
            grounds.append(ground)
    light, dark = (contrast(ground, "rgb(0, 0, 0)") for ground in grounds)
    assert light > 15
    assert dark < 3
