"""Logs: JSON lines on stderr, or readable text when stderr is a terminal.

At INFO and above, no line contains payloads, amounts or user ids. The message of an exception may quote the input that
caused it. Only the messages of exceptions that never quote input are logged; at DEBUG, all messages are logged.
"""

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from consumer.engine.errors import ConsumerError
from consumer.engine.folding import Outcome
from consumer.engine.processor import BatchResult
from consumer.engine.records import Record

_fields: ContextVar[Mapping[str, object]] = ContextVar("fields", default=MappingProxyType({}))
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}
_NOT_AFTER = ("time", "level", "logger", "message", "error", "_aws")
"""What a readable line has elsewhere, and what only CloudWatch reads."""
_SAFE_TO_LOG = (ConsumerError, OSError)
"""Exceptions whose messages never quote a record."""

_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


class JsonLines(logging.Formatter):
    """`time, level, logger, message`, then the caller's `extra` fields, then `error`.

    `include_messages` logs the messages of all exceptions.
    """

    def __init__(self, *, include_messages: bool = False) -> None:
        super().__init__()
        self._include_messages = include_messages

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.line(record), default=str, ensure_ascii=True)

    def line(self, record: logging.LogRecord) -> dict[str, object]:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _fields.get()
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info and record.exc_info[1]:
            line["error"] = "\n".join(_trace(record.exc_info[1], include_messages=self._include_messages))
        return line


class Readable(JsonLines):
    """Human-readable form of JsonLines."""

    def format(self, record: logging.LogRecord) -> str:
        return readable(self.line(record))


def configure(level: str) -> None:
    """Logs to stderr: this package from `level` up, libraries from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    form = Readable if sys.stderr.isatty() else JsonLines
    handler.setFormatter(form(include_messages=level == "DEBUG"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("consumer").setLevel(level)


def readable(line: Mapping[str, Any]) -> str:
    """A log line for a terminal: time of day (UTC), level, logger, message, the other fields as name=value."""
    level = str(line.get("level", ""))
    logger = str(line.get("logger", "")).removeprefix("software.amazon.kinesis.")
    begin = (_plain(str(line.get("time", ""))[11:23]), _coloured(level), _plain(logger))
    rest = (f"{_plain(name)}={_plain(value)}" for name, value in line.items() if name not in _NOT_AFTER)
    parts = (*begin, _plain(line.get("message", "")), *rest)
    trace = [f"    {_plain(part)}" for part in str(line.get("error", "")).splitlines()]
    return "\n".join([" ".join(parts), *trace])


def for_terminal(line: Mapping[str, Any]) -> str | None:
    """The line in the form of `readable`. None for lines of the JVM below WARNING, which a terminal does not show."""
    ours = str(line.get("logger", "")).partition(".")[0] == "consumer"
    return readable(line) if ours or line.get("level") not in ("INFO", "DEBUG", "TRACE") else None


def _coloured(level: str) -> str:
    return f"\x1b[{_COLOURS.get(level, '0')}m{_plain(level):8}\x1b[0m"


def _plain(value: object) -> str:
    """The value on one line, with control characters escaped."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def _trace(error: BaseException, *, include_messages: bool) -> Iterator[str]:
    """A traceback in Python's order, the cause first. Messages that may quote a record are left out."""
    if before := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        yield from _trace(before, include_messages=include_messages)
        yield "" if error.__cause__ else "during which:"
    yield from (entry.rstrip("\n") for entry in traceback.format_tb(error.__traceback__))
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    shown = str(error) if include_messages or isinstance(error, _SAFE_TO_LOG) else "(message logged at DEBUG only)"
    yield f"{name}: {shown}"


@contextmanager
def fields(**more: object) -> Iterator[None]:
    """Adds `more` to every line logged inside the block."""
    token = _fields.set({**_fields.get(), **more})
    try:
        yield
    finally:
        _fields.reset(token)


def log_batch(
    log: logging.Logger, result: BatchResult, correlation: Callable[[Record], str | None], **more: object
) -> None:
    """Logs a line per batch, a line per quarantined record, and at DEBUG a line per record.

    `correlation` returns the id that the producer gave to a record. It is called at DEBUG only.
    """
    if log.isEnabledFor(logging.DEBUG):
        _log_records(log, result, correlation)
    for entry in result.quarantined:
        position = str(entry.record.position)
        log.warning("quarantined", extra={"position": position, "reason": entry.reason, "detail": entry.detail})
    outcomes = result.outcomes
    log.info(
        "batch",
        extra={
            **more,
            "shard": result.records[0].position.shard,
            "first": result.records[0].position.sequence,
            "last": result.records[-1].position.sequence,
            "records": len(result.records),
            **{str(outcome): outcomes[outcome] for outcome in Outcome},
            "unsettled": result.unsettled and str(result.unsettled),
            "warnings": result.warnings,
            "writes": result.writes,
            "conflicts": result.conflicts,
            "seconds": {phase: round(seconds, 6) for phase, seconds in result.seconds.items()},
        },
    )


def _log_records(log: logging.Logger, result: BatchResult, correlation: Callable[[Record], str | None]) -> None:
    for record, record_outcome in zip(result.records, result.record_outcomes, strict=True):
        about = (
            {"type": record_outcome.type, "outcome": record_outcome.outcome}
            if record_outcome
            else {"outcome": "unsettled"}
        )
        log.debug("record", extra={"position": str(record.position), **about, "correlation_id": correlation(record)})
