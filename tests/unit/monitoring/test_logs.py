"""The form of the log's lines, for machines and for eyes, and what never stands in them."""

import json
import logging
import re
import sys
from collections.abc import Callable
from random import Random
from typing import Any, NoReturn

import pytest

from consumer import bootstrap
from consumer.engine.errors import ConsumerError, Unavailable
from consumer.engine.retry_policy import NoRetry
from consumer.limits.sample import PERIODS, STATUSES, TYPES, histories
from consumer.monitoring import logs
from consumer.settings import RecordSettings
from tests.support.generators.events import records

SECRET = "u-7Qd2"


def fail() -> NoReturn:
    raise KeyError(SECRET)


def refuse() -> NoReturn:
    try:
        fail()
    except KeyError as cause:
        raise Unavailable("write to user-limits: Throttled") from cause


def record(do: Callable[[], object], **extra: object) -> logging.LogRecord:
    """What is logged of a failure."""
    try:
        do()
    except (KeyError, ConsumerError):
        return logging.getLogger("consumer.kcl").makeRecord(
            "consumer.kcl", logging.ERROR, __file__, 1, "leaving", (), sys.exc_info(), extra=extra
        )
    raise AssertionError


def parsed(form: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(form.format(record))
    return line


@pytest.mark.parametrize("do", [fail, refuse])
def test_what_an_exception_says_is_told_only_when_it_cannot_quote_a_record(do: Callable[[], object]) -> None:
    error = parsed(logs.JsonLines(), record(do))["error"]
    assert SECRET not in error
    assert "KeyError" in error
    assert "raise KeyError(SECRET)" in error, "the place is told"
    assert ("write to user-limits: Throttled" in error) == (do is refuse)


def test_at_debug_every_exception_speaks() -> None:
    assert SECRET in parsed(logs.JsonLines(include_messages=True), record(refuse))["error"]


def test_a_line_begins_alike_whoever_writes_it() -> None:
    line = parsed(logs.JsonLines(), record(refuse, shard="shardId-000000000000"))
    assert list(line) == ["time", "level", "logger", "message", "shard", "error"]
    assert line["time"].endswith("+00:00")


def test_for_eyes_a_line_is_one_line_and_its_error_is_set_in() -> None:
    shown = logs.Readable().format(record(refuse, shard="shardId-000000000000", seconds={"store": 0.5}))
    first, *rest = shown.splitlines()
    assert first.endswith('consumer.kcl leaving shard=shardId-000000000000 seconds={"store": 0.5}')
    assert rest
    assert all(line.startswith("    ") for line in rest)


def test_a_terminal_is_given_nothing_to_obey() -> None:
    line = {"level": "\x1b[2J", "message": "a\nb\x07", "error": "x\x1b]0;title\x07", "odd\x9b": "\u202e"}
    shown = logs.readable(line).replace("\x1b[0m", "", 2)
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("logger", "level", "shown"),
    [
        ("consumer.kcl", "INFO", True),
        ("software.amazon.kinesis.coordinator.Scheduler", "INFO", False),
        ("software.amazon.kinesis.coordinator.Scheduler", "WARNING", True),
        ("io.netty.util", "DEBUG", False),
        ("consumerism", "INFO", False),
        ("", "ERROR", True),
    ],
)
def test_a_terminal_is_spared_what_the_jvm_says_below_warning(logger: str, level: str, shown: bool) -> None:
    line = {"logger": logger, "level": level, "message": "m", "error": "java.lang.Exception: trace"}
    assert logs.for_terminal(line) == (logs.readable(line) if shown else None)


@pytest.mark.parametrize(("is_terminal", "form"), [(True, logs.Readable), (False, logs.JsonLines)])
def test_eyes_are_told_by_the_terminal(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, form: type[logging.Formatter]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
    root, ours = logging.getLogger(), logging.getLogger("consumer")
    before = root.handlers[:], root.level, ours.level
    try:
        logs.configure("INFO")
        (handler,) = root.handlers
        assert type(handler.formatter) is form
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])


def said_in(data: bytes) -> set[str]:
    """What a record says: its texts of three letters and more, field names and allowed words left out; figures too."""
    text = data.decode(errors="replace")
    words = set(re.findall(r"[\w.-]{3,}", text)) - set(re.findall(r'"(\w+)":', text))
    return words - {*PERIODS, *STATUSES, *TYPES, "limit", "null", "type", "NaN"}


def test_what_is_wrong_with_a_record_is_told_without_a_word_of_it() -> None:
    core, _ = bootstrap.in_memory_processor(RecordSettings())
    samples = list(histories(Random(7), 3_000, poison=1.0))
    refused = core.process(records(*(sample.data for sample in samples)), NoRetry()).quarantined
    assert len({entry.detail for entry in refused}) > 20
    quoted = [
        (entry.detail, words)
        for entry in refused
        if (words := said_in(entry.record.data) & set(re.split(r"[^\w.-]+", entry.detail)))
    ]
    assert quoted == []
