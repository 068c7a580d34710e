"""Debian's Chromium without a window, driven by Playwright, and what a test reads in its pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, ViewportSize, expect, sync_playwright

from tests.support.emulators.aws import ROOT, NotInstalledError

WIDE = ViewportSize(width=1100, height=700)
NARROW = ViewportSize(width=360, height=700)
AXE = ROOT / ".tools" / "axe-core" / "node_modules" / "axe-core" / "axe.min.js"
WAIT_MILLIS = 30_000
"""How long Playwright waits for what a test needs. A page refreshes itself every 10 seconds."""
MOST_TABS = 80
REFUSED = "Failed to load resource"
"""What the console says of a page that is an error, and of an issuer that cannot be reached."""

_FOCUS = """() => {
  const focused = document.activeElement;
  const style = getComputedStyle(focused);
  const box = focused.getBoundingClientRect();
  return {
    name: focused.outerHTML.slice(0, 120),
    outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    isInView: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Runs the browser during the block. Raises NotInstalledError."""
    program = shutil.which("chromium")
    if program is None:
        raise NotInstalledError("chromium is missing: install it (Debian: chromium)")
    expect.set_options(timeout=WAIT_MILLIS)
    with sync_playwright() as driver:
        # Chromium refuses to run as root, as CI does, with its sandbox. It visits nothing but our own pages.
        browser = driver.chromium.launch(executable_path=program, chromium_sandbox=False)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(browser: Browser, *, dark: bool = False, narrow: bool = False, expected: str | None = None) -> Iterator[Page]:
    """A page in a session of its own. Afterwards, its console must have no warning or error.

    That includes scripts that fail, and whatever the security policy of a page refuses. `expected`: part of the lines
    that may be there.
    """
    context = browser.new_context(
        viewport=NARROW if narrow else WIDE, color_scheme="dark" if dark else "light", locale="en-GB"
    )
    context.set_default_timeout(WAIT_MILLIS)
    problems: list[str] = []
    try:
        page = context.new_page()
        page.on("console", lambda message: problems.extend(_problem(message)))
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
    finally:
        context.close()
    assert [each for each in problems if expected is None or expected not in each] == []


def _problem(message: ConsoleMessage) -> Iterator[str]:
    if message.type in ("warning", "error"):
        yield f"{message.text} ({message.location['url']})"


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with the page: a line for each element."""
    page.evaluate(_axe())
    found = page.evaluate("() => axe.run({resultTypes: ['violations']})")
    return [f"{rule['id']}: {rule['help']}: {node['html']}" for rule in found["violations"] for node in rule["nodes"]]


@cache
def _axe() -> str:
    if not AXE.exists():
        raise NotInstalledError(f"{AXE.relative_to(ROOT)} is missing: run `make page-test`")
    return AXE.read_text(encoding="utf-8")


def tab_to(page: Page, target: Locator) -> None:
    """Presses Tab until the target has the focus. Whatever has it on the way must be seen to have it."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if not page.evaluate("() => document.activeElement === document.body"):
            focused = page.evaluate(_FOCUS)
            assert focused["outline"] >= 2, focused
            assert focused["isInView"], focused
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"Tab does not lead to {target}")


def style(element: Locator, name: str) -> str:
    """The computed value of a property in CSS. A colour is `rgb(1, 2, 3)`."""
    value = element.evaluate("(element, name) => getComputedStyle(element).getPropertyValue(name)", name)
    return str(value)


def contrast(one: str, other: str) -> float:
    """The contrast of two computed colours, from 1 to 21, as WCAG 2.2 defines it."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(part) / 255) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return float(channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4)
