"""The page "The consumer": its parts, who sees it, and what it costs."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from consumer.admin.status import Lag, Status
from consumer.api.callers import Caller
from consumer.engine.errors import Unavailable
from consumer.engine.folding import Outcome
from consumer.engine.quarantine import InMemoryQuarantine, Listed, OnForeign, refuse
from consumer.pages import compose, operations
from consumer.pages.sampling import Sample
from consumer.pages.scrapes import Scrape
from consumer.pages.sources import sources_of
from consumer.settings import PageSettings, load
from tests.support.simulation.api import Api, call
from tests.support.simulation.consumer_page import (
    AT,
    OPERATOR,
    ConsumerPage,
    Document,
    lease,
    status_of,
    text,
)

MARKUP = "<script>alert(1)</script><b onclick=x>'\"&\u202e\ud800"


class Away(InMemoryQuarantine):
    """A quarantine that cannot be read."""

    def listing(self, on_foreign: OnForeign = refuse) -> Iterator[Listed]:  # noqa: ARG002
        raise Unavailable("quarantine bucket bucket: AccessDenied")

    def size(self) -> int:
        raise Unavailable("quarantine bucket bucket: AccessDenied")


def away() -> Status:
    raise Unavailable("stream events: ConnectTimeoutError")


# the status


def test_without_problems_the_page_says_so_and_lists_shards_and_workers() -> None:
    page = ConsumerPage().document()
    assert "every shard has a live owner" in page.words("p")
    rows = [row for row in page.words("tr") if row.startswith(("a ", "b ", "w1 "))]
    assert rows == [
        "a w1 …538361571095 at the tip",
        "b w1 …538361571095 3.2 s",
        "w1 2 0.0 s ago cpu 35 % leader",
    ]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (status_of(lease("a")), "no lease"),
        (status_of(lease("a"), lease("b", None)), "no owner"),
        (status_of(lease("a"), lease("b", "gone")), "owner silent"),
        (status_of(lease("a"), lease("b", checkpoint="TRIM_HORIZON")), "nothing checkpointed yet"),
        (status_of(lease("a"), replace(lease("b"), successor="w2")), "moving to w2"),
        (status_of(lease("a"), lease("b"), lags={"b": Lag(None, "Throttled")}), "lag: Throttled"),
    ],
)
def test_what_is_odd_about_a_shard_is_in_its_row(status: Status, words: str) -> None:
    page = ConsumerPage(status=lambda: status).document()
    (row,) = [row for row in page.words("tr") if row.startswith("b ")]
    assert row.endswith(words)


def test_a_missing_leader_and_a_silent_worker_are_said_in_words() -> None:
    page = ConsumerPage(status=lambda: status_of(lease("a"), lease("b", "gone"), leader=None)).document()
    assert "Leader none" in page.words("div")
    assert "gone 1 never - silent" in page.words("tr")
    assert "1 of 2 shards have problems" in page.words("p")


# what fails


def test_without_the_stream_the_rest_is_shown() -> None:
    page = ConsumerPage(status=away).document()
    assert "The status cannot be shown. stream events: ConnectTimeoutError" in page.words("p")
    assert "No records in s3://bucket/quarantine" in page.words("p")


def test_without_the_quarantine_the_rest_is_shown() -> None:
    page = ConsumerPage(kept=Away()).document()
    assert "The quarantine cannot be shown. quarantine bucket bucket: AccessDenied" in page.words("p")
    assert "The number of records cannot be shown. quarantine bucket bucket: AccessDenied" in page.words("p")
    assert "every shard has a live owner" in page.words("p")


def test_an_error_of_the_server_shows_nothing_of_it(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Status:
        raise KeyError("secret")

    answer = ConsumerPage(status=broken).get()
    assert answer.status == 200
    assert "The status cannot be shown.</strong> an error of this server; its log has the reason" in text(answer)
    assert b"secret" not in answer.body
    assert [record.message for record in caplog.records] == ["a part of a page cannot be read"]


def test_a_part_that_takes_long_holds_up_nothing_and_is_shown_later() -> None:
    may_end = threading.Event()

    def slow() -> Status:
        assert may_end.wait(60)
        return status_of(lease("a"), lease("b"))

    page = ConsumerPage(status=slow, wait_seconds=0.01)
    first = text(page.get())
    assert "The status cannot be shown.</strong> no answer within 0.01 s" in first
    may_end.set()
    under_way = page.operations.status._last
    assert under_way is not None
    assert under_way.result(60).value is not None
    assert "every shard has a live owner" in text(page.get())
    assert page.statuses == 1


def test_without_the_settings_of_the_service_the_page_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONSUMER_STREAM_NAME", "CONSUMER_QUARANTINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    sources = sources_of(load(PageSettings))
    read: list[Callable[[], object]] = [sources.status, sources.records, sources.size]
    for each in read:
        with pytest.raises(Unavailable, match=r"not configured for this server: .*CONSUMER_QUARANTINE is not set"):
            each()
    with pytest.raises(Unavailable, match="CONSUMER_STREAM_NAME is not set"):
        sources.status()
    assert sources.place == ""


def test_the_quarantine_needs_no_other_setting_of_the_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.delenv("CONSUMER_STREAM_NAME", raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("CONSUMER_QUARANTINE", f"dir:{tmp_path}")
    sources = sources_of(load(PageSettings))
    assert (sources.size(), sources.records().records, sources.place) == (0, [], f"dir:{tmp_path}")


# who sees it


@pytest.mark.parametrize("path", [operations.PAGE, operations.LIVE, operations.QUARANTINE])
@pytest.mark.parametrize(
    "scopes", [frozenset(), frozenset({"limits:read"}), frozenset({"operations:readx", "operations:"})]
)
def test_without_the_scope_nothing_is_read(path: str, scopes: frozenset[str]) -> None:
    page = ConsumerPage(caller=Caller("u-1", scopes))
    answer = page.get(path)
    assert (answer.status, page.statuses) == (403, 0)
    assert "operations:read" in text(answer)
    assert "Quarantine" not in text(answer)


@pytest.mark.parametrize("path", [operations.PAGE, operations.LIVE, operations.QUARANTINE])
@pytest.mark.parametrize("caller", [None, OPERATOR])
def test_operators_and_everybody_on_this_machine_see_it(path: str, caller: Caller | None) -> None:
    answer = ConsumerPage(caller=caller).get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", [operations.PAGE, operations.LIVE, operations.QUARANTINE])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_can_only_be_read(path: str, method: str) -> None:
    assert ConsumerPage().get(path, method).status == 405


# what is in it


def test_text_from_elsewhere_never_becomes_markup() -> None:
    odd = status_of(replace(lease("a", MARKUP), origin=MARKUP), lease("b", MARKUP, MARKUP), leader=MARKUP)
    page = ConsumerPage(status=lambda: odd, place=f"dir:{MARKUP}")
    harmless = len(ConsumerPage().document().of("script"))
    found = page.document()
    assert len(found.of("script")) == harmless
    assert found.of("b") == []
    assert "<script>alert(1)</script><b onclick=x>'\"&\\u202e\\ud800" in " ".join(found.words("td"))


@pytest.mark.parametrize("path", [operations.PAGE, operations.QUARANTINE])
def test_the_policy_for_content_holds(path: str) -> None:
    found = ConsumerPage(addresses=["http://127.0.0.1:1/metrics"]).document(path)
    assert [element.tag for element in found.elements if "style" in element.attributes] == []
    assert found.of("style") == []
    assert [name for element in found.elements for name in element.attributes if name.startswith("on")] == []
    assert [element.words for element in found.of("script")] == [""] * len(found.of("script"))


@pytest.mark.parametrize("path", [operations.PAGE, operations.LIVE, operations.QUARANTINE])
def test_ids_are_unique_and_labels_lead_to_them(path: str) -> None:
    page = ConsumerPage(addresses=["http://127.0.0.1:1/metrics"])
    sample(page, 0.0, 0)
    sample(page, 5.0, 50)
    found = page.document(path)
    ids = [element.attributes["id"] for element in found.elements if "id" in element.attributes]
    assert len(set(ids)) == len(ids)
    labels = [element.attributes.get("aria-labelledby") for element in found.elements]
    assert {part for label in labels if label for part in label.split()} <= {*ids}


def test_the_part_that_changes_is_the_same_without_the_frame() -> None:
    page = ConsumerPage()
    whole, part = page.get().body.decode(), page.get(operations.LIVE).body.decode()
    assert "<html" not in part
    assert part.strip() in whole


# throughput


def sample(page: ConsumerPage, ago: float, applied: float) -> None:
    """Adds a sample of the first address. `ago` is in seconds, from an old one to newer ones."""
    read = Scrape({Outcome.APPLIED: applied}, 1.5) if applied >= 0 else None
    (address,) = page.addresses
    clock = page.sampler._around.clock()
    found = {address: read} if read else {}
    page.sampler._samples.append(Sample(AT + ago, clock - 100 + ago, found, {} if read else {address: "status 500"}))


def test_without_addresses_of_workers_there_are_no_charts() -> None:
    found = ConsumerPage().document()
    assert found.of("svg") == []
    assert "No charts: CONSUMER_PAGES_METRICS_URLS names no metrics of workers." in found.words("p")


def test_before_the_second_sample_the_page_says_what_it_waits_for() -> None:
    found = ConsumerPage(addresses=["http://w/metrics"]).document()
    assert found.of("svg") == []
    assert "Values of 1 of 1 workers are missing." in found.words("p")
    assert "http://w/metrics: not read yet" in found.words("li")


def test_charts_have_names_values_and_a_table() -> None:
    page = ConsumerPage(addresses=["http://w/metrics"])
    sample(page, 0.0, 100)
    sample(page, 5.0, 150)
    found = page.document()
    assert "All records: 10 records per second" in found.words("figcaption")
    assert "Behind the stream, the furthest shard: 1.5 seconds" in found.words("figcaption")
    assert len(found.of("svg")) == len(found.words("title")) - 1 == 7
    assert "00:00 10 10 0 0 0 0 1.5" in found.words("tr")


def test_a_worker_that_does_not_answer_is_named() -> None:
    page = ConsumerPage(addresses=["http://w/metrics"])
    sample(page, 0.0, 100)
    sample(page, 5.0, -1)
    found = page.document()
    assert "Values of 1 of 1 workers are missing." in found.words("p")
    assert "http://w/metrics: status 500" in found.words("li")
    assert "All records: not known" in found.words("figcaption")


# what it costs


def test_many_visitors_cost_one_read() -> None:
    page = ConsumerPage()

    async def visit() -> list[int]:
        return [answer.status for answer in await asyncio.gather(*(page.call() for _ in range(6)))]

    assert asyncio.run(visit()) == [200] * 6
    assert page.get().status == 200
    assert page.statuses == 1


def test_the_number_of_records_needs_no_permission_to_read_them() -> None:
    page = ConsumerPage(kept=Away(), size=lambda: 1_234)
    assert "1,234 records in s3://bucket/quarantine" in page.document().words("p")


def test_the_document_helper_sees_markup() -> None:
    found = Document("<p>a<script>b</script></p>")
    assert (found.words("p"), len(found.of("script"))) == (["ab"], 1)


def test_the_server_adds_it_to_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONSUMER_STREAM_NAME", "CONSUMER_QUARANTINE", "CONSUMER_API_ISSUER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    app = Api().app
    compose.add_pages(app, load(PageSettings))
    answer = asyncio.run(call(app, operations.PAGE, [("Host", "localhost:8080")]))
    assert answer.status == 200
    assert "CONSUMER_STREAM_NAME is not set" in text(answer)
