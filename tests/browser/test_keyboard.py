"""The whole way by keyboard alone. Whatever has the focus is seen to have it."""

from playwright.sync_api import Page, expect

from tests.support.driven.browser import tab_to
from tests.support.driven.site import Sites
from tests.support.generators.events import USER


def test_from_the_search_to_a_record_in_the_quarantine(sites: Sites, page: Page) -> None:
    page.goto(sites.free)
    tab_to(page, page.get_by_label("User id"))
    page.keyboard.type(USER)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Limits of {USER}")

    pause = page.get_by_role("button", name="Pause updates")
    tab_to(page, pause)
    page.keyboard.press("Space")
    expect(pause).to_have_attribute("aria-pressed", "true")

    tab_to(page, page.get_by_role("link", name="The consumer"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("The consumer")

    tab_to(page, page.get_by_role("link", name="SCHEMA"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Quarantine")

    data = page.locator("details").first
    tab_to(page, data.locator("summary"))
    page.keyboard.press("Enter")
    expect(data.locator("pre")).to_be_visible()


def test_the_first_tab_leads_past_the_menu(sites: Sites, page: Page) -> None:
    page.goto(sites.free)
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).not_to_be_in_viewport()
    tab_to(page, skip)
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("User id")).to_be_focused()
