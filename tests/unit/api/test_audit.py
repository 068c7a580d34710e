"""The log line of a read of somebody else's limits."""

import json
import logging
from collections.abc import Iterator

import pytest

from consumer.api import audit
from consumer.api.callers import Caller
from consumer.monitoring import logs

HOSTILE = 'u-2"}\r\n{"who": "x"\x1b[2J\u2028\u202e\ud800'


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, ours = Kept(), logging.getLogger("consumer")
    level = ours.level
    ours.addHandler(handler)
    try:
        yield handler
    finally:
        ours.removeHandler(handler)
        ours.setLevel(level)


def test_a_line_says_who_read_whose_limits_when_and_in_which_request(kept: Kept) -> None:
    audit.read(Caller("agent-7", frozenset({"limits:read", "limits:brand:b-1"})), "u-2", "r-1")
    (record,) = kept.records
    line = json.loads(logs.JsonLines().format(record))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "consumer.api.audit",
        "message": "limits read",
        "who": "agent-7",
        "whose": "u-2",
        "request_id": "r-1",
        "scopes": ["limits:brand:b-1", "limits:read"],
    }


def test_an_api_that_does_not_know_its_callers_says_so(kept: Kept) -> None:
    audit.read(Caller(None, frozenset(), trusted=True), "u-2", "r-1")
    assert json.loads(logs.JsonLines().format(kept.records[0]))["who"] is None


def test_the_line_is_written_at_every_log_level(kept: Kept) -> None:
    logging.getLogger("consumer").setLevel("ERROR")
    audit.read(Caller("agent-7", frozenset()), "u-2", "r-1")
    assert len(kept.records) == 1


@pytest.mark.parametrize("form", [logs.JsonLines(), logs.Readable()])
def test_no_id_can_write_a_line_of_its_own(kept: Kept, form: logging.Formatter) -> None:
    audit.read(Caller(HOSTILE, frozenset({HOSTILE})), HOSTILE, HOSTILE)
    line = form.format(kept.records[0])
    assert len(line.splitlines()) == 1
    for letter in "\r\n\u2028\u202e\ud800":
        assert letter not in line
    assert "\x1b[2J" not in line


def test_json_lines_keep_the_ids_exactly(kept: Kept) -> None:
    audit.read(Caller(HOSTILE, frozenset()), HOSTILE, HOSTILE)
    line = json.loads(logs.JsonLines().format(kept.records[0]))
    assert line["who"] == line["whose"] == line["request_id"] == HOSTILE
