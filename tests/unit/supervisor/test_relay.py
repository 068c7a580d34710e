"""All output of the daemon becomes whole JSON lines, once each, and never stops the service."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from consumer.monitoring.logs import JsonLines
from consumer.supervisor import relay as relaying
from consumer.supervisor.relay import Relay
from tests.support.driven.waiting import until


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


@pytest.fixture
def relay(pipe: tuple[int, int]) -> Iterator[Relay]:
    relay = Relay(pipe[1])
    yield relay
    relay.close()


@pytest.fixture
def ours(relay: Relay) -> Iterator[None]:
    """The supervisor's log lines go through the relay."""
    handler = logging.StreamHandler(relay)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("consumer.supervisor")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


def written_by_daemon(relay: Relay, said: bytes) -> list[bytes]:
    """The lines that `notice` gets from a daemon that writes this and exits."""
    read, write = os.pipe()
    noticed: list[bytes] = []
    reader = relay.follow(os.fdopen(read, "rb"), noticed.append)
    os.write(write, said)
    os.close(write)
    reader.join()
    relay.close()
    return noticed


def lines(read: int) -> list[bytes]:
    return os.read(read, 1_000_000).splitlines(keepends=True)


def parsed(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_json_line_is_passed_on_unchanged(relay: Relay, pipe: tuple[int, int]) -> None:
    line = b'{"message":  "as it \\u00e9 is",\t"n": 1e5}\n'
    assert written_by_daemon(relay, line) == [line]
    assert lines(pipe[0]) == [line]


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize("text", ["Exception in thread main", '{"broken":', "[1]", "\ufffd not \x00 text"])
def test_any_other_line_becomes_a_log_line_of_the_supervisor(relay: Relay, pipe: tuple[int, int], text: str) -> None:
    written_by_daemon(relay, f"{text}\n".encode())
    (line,) = (parsed(line) for line in lines(pipe[0]))
    assert (line["logger"], line["level"], line["message"]) == ("consumer.supervisor.java", "WARNING", text)


def test_blank_lines_are_ignored(relay: Relay) -> None:
    assert written_by_daemon(relay, b"\n  \n{}") == [b"\n", b"  \n", b"{}"]


def test_a_last_line_without_a_newline_gets_one(relay: Relay, pipe: tuple[int, int]) -> None:
    written_by_daemon(relay, b'{"message": "killed here"}')
    assert lines(pipe[0]) == [b'{"message": "killed here"}\n']


@pytest.mark.usefixtures("ours")
def test_when_nobody_reads_lines_are_dropped_and_counted(
    relay: Relay, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaying, "LINES", 3)
    filling = "x" * 1_000_000 + "\n"
    relay.write(filling)
    for number in range(10):
        relay.write(f"{number}\n")
    os.set_blocking(pipe[0], False)
    seen = b""

    def reported() -> bool:
        nonlocal seen
        with suppress(BlockingIOError):
            seen += os.read(pipe[0], 1_000_000)
        return b"log lines dropped" in seen

    until(reported, "the count of dropped lines", every=0.001)
    kept = seen.removeprefix(filling.encode()).splitlines()
    numbers = [line for line in kept if line.isdigit()]
    assert len(numbers) < 10
    assert parsed(kept[-1])["lines"] == 10 - len(numbers)


def test_a_closed_output_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    relay = Relay(write)
    relay.write("nobody hears\n")
    relay.close()
    os.close(write)


def test_a_line_that_the_form_leaves_out_is_not_written_but_noticed(pipe: tuple[int, int]) -> None:
    relay = Relay(pipe[1], lambda line: line["message"] if line["level"] != "INFO" else None)
    lines_said = b'{"level": "INFO", "message": "one"}\n', b'{"level": "ERROR", "message": "two"}\n'
    assert written_by_daemon(relay, b"".join(lines_said)) == [*lines_said]
    assert lines(pipe[0]) == [b"two\n"]
