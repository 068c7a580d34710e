"""A file of events is one document, an array of documents, or lines. Records keep their bytes."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.admin import files
from consumer.admin.files import read_records, records_in, split
from consumer.archive import lines
from consumer.engine.errors import Reason, SettingsError
from consumer.limits.sample import POISONS, Poison
from tests.support.driven.invocations import event
from tests.support.driven.pipes import piped
from tests.support.generators.events import created, encode, progress_changed, record, records

PRETTY = json.dumps(created(1), indent=2).encode()
NEWLINE = b"\n"
LINE = encode(progress_changed(2))


# One document


def test_an_event_on_many_lines_is_one_record() -> None:
    assert PRETTY.count(b"\n") > 15
    assert split(PRETTY) == [PRETTY]


@pytest.mark.parametrize("around", [b"%b\n", b"\n\n  %b  \r\n", b"\xef\xbb\xbf%b", b"\xef\xbb\xbf\r\n%b\n"])
def test_blanks_and_marks_around_a_document_are_not_part_of_it(around: bytes) -> None:
    assert split(around % PRETTY) == [PRETTY]


def test_windows_line_ends_inside_a_document_are_kept() -> None:
    document = PRETTY.replace(b"\n", b"\r\n")
    assert split(document + b"\r\n") == [document]


@pytest.mark.parametrize(
    "element",
    [
        b'{"a": 1.0, "a": 1e400, "b": -0, "c": 10000000000000000000000001}',
        b'{ "deposit" :"\\u00e4\\ud800"\r\n , "x":[ ] }',
        '{"name": "Zoë \N{SNOWMAN} \u2028"}'.encode(),
        b'{"digits": ' + b"9" * 5_000 + b"}",
        b'{"latin": "\xe4"}',
        b"[[1], {}]",
        b'"]"',
        b"NaN",
        b"null",
    ],
)
def test_the_elements_of_an_array_keep_their_bytes(element: bytes) -> None:
    assert split(b"[" + element + b"]") == [element]
    assert split(b"\n [\n  %b,\r\n\t%b ,%b\n]\n" % (element, PRETTY, element)) == [element, PRETTY, element]


def test_an_empty_array_has_no_documents() -> None:
    assert split(b" [ \n ] ") == []


@pytest.mark.parametrize("document", [b"42", b'"text"', b"null", b"{}", b'{"digits":' + b"9" * 5_000 + b"}"])
def test_a_document_of_any_kind_is_a_record(document: bytes) -> None:
    assert split(document) == [document]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_document_in_another_encoding_is_one_record(encoding: str) -> None:
    content = PRETTY.decode().encode(encoding)
    assert split(content) == [content]


# Lines


def test_lines_are_records_and_blank_ones_are_not() -> None:
    assert split(b"\n" + LINE + b"\n \t\n" + LINE + b"\r\n\r\npoison") == [LINE, LINE, b"poison"]


@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.name)
def test_a_poison_line_is_one_record(poison: Poison) -> None:
    spoiled = poison.spoil(created(7)).replace(b"\n", b" ").strip()
    wanted = [LINE, spoiled, LINE, spoiled] if spoiled else [LINE, LINE]

    assert split(b"\n".join([LINE, spoiled, LINE, spoiled])) == wanted


@pytest.mark.parametrize(
    "cut", [b"{", b"[", b'{"a":', b'{"a": 1', b'{"a": 1,', b'{"a', b'{"a": [', b"}", b"\x00", b"\xff\xfe"]
)
def test_a_truncated_line_is_one_record(cut: bytes) -> None:
    assert split(b"\n".join([LINE, cut, LINE])) == [LINE, cut, LINE]


@pytest.mark.parametrize("after", [b" trailing", b",", b" null", b"{", b"x" * 9, LINE + b" 5"])
def test_an_event_with_text_after_it_is_one_record(after: bytes) -> None:
    spoiled = LINE + after
    assert split(b"\n".join([LINE, spoiled, LINE])) == [LINE, spoiled, LINE]


@pytest.mark.parametrize("length", range(1, len(LINE), 7))
def test_an_event_that_is_truncated_anywhere_is_one_record(length: int) -> None:
    cut = LINE[:length].rstrip()
    assert split(b"\n".join([LINE, cut, LINE])) == [LINE, cut, LINE]


# Malformed files


def refused(content: bytes) -> str:
    with pytest.raises(ValueError, match="document") as wrong:
        split(content)
    return str(wrong.value)


@pytest.mark.parametrize("between", [b"", b"\n", b"\r\n", b"\n\n"])
def test_documents_of_several_lines_one_after_the_other_are_refused(between: bytes) -> None:
    lines = PRETTY.count(NEWLINE) + 1
    content = between.join([PRETTY, PRETTY])
    assert refused(content).startswith(f"lines 1 to {lines} are one JSON document, but the file has more")


def test_a_document_of_several_lines_among_lines_is_refused() -> None:
    assert refused(LINE + b"\n" + PRETTY + b"\n" + LINE).startswith("lines 2 to ")
    assert refused(b"poison\n" + PRETTY).startswith("lines 2 to ")


@pytest.mark.parametrize(
    ("broken", "place"),
    [
        (PRETTY[:-1] + b",}", f"line {PRETTY.count(NEWLINE) + 1}"),
        (PRETTY.replace(b'"sequenceNumber"', b"'sequenceNumber'"), "line 19"),
        (PRETTY[: len(PRETTY) // 2], "line"),
        (b"[\n" + LINE + b"\n" + LINE + b"\n]", "line 3"),
        (b"[\n" + PRETTY + b"\n" + PRETTY, "line"),
    ],
)
def test_a_malformed_document_of_several_lines_is_refused_with_its_place(broken: bytes, place: str) -> None:
    message = refused(broken)
    assert message.startswith("lines 1 to ")
    assert " look like a JSON document but are not valid: " in message
    assert place in message


# Files


def test_a_file_without_records_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    for content in (b"", b" \n\t\r\n", b"\xef\xbb\xbf", b"[]", b'{"Records": []}'):
        file.write_bytes(content)
        with pytest.raises(SettingsError) as wrong:
            read_records(str(file))
        assert wrong.value.problems == [f"{file}: no records"]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("form", ["event", "records", "record", "pipe", "piped record"])
def test_the_records_of_a_captured_event_are_read_as_the_function_reads_them(
    form: str, indent: int | None, tmp_path: Path
) -> None:
    sent = [record(b"\x00poison", 2)] if form.endswith("record") else records(created(1), b"\x00poison")
    captured = event(sent)
    document = {
        "event": captured,
        "records": captured["Records"],
        "record": captured["Records"][0],
        "pipe": piped(sent),
        "piped record": piped(sent)[0],
    }[form]
    (tmp_path / "captured.json").write_text(json.dumps(document, indent=indent))
    found = read_records(str(tmp_path / "captured.json"))

    assert [each.data for each in found] == [each.data for each in sent]
    assert [int(each.position.sequence) for each in found] == list(range(len(sent)))


def test_captured_data_that_is_not_base64_keeps_its_fault(tmp_path: Path) -> None:
    captured = event(records(created(1)))
    captured["Records"][0]["kinesis"]["data"] = "no base64"
    (tmp_path / "captured.json").write_text(json.dumps(captured))
    (found,) = read_records(str(tmp_path / "captured.json"))

    assert found.fault is not None
    assert found.fault.reason is Reason.RECORD_DATA


def test_a_limit_event_is_a_record_whatever_other_fields_it_has(tmp_path: Path) -> None:
    ours = created(1) | {"Records": [], "Message": "{}", "eventSource": "app", "KinesisBatchInfo": {}}
    (tmp_path / "event.json").write_bytes(encode(ours))

    assert [each.data for each in read_records(str(tmp_path / "event.json"))] == [encode(ours)]


@pytest.mark.parametrize("captured", [{"Records": [{"eventSource": "aws:s3"}]}, {"Messages": [{"Body": "hello"}]}])
def test_an_event_of_another_service_is_refused(captured: object, tmp_path: Path) -> None:
    (tmp_path / "captured.json").write_text(json.dumps(captured))
    with pytest.raises(SettingsError, match="Records"):
        read_records(str(tmp_path / "captured.json"))


# Files of a folder or bucket, and of an archive


def data_in(content: bytes) -> list[bytes]:
    return [record.data for record in records_in("x", content)]


EVENTS = [encode(created(1)), encode(progress_changed(2, userId="u-}{")), encode({"a": ["}{", {"b": "{"}]})]


@pytest.mark.parametrize("between", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_documents_on_lines_and_documents_side_by_side_are_records(
    between: bytes, packed: Callable[[bytes], bytes]
) -> None:
    """Firehose puts nothing between records unless it is told to."""
    assert data_in(packed(between.join(EVENTS))) == EVENTS
    assert data_in(packed(between.join(EVENTS) + between)) == EVENTS


@pytest.mark.parametrize("line", [b'{"a":1}{"b":', b'{"a":1}{}x', b'"}{" {', b"}{"])
def test_a_line_that_is_not_documents_alone_is_one_record(line: bytes) -> None:
    assert data_in(EVENTS[0] + b"\n" + line + b"\n" + EVENTS[1]) == [EVENTS[0], line, EVENTS[1]]


def test_a_large_file_is_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "WHOLE", 100)
    content = b"\n\n".join(EVENTS) + b"".join(EVENTS)
    assert data_in(content) == data_in(gzip.compress(content)) == EVENTS + EVENTS


def test_what_a_damaged_file_holds_before_the_damage_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "WHOLE", 100)
    noise = random.Random(1).randbytes(300_000).hex().encode()
    found: list[bytes] = []
    with pytest.raises(SettingsError, match=r"^x: damaged or cut off: "):
        found.extend(record.data for record in records_in("x", gzip.compress(b"\n".join([*EVENTS, noise]))[:-9]))
    assert found == EVENTS


def test_a_line_of_an_archive_is_the_record_in_it(tmp_path: Path) -> None:
    archived = records(*EVENTS, b"not JSON")
    content = b"\n".join(lines.encode("limits", each) for each in archived)
    assert list(records_in("x", content)) == archived
    (tmp_path / "archive.json.gz").write_bytes(gzip.compress(content))
    assert [each.data for each in read_records(str(tmp_path / "archive.json.gz"))] == [each.data for each in archived]


@pytest.mark.parametrize("line", [b'{"stream":"s"}', b'{"stream":"s","data":"AA=="', b'{"stream":1,"aggregateId":"u"}'])
def test_a_line_that_only_starts_like_one_of_an_archive_is_a_record(line: bytes) -> None:
    assert data_in(EVENTS[0] + b"\n" + line) == [EVENTS[0], line]


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "events.json.gz"
    file.write_bytes(gzip.compress(EVENTS[0])[:-4])
    with pytest.raises(SettingsError, match="damaged or cut off"):
        read_records(str(file))
