"""Reads records from a file: one JSON document, the elements of a JSON array, or one record per line.

The bytes of each record are those in the file. A line of an archive is the record in it.
"""

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator
from functools import partial
from io import BufferedReader, BytesIO
from itertools import pairwise
from pathlib import Path
from typing import IO

from consumer.admin.captured import Captured, Content, contents
from consumer.archive import lines
from consumer.aws_lambda.handler import MalformedInvocation, read
from consumer.engine.errors import SettingsError
from consumer.engine.records import Position, Record

_MARK = b"\xef\xbb\xbf"
PIECE = 1 << 20
"""Bytes per read of standard input."""
_BLANK = " \t\r\n"
_SPACE = re.compile(f"[{_BLANK}]*")
WHOLE = 32 << 20
"""Bytes. A larger file in a folder or bucket is read line by line: none of its documents may have several lines."""
_GZIP = b"\x1f\x8b"
_ARCHIVED = b'{"stream":'
"""The start of each line of an archive, and of no event."""
_READER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
"""Finds the end of a document. Numbers are not converted: the core validates them."""


def read_records(name: str) -> list[Record]:
    """The undecoded records of the file (`-`: standard input), with those inside captured Lambda events.

    Their positions count from 0. Raises SettingsError if the file cannot be read or has no records.
    """
    found = [record for content in read_contents(name) for record in _records(name, content)]
    if not found:
        raise _no_record(name)
    return [Record(Position("file", "0", str(at)), each.data, fault=each.fault) for at, each in enumerate(found)]


def records_in(name: str, content: bytes) -> Iterator[Record]:
    """The undecoded records of a file of any size, gzipped or not, with those inside captured Lambda events.

    Documents that follow each other on a line are several records: Firehose may write them so. Raises SettingsError if
    the file is damaged, behind the records that can be read.
    """
    try:
        with _opened(content) as file:
            head = file.read(WHOLE + 1)
            file.seek(0)
            found = contents(split(head)) if len(head) <= WHOLE else (line.rstrip(b"\r\n") for line in file)
            for each in found:
                for part in _apart(each) if isinstance(each, bytes) else (each,):
                    yield from _records(name, part)
    except _NOT_GZIP as damaged:
        raise SettingsError([f"{name}: damaged or cut off: {damaged}"]) from None
    except (MalformedInvocation, ValueError) as wrong:
        raise SettingsError([f"{name}: {wrong}"]) from None


_NOT_GZIP = (gzip.BadGzipFile, EOFError, zlib.error)


def _opened(content: bytes) -> IO[bytes]:
    file = BytesIO(content)
    if not content.startswith(_GZIP):
        return file
    return BufferedReader(gzip.GzipFile(fileobj=file))


def _apart(line: bytes) -> Iterator[bytes]:
    """The JSON documents that the line consists of, or the line itself if it consists of anything else."""
    parts = list(_following(line.decode("utf-8", "surrogateescape"))) if b"}{" in line else []
    yield from parts or ([line] if line.strip() else [])


def _following(text: str) -> Iterator[bytes]:
    try:
        ends = [0]
        while ends[-1] < len(text):
            ends.append(_skip(text, _end(text, ends[-1])))
    except (ValueError, RecursionError):
        return
    yield from (text[start:end].encode("utf-8", "surrogateescape") for start, end in pairwise(ends))


def read_contents(name: str) -> list[Content]:
    """The records, captured Lambda events and failed batches in the file. Raises SettingsError like `read_records`."""
    try:
        content = _standard_input() if name == "-" else Path(name).read_bytes()
        documents = split(gzip.decompress(content) if name.endswith(".gz") else content)
        found = contents(documents)
    except _NOT_GZIP as damaged:
        raise SettingsError([f"{name}: damaged or cut off: {damaged}"]) from None
    except OSError as error:
        raise SettingsError([f"{name}: {error.strerror}"]) from None
    except (MalformedInvocation, ValueError) as wrong:
        raise SettingsError([f"{name}: {wrong}"]) from None
    if not documents:
        raise _no_record(name)
    return found


def split(content: bytes) -> list[bytes]:
    """The documents: a single document, the elements of a single array, or the lines that are not blank.

    Raises ValueError if a document of several lines is malformed, or is not the only one.
    """
    if _is_foreign_document(content):
        return [content]
    text = content.removeprefix(_MARK).decode("utf-8", "surrogateescape")
    start = _skip(text, 0)
    if _is_document(text, start):
        parts = list(_elements(text, start)) if text[start] == "[" else [text[start:].rstrip(_BLANK)]
    else:
        parts = list(_lines(text))
    return [part.encode("utf-8", "surrogateescape") for part in parts]


def _standard_input() -> bytes:
    # In pieces: a single read of everything would not react to Ctrl-C until the end of the input.
    return b"".join(iter(partial(os.read, 0, PIECE), b""))


def _no_record(name: str) -> SettingsError:
    return SettingsError([f"{name}: no records"])


def _records(name: str, content: Content) -> list[Record]:
    if isinstance(content, bytes):
        return [_archived(content) or Record(Position("", "", ""), content)]
    if not isinstance(content, Captured):
        raise SettingsError(
            [f"{name}: names a batch but has no records: use `consumer lambda-invoke`, which fetches them"]
        )
    try:
        return read(content.event)
    except MalformedInvocation as malformed:
        raise SettingsError([f"{name}: {malformed}"]) from None


def _archived(document: bytes) -> Record | None:
    """The record in a line of an archive, None if it is none."""
    if not document.startswith(_ARCHIVED):
        return None
    try:
        return lines.decode(document)
    except ValueError:
        return None


def _is_foreign_document(content: bytes) -> bool:
    """Whether it is one document in UTF-16 or UTF-32. It counts as one record, which is rejected as not UTF-8."""
    encoding = json.detect_encoding(content)
    if encoding.startswith("utf-8"):
        return False
    text = content.decode(encoding, "replace")
    return _is_document(text, _skip(text, 0))


def _is_document(text: str, start: int) -> bool:
    """Whether the text from `start` on is exactly one JSON document."""
    try:
        return _skip(text, _end(text, start)) == len(text)
    except (ValueError, RecursionError):
        return False


def _elements(text: str, start: int) -> Iterator[str]:
    """The elements of the JSON array that begins at `start`."""
    at = _skip(text, start + 1)
    while text[at] != "]":
        end = _end(text, at)
        yield text[at:end]
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at


def _lines(text: str) -> Iterator[str]:
    at = 0
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip(_BLANK + "\v\f")
        if stripped:
            if stripped[0] in "[{" and stripped[-1] not in "]}":
                _refuse_a_document(text, _skip(text, at), at + len(line), number)
            yield line.removesuffix("\r")
        at += len(line) + 1


def _refuse_a_document(text: str, start: int, line_end: int, number: int) -> None:
    """Raises ValueError if a document continues on the next lines. A truncated line is a record instead."""
    try:
        end = _end(text, start)
    except json.JSONDecodeError as error:
        if error.pos > _skip(text, line_end) and _looks_spread(text, start, line_end):
            raise ValueError(
                f"lines {number} to {error.lineno} look like a JSON document but are not valid: line {error.lineno}"
                f" column {error.colno}: {error.msg}"
            ) from None
        return
    except (ValueError, RecursionError):
        return
    if end > line_end:
        last = number + text.count("\n", start, end)
        raise ValueError(
            f"lines {number} to {last} are one JSON document, but the file has more: put all documents into an array,"
            " or each on one line"
        )


def _looks_spread(text: str, start: int, line_end: int) -> bool:
    """Whether the line opens a document of several lines, rather than being one truncated record."""
    if text[start:line_end].strip(_BLANK) not in ("{", "[", "[{"):
        return False
    following = _skip(text, line_end)
    end = text.find("\n", following)
    line_after = text[following : end if end >= 0 else len(text)]
    return start == _skip(text, 0) or not _is_document(line_after, 0)


def _end(text: str, start: int) -> int:
    """The end of the JSON document that begins at `start`. Raises ValueError or RecursionError if there is none."""
    return _READER.raw_decode(text, start)[1]


def _skip(text: str, at: int) -> int:
    """The position of the first character that is not blank."""
    found = _SPACE.match(text, at)
    return found.end() if found else at
