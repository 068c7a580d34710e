"""The limits of a user in the browser: look-up, a limit that is exceeded, ids with markup, figures that change."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from consumer.pages.layout import CONTENT_SECURITY_POLICY
from tests.support.driven.browser import contrast, style, tab
from tests.support.driven.site import (
    CHANGING,
    MARKUP,
    ONE_OF_MANY,
    VIEWS,
    Filled,
    Sites,
    of_user,
    sample,
)
from tests.support.generators.events import USER, progress_changed


def test_a_user_is_looked_up_by_typing_and_enter(sites: Sites, page: Page) -> None:
    page.goto(sites.free)
    page.get_by_label("User id").press_sequentially(USER)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Limits of {USER}")
    expect(page).to_have_url(sites.free + of_user(USER))
    expect(page.get_by_label("User id")).to_have_value(USER)
    expect(page.get_by_role("article", name="Deposit limit per day").first).to_contain_text(
        "850 SEK of 1,000 SEK used, 150 SEK remaining"
    )


def test_every_limit_of_one_user_of_many_is_there(sites: Sites, behind: Filled, page: Page) -> None:
    page.goto(sites.free + of_user(ONE_OF_MANY))
    stored = {limit for user, limit in behind.stage.limits() if user == ONE_OF_MANY}
    assert stored
    assert set(page.get_by_role("article").locator("dd:last-child").all_inner_texts()) >= stored
    expect(page.get_by_role("article")).to_have_count(len(stored))


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_a_limit_that_is_exceeded_says_so_and_has_another_colour(
    browser: Browser, sites: Sites, *, is_dark: bool
) -> None:
    with tab(browser, dark=is_dark) as page:
        sites.show(page, VIEWS["limits"])
        card = page.get_by_role("article", name="Bet limit per calendar week")
        expect(card).to_contain_text("562.5 SEK of 500 SEK used: 62.5 SEK over the limit")
        expect(card.get_by_role("meter")).to_have_attribute("aria-valuenow", "100")
        over, used, ground = card.locator(".over"), card.locator(".used"), style(card, "background-color")
        assert style(over, "fill") != style(used, "fill")
        assert [contrast(style(bar, "fill"), ground) >= 3 for bar in (used, over)] == [True, True]
        assert (style(over, "stroke"), style(over, "stroke-width")) == (ground, "4px"), "a gap at the limit"
        within, beyond = used.bounding_box(), over.bounding_box()
        assert within is not None
        assert beyond is not None
        assert 0.05 < beyond["width"] / within["width"] < 0.25
        assert beyond["x"] > within["x"] + within["width"] / 2


def test_markup_in_an_id_is_text(sites: Sites, page: Page) -> None:
    page.goto(sites.free + of_user(MARKUP))
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Limits of {MARKUP}")
    expect(page.get_by_role("article").get_by_text(MARKUP, exact=True)).to_be_visible()
    expect(page.get_by_label("User id")).to_have_value(MARKUP)
    assert page.title() == f"Limits of {MARKUP} \N{EN DASH} Limits"
    assert page.locator("main img, main script").count() == 0
    assert page.evaluate("() => window.ran") is None


def test_the_policy_lets_no_script_of_the_page_run(browser: Browser, sites: Sites) -> None:
    with tab(browser, expected="Content Security Policy") as page:
        answer = page.goto(sites.free)
        assert answer is not None
        assert answer.header_value("content-security-policy") == CONTENT_SECURITY_POLICY
        page.evaluate("""() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = 1";
            document.body.append(script);
        }""")
        assert page.evaluate("() => window.ran") is None


def test_the_page_shows_a_change_and_keeps_the_focus(sites: Sites, behind: Filled, page: Page) -> None:
    page.goto(sites.free + of_user(CHANGING))
    card, field = page.get_by_role("article"), page.get_by_label("User id")
    expect(card).to_contain_text("0 SEK of 1,000 SEK used, 1,000 SEK remaining")
    page.evaluate("() => { window.isSame = true; }")
    field.fill("u-another")
    behind.put([sample(progress_changed(2, userId=CHANGING, amount="1000"))])
    expect(card).to_contain_text("1,000 SEK of 1,000 SEK used: the limit is reached")
    expect(page.get_by_role("status")).to_contain_text("Changed: Deposit limit per day: 1,000 SEK of 1,000 SEK used")
    expect(field).to_be_focused()
    expect(field).to_have_value("u-another")
    assert page.evaluate("() => window.isSame")


def test_updates_can_be_paused(sites: Sites, page: Page) -> None:
    page.goto(sites.free + of_user(USER))
    button, status = page.get_by_role("button", name="Pause updates"), page.get_by_role("status")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(status).to_have_text("Updates are paused.")
    with page.expect_response(re.compile(r"/limits\?")) as answer:
        button.click()
    assert answer.value.ok
    expect(button).to_have_attribute("aria-pressed", "false")
