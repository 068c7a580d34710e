"""Logs: one JSON object a line on stderr, or a line to read when stderr is a terminal.

Never payloads, amounts or user ids from INFO on. An exception's message may quote what it choked on, so only those
that cannot do that are written out; at DEBUG all are.
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
_FIRST = ("time", "level", "logger", "message", "error")
_DISCREET = (ConsumerError, OSError)
"""Exceptions whose messages hold nothing of a record."""

_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


class JsonLines(logging.Formatter):
    """`time, level, logger, message`, then what the caller gave as `extra`, then `error`.

    `outspoken`: the messages of all exceptions are written out.
    """

    def __init__(self, *, include_messages: bool = False) -> None:
        super().__init__()
        self._outspoken = include_messages

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
            line["error"] = "\n".join(_trace(record.exc_info[1], include_messages=self._outspoken))
        return line


class Readable(JsonLines):
    """The same for eyes."""

    def format(self, record: logging.LogRecord) -> str:
        return readable(self.line(record))


def configure(level: str) -> None:
    """Sends our loggers' lines, from `level` up, and every library's warnings to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    form = Readable if sys.stderr.isatty() else JsonLines
    handler.setFormatter(form(include_messages=level == "DEBUG"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("consumer").setLevel(level)


def readable(line: Mapping[str, Any]) -> str:
    """A log line as a terminal shows it: time of day (UTC), level, logger, message, the rest as name=value."""
    level = str(line.get("level", ""))
    logger = str(line.get("logger", "")).removeprefix("software.amazon.kinesis.")
    begin = (_plain(str(line.get("time", ""))[11:23]), _coloured(level), _plain(logger))
    rest = (f"{_plain(name)}={_plain(value)}" for name, value in line.items() if name not in _FIRST)
    parts = (*begin, _plain(line.get("message", "")), *rest)
    trace = [f"    {_plain(part)}" for part in str(line.get("error", "")).splitlines()]
    return "\n".join([" ".join(parts), *trace])


def for_terminal(line: Mapping[str, Any]) -> str | None:
    """The line as `readable` has it; None for what the JVM says below WARNING, which is for a log that is kept."""
    ours = str(line.get("logger", "")).partition(".")[0] == "consumer"
    return readable(line) if ours or line.get("level") not in ("INFO", "DEBUG", "TRACE") else None


def _coloured(level: str) -> str:
    return f"\x1b[{_COLOURS.get(level, '0')}m{_plain(level):8}\x1b[0m"


def _plain(value: object) -> str:
    """On one line, and without anything that a terminal would obey."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def _trace(error: BaseException, *, include_messages: bool) -> Iterator[str]:
    """As Python tells it, the cause first, each message only if it may be told."""
    if before := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        yield from _trace(before, include_messages=include_messages)
        yield "" if error.__cause__ else "during which:"
    yield from (entry.rstrip("\n") for entry in traceback.format_tb(error.__traceback__))
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    told = str(error) if include_messages or isinstance(error, _DISCREET) else "(its message is told at DEBUG)"
    yield f"{name}: {told}"


@contextmanager
def fields(**more: object) -> Iterator[None]:
    """Puts `more` into every line logged inside the block."""
    token = _fields.set({**_fields.get(), **more})
    try:
        yield
    finally:
        _fields.reset(token)


def tell_batch(
    log: logging.Logger, result: BatchResult, correlation: Callable[[Record], str | None], **more: object
) -> None:
    """A line for the batch, one for each record quarantined, and at DEBUG one for each record.

    `correlation` gives the id under which a record's producer knows it; it is not asked above DEBUG.
    """
    if log.isEnabledFor(logging.DEBUG):
        _tell_records(log, result, correlation)
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


def _tell_records(log: logging.Logger, result: BatchResult, correlation: Callable[[Record], str | None]) -> None:
    for record, record_outcome in zip(result.records, result.record_outcomes, strict=True):
        about = (
            {"type": record_outcome.type, "outcome": record_outcome.outcome}
            if record_outcome
            else {"outcome": "unsettled"}
        )
        told = {"position": str(record.position), **about, "correlation_id": correlation(record)}
        log.debug("record", extra=told)
