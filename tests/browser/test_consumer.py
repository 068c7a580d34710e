"""The page of the consumer and its quarantine in the browser, beside a real worker."""

from playwright.sync_api import Page, expect

from tests.support.driven.site import BAD, VIEWS, Filled, Sites


def test_it_shows_the_worker_its_shards_and_its_throughput(sites: Sites, page: Page) -> None:
    sites.show(page, VIEWS["consumer"])
    shards = page.get_by_role("region", name="Shards that are not read to their end").locator("tbody tr")
    workers = page.get_by_role("region", name="Workers").locator("tbody tr")
    expect(shards).to_have_count(2)
    expect(workers).to_have_count(1)
    name = workers.get_by_role("rowheader").inner_text()
    assert [row.get_by_role("cell").first.inner_text() for row in shards.all()] == [name, name]
    for image in page.get_by_role("img").all():
        expect(image).to_be_visible()
    assert page.get_by_role("img").count() == page.locator("figure").count() > 0


def test_what_has_the_focus_keeps_it_when_the_page_refreshes_itself(sites: Sites, page: Page) -> None:
    sites.show(page, VIEWS["consumer"])
    page.evaluate("() => { window.isSame = true; }")
    read_at = page.locator("#part-status dl > div", has_text="Read at").locator("dd")
    before = read_at.inner_text()
    workers = page.get_by_role("region", name="Workers")
    workers.focus()
    expect(read_at).not_to_have_text(before)
    expect(workers).to_be_focused()
    assert page.evaluate("() => window.isSame")


def test_the_quarantine_by_reason_and_by_record(sites: Sites, behind: Filled, page: Page) -> None:
    kept = behind.stage.quarantined()
    sites.show(page, VIEWS["consumer"])
    expect(page.locator("#part-quarantine .verdict")).to_contain_text(f"{kept.total()} records in dir:")
    page.get_by_role("link", name="SCHEMA").click()
    expect(page.get_by_role("heading", level=2, name="Records with the reason SCHEMA")).to_be_visible()
    record = page.locator("li", has_text="<b>bold</b>")
    record.locator("summary").click()
    expect(record.locator("pre")).to_have_text(BAD)
    assert page.locator("pre b, pre script").count() == 0
    assert page.evaluate("() => window.ran") is None


def test_all_records_are_on_the_pages_of_the_quarantine(sites: Sites, behind: Filled, page: Page) -> None:
    sites.show(page, VIEWS["quarantine"])
    positions = page.locator("h3 code")
    seen = positions.all_inner_texts()
    while page.locator("a[rel=next]").count():
        page.locator("a[rel=next]").click()
        expect(page.locator("ol.records")).to_have_attribute("start", str(len(seen) + 1))
        seen += positions.all_inner_texts()
    assert len(seen) > 20
    assert sorted(seen) == sorted(str(entry.record.position) for entry in behind.stage.quarantine().entries())
