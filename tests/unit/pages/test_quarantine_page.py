"""The quarantine as the page shows it: bounds, pages, decoded text, commands, and who reads it."""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from consumer.api.callers import Caller
from consumer.engine.errors import Reason, Unavailable
from consumer.engine.quarantine import (
    Copy,
    Foreign,
    InMemoryQuarantine,
    Listed,
    OnForeign,
    Quarantined,
    QuarantineStore,
    refuse,
)
from consumer.engine.records import Position, Record
from consumer.pages import operations, quarantine
from consumer.pages.quarantine import MEANINGS, MOST, MOST_UNREADABLE, PER_PAGE, SECONDS, reading, shown
from consumer.pages.texts import LONGEST, decoded, moment, plain
from consumer.stores.directory import DirectoryQuarantine
from tests.support.simulation.consumer_page import OPERATOR, ConsumerPage

ARRIVED = 1_767_225_600_123


def entry(number: int = 1, reason: str = Reason.JSON, data: bytes = b"nope", detail: str = "not JSON") -> Quarantined:
    return Quarantined(
        Record(Position("limits", "shardId-000000000001", f"{number:04}"), data, ARRIVED), reason, detail
    )


def kept(*entries: Quarantined) -> QuarantineStore:
    made = InMemoryQuarantine()
    made.put(entries)
    return made


# the page


def test_a_record_has_its_place_reason_text_and_command() -> None:
    found = ConsumerPage(kept=kept(entry(data='{"a":\n "é"}'.encode()))).document(operations.QUARANTINE)
    assert "Reason JSON" in found.words("div")
    assert "Why not JSON" in found.words("div")
    assert "Arrived 2026-01-01 00:00:00 UTC" in found.words("div")
    assert "Size 12 bytes" in found.words("div")
    assert "Replay consumer quarantine replay limits/shardId-000000000001/0001" in found.words("div")
    (data,) = found.of("pre")
    assert "".join(data.text).lstrip("\n") == '{"a":\n "é"}'


@pytest.mark.parametrize(("place", "is_local"), [("dir:/var/lib/quarantine", True), ("s3://bucket/quarantine", False)])
def test_the_page_says_where_to_run_the_command(place: str, is_local: bool) -> None:
    found = ConsumerPage(kept=kept(entry()), place=place).document(operations.QUARANTINE)
    (how,) = [words for words in found.words("p") if words.startswith("Fix the cause first")]
    assert ("on the machine that has the directory" in how) is is_local


def test_a_quarantine_in_a_directory_is_shown(tmp_path: Path) -> None:
    store = DirectoryQuarantine(tmp_path)
    store.put([entry(1), entry(2, Reason.SCHEMA)])
    (tmp_path / "notes.txt").write_text("x")
    page = ConsumerPage(kept=store, place=f"dir:{tmp_path}")
    found = page.document()
    assert f"2 records in dir:{tmp_path}" in found.words("p")
    assert f"{tmp_path}/notes.txt: not an entry of the quarantine" in found.words("li")
    assert len(page.document(operations.QUARANTINE).of("article")) == 2
    assert (store.size(), (tmp_path / "notes.txt").read_text()) == (2, "x")


def test_reasons_lead_to_their_records() -> None:
    page = ConsumerPage(kept=kept(entry(1), entry(2), entry(3, "ODD & <b>\ud800")))
    found = page.document()
    assert found.words("tr")[-2:] == [
        "JSON 2 The text is not JSON.",
        "ODD & <b>\\ud800 1 This version does not know the reason.",
    ]
    link = found.links()["ODD & <b>\\ud800"]
    assert link is not None
    only = page.document(link)
    assert [title.words for title in only.of("h3")] == ["limits/shardId-000000000001/0003"]
    assert "Records with the reason ODD & <b>\\ud800" in only.words("h2")


def test_an_unknown_reason_has_no_records() -> None:
    found = ConsumerPage(kept=kept(entry())).document(f"{operations.QUARANTINE}?reason=%3Cb%3E%00")
    assert "Records with the reason <b>\\x00" in found.words("h2")
    assert "There are none." in found.words("p")
    assert found.of("b") == []


def test_records_are_paged() -> None:
    page = ConsumerPage(kept=kept(*(entry(number) for number in range(2 * PER_PAGE + 1))))
    addresses: list[str | None] = [operations.QUARANTINE]
    seen: list[str] = []
    while address := addresses[-1]:
        found = page.document(address)
        seen += found.words("h3")
        addresses.append(found.links().get(f"Page {len(addresses) + 1}"))
    assert seen == [f"limits/shardId-000000000001/{number:04}" for number in range(2 * PER_PAGE + 1)]
    assert addresses == [
        "/consumer/quarantine",
        "/consumer/quarantine?page=2",
        "/consumer/quarantine?page=3",
        None,
    ]


def test_the_pages_of_a_reason_keep_it() -> None:
    page = ConsumerPage(kept=kept(*(entry(number) for number in range(PER_PAGE + 1))))
    found = page.document(f"{operations.QUARANTINE}?reason=JSON&page=2")
    assert found.links()["Page 1"] == "/consumer/quarantine?reason=JSON&page=1"


@pytest.mark.parametrize(
    ("number", "shown_page"),
    [("0", 1), ("-1", 1), ("x", 1), ("", 1), ("%D9%A2", 1), ("9" * 5_000, 1), ("2", 2), ("999999999", 2), ("%ff", 1)],
)
def test_any_page_number_is_answered(number: str, shown_page: int) -> None:
    page = ConsumerPage(kept=kept(*(entry(each) for each in range(PER_PAGE + 1))))
    found = page.document(f"{operations.QUARANTINE}?page={number}")
    assert f"{PER_PAGE + 1} records, page {shown_page} of 2." in found.words("p")


def test_data_never_becomes_markup() -> None:
    markup = "</pre><script>alert(1)</script><img src=x onerror=y>{{ 7 * 7 }}\u202e\x00\ud800"
    odd = Quarantined(
        Record(Position(markup, markup, markup), markup.encode("utf-8", "surrogatepass"), 10**30), markup, markup
    )
    found = ConsumerPage(kept=kept(odd)).document(f"{operations.QUARANTINE}")
    assert found.of("img") == []
    assert [element.words for element in found.of("script") if element.words] == []
    (data,) = found.words("pre")
    assert data == ("</pre><script>alert(1)</script><img src=x onerror=y>{{ 7 * 7 }}\\u202e\\x00\\xed\\xa0\\x80")
    assert "Arrived -" in found.words("div")


# who reads it


def test_who_reads_records_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    page = ConsumerPage(kept=kept(entry()), caller=OPERATOR)
    assert page.get().status == 200
    assert [record for record in caplog.records if record.name == quarantine.__name__] == []
    assert page.get(operations.QUARANTINE).status == 200
    (line,) = [vars(record) for record in caplog.records if record.name == quarantine.__name__]
    assert line["message"] == "quarantined records read"
    assert (line["who"], line["scopes"]) == ("u-operator", ["operations:read"])
    assert line["positions"] == ["limits/shardId-000000000001/0001"]
    assert line["request_id"]


def test_who_is_limited_to_a_brand_does_not_see_the_data(caplog: pytest.LogCaptureFixture) -> None:
    narrowed = Caller("u-brand", frozenset({"operations:read", "limits:brand:1"}))
    found = ConsumerPage(kept=kept(entry()), caller=narrowed).document(operations.QUARANTINE)
    assert found.of("pre") == []
    assert any(words.startswith("The data of the records is not shown.") for words in found.words("p"))
    assert "Reason JSON" in found.words("div")
    assert [record for record in caplog.records if record.name == quarantine.__name__] == []


# the data


class Counted(InMemoryQuarantine):
    """`reads` counts the records whose data was read. Those at `lost` cannot be read, and none while it is `down`."""

    def __init__(self, *entries: Quarantined) -> None:
        super().__init__()
        self.reads, self.is_down = 0, False
        self.lost: set[Position] = set()
        self.put(entries)

    def read(self, listed: Iterable[Listed], on_foreign: OnForeign = refuse) -> Iterator[tuple[Listed, Quarantined]]:
        if self.is_down:
            raise Unavailable("the store is down")
        for each in listed:
            if each.summary.position in self.lost:
                on_foreign(Foreign(str(each.summary.position), "AccessDenied", lost=True))
            else:
                self.reads += 1
                yield from super().read([each])


def test_only_the_data_of_the_records_on_the_page_is_read() -> None:
    store = Counted(*(entry(number) for number in range(5 * PER_PAGE)))
    page = ConsumerPage(kept=store)
    page.document()
    assert store.reads == 0
    assert len(page.document(operations.QUARANTINE).of("pre")) == store.reads == PER_PAGE


def test_no_data_is_read_for_who_may_not_see_it() -> None:
    store = Counted(entry())
    narrowed = Caller("u-brand", frozenset({"operations:read", "limits:brand:1"}))
    ConsumerPage(kept=store, caller=narrowed).document(operations.QUARANTINE)
    assert store.reads == 0


def test_a_record_whose_data_cannot_be_read_is_shown_without_it() -> None:
    store = Counted(entry(1), entry(2))
    store.lost.add(entry(1).record.position)
    found = ConsumerPage(kept=store).document(operations.QUARANTINE)
    assert [title.words[-4:] for title in found.of("h3")] == ["0001", "0002"]
    assert found.words("pre") == ["nope"]


def test_a_record_that_has_left_since_the_listing_is_not_shown() -> None:
    store = Counted(entry(1), entry(2))
    page = ConsumerPage(kept=store)
    page.document()
    store.drop(list(store.listing())[:1])
    assert [title.words[-4:] for title in page.document(operations.QUARANTINE).of("h3")] == ["0002"]


def test_a_store_that_fails_after_the_listing_is_named(caplog: pytest.LogCaptureFixture) -> None:
    store = Counted(entry())
    store.is_down = True
    found = ConsumerPage(kept=store, caller=OPERATOR).document(operations.QUARANTINE)
    assert "The data of the records cannot be shown. the store is down" in found.words("p")
    assert len(found.of("h3")) == 1
    assert [record for record in caplog.records if record.name == quarantine.__name__] == []


# bounds


@dataclass
class Endless(InMemoryQuarantine):
    """A quarantine that never ends: entries, or other objects if `is_foreign`. Each takes a second."""

    is_foreign: bool = False
    seconds: int = 0

    def listing(self, on_foreign: OnForeign = refuse) -> Iterator[Listed]:
        while True:
            self.seconds += 1
            if self.is_foreign:
                on_foreign(Foreign(f"object {self.seconds}", "not an entry of the quarantine"))
            else:
                yield Listed(entry(self.seconds).summary, (Copy("path", "1"),))


def test_a_large_quarantine_is_read_in_part() -> None:
    found = reading(Endless(), clock=lambda: 0.0)
    assert (len(found.records), found.is_complete) == (MOST, False)


def test_a_quarantine_of_that_size_is_read_whole() -> None:
    found = reading(kept(*(entry(number) for number in range(MOST))))
    assert (len(found.records), found.is_complete) == (MOST, True)


@pytest.mark.parametrize("is_foreign", [False, True])
def test_a_slow_quarantine_is_read_for_a_bounded_time(is_foreign: bool) -> None:
    store = Endless(is_foreign)
    found = reading(store, clock=lambda: float(store.seconds))
    assert not found.is_complete
    assert store.seconds <= SECONDS + 1
    assert len(found.unreadable) == (MOST_UNREADABLE if is_foreign else 0)


def test_the_page_says_that_there_is_more() -> None:
    page = ConsumerPage(kept=kept(*(entry(number) for number in range(MOST + 1))))
    assert f"{MOST + 1:,} records in s3://bucket/quarantine" in page.document().words("p")
    assert f"Records by reason, of the first {MOST:,}" in page.document().words("caption")
    found = page.document(operations.QUARANTINE)
    assert any(words.endswith("There are more: consumer quarantine list shows all.") for words in found.words("p"))


# texts


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b'{"a": 1}\n\t', '{"a": 1}\n\t'),
        (b"\xf3\x89\x9a\xc2\x00", "\\xf3\\x89\\x9a\\xc2\\x00"),
        ("é\u200b\u202e\r\x1b\u2028".encode(), "é\\u200b\\u202e\\r\\x1b\\u2028"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
    ],
)
def test_data_is_decoded_and_what_cannot_be_seen_is_escaped(data: bytes, text: str) -> None:
    assert decoded(data) == (text, True)


@pytest.mark.parametrize("letter", ["a", "é", "€", "\U0001f3b2"])
def test_long_data_is_cut_between_characters(letter: str) -> None:
    assert decoded((letter * LONGEST).encode()) == (letter * LONGEST, True)
    assert decoded((letter * (LONGEST + 1)).encode()) == (letter * LONGEST, False)
    assert decoded(b"a" + (letter * 5 * LONGEST).encode()) == ("a" + letter * (LONGEST - 1), False)


@pytest.mark.parametrize(
    ("millis", "text"),
    [(ARRIVED, "2026-01-01 00:00:00 UTC"), (0, "-"), (-(10**30), "-"), (10**14, "5138-11-16 09:46:40 UTC")],
)
def test_a_time_that_is_not_known_is_a_dash(millis: int, text: str) -> None:
    assert moment(millis) == text


def test_plain_text_is_unchanged() -> None:
    assert plain("Räksmörgås 🎲 <b>") == "Räksmörgås 🎲 <b>"


ODD_POSITIONS: Sequence[Position] = (
    Position("-my stream", "a/b\t\x1b[31m", "-1\n", 7),
    Position("~", "$(reboot)", "`;|&<>'\"", 0),
    Position("", "\ud800", "%", 0),
)


@pytest.mark.parametrize("position", ODD_POSITIONS)
def test_a_command_is_safe_to_paste(position: Position) -> None:
    odd = replace(entry(), record=Record(position, b"x"))
    command = shown(odd).command
    assert re.fullmatch(r"[!-~ ]+", command)
    *words, argument = shlex.split(command)
    assert words == ["consumer", "quarantine", "replay"]
    assert Position.parse(argument) == position
    assert shlex.quote(argument) == argument


def test_every_reason_has_a_meaning() -> None:
    assert MEANINGS.keys() == set(Reason)
