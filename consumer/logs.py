"""Logs: one JSON object a line on stderr. Never payloads; user ids only at DEBUG."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

from consumer.engine.processor import BatchResult

_fields: ContextVar[Mapping[str, object]] = ContextVar("fields", default=MappingProxyType({}))
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}


class JsonLines(logging.Formatter):
    """`time, level, logger, message`, then what the caller gave as `extra`, then `error`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _fields.get()
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=True)


def configure(level: str) -> None:
    """Sends our loggers' lines, from `level` up, and every library's warnings to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("consumer").setLevel(level)


@contextmanager
def fields(**more: object) -> Iterator[None]:
    """Puts `more` into every line logged inside the block."""
    token = _fields.set({**_fields.get(), **more})
    try:
        yield
    finally:
        _fields.reset(token)


def tell_batch(log: logging.Logger, result: BatchResult, **more: object) -> None:
    """A line for the batch, and one for each record quarantined."""
    for entry in result.quarantined:
        position = str(entry.record.position)
        log.warning("quarantined", extra={"position": position, "reason": entry.reason, "detail": entry.detail})
    log.info(
        "batch",
        extra={
            **more,
            "shard": result.records[0].position.shard,
            "first": result.records[0].position.sequence,
            "last": result.records[-1].position.sequence,
            "unsettled": result.unsettled and str(result.unsettled),
            **{str(outcome): count for outcome, count in result.outcomes.items()},
            "warnings": result.warnings,
            "seconds": result.seconds,
        },
    )
