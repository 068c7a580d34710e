"""Writes quarantined records as a file that the commands with a FILE read: one captured Lambda event per line.

That form keeps any bytes. Field `quarantine` of a line is for people; the readers ignore it.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from consumer.admin.invoke import mapped_record
from consumer.engine.errors import Reason, SettingsError
from consumer.engine.quarantine import Quarantined


def lines(entries: Iterable[Quarantined], first: int) -> Iterator[str]:
    """A line for each entry.

    The records are numbered from `first` (invoke.run_number), not with their own sequence numbers: records of one
    aggregate share theirs, so `consumer lambda-invoke` would quarantine one in the place of the other.
    """
    for number, entry in enumerate(entries, start=first):
        yield json.dumps(_line(entry, str(number)))


def _line(entry: Quarantined, number: str) -> dict[str, Any]:
    record, (stream, shard, *_) = entry.record, entry.record.position
    arn = f"arn:aws:kinesis:local:000000000000:stream/{quote(stream, safe='', errors='surrogatepass')}"
    line = mapped_record(arn, shard, number, record.data, record.arrived_at / 1_000 or None)
    if entry.reason == Reason.RECORD_DATA:
        # the entry contains the text that should have been base64
        line["kinesis"]["data"] = record.data.decode("utf-8", "replace")
    about = {"position": str(record.position), "reason": entry.reason, "type": entry.type, "detail": entry.detail}
    return {**line, "quarantine": about}


@contextmanager
def new_file(path: Path) -> Iterator[IO[str]]:
    """Opens a file only for its owner, which appears under its name when it is complete. Raises SettingsError."""
    part = path.with_name(f"{path.name}.part")
    try:
        if path.exists():
            raise SettingsError([f"{path}: exists; remove it, or choose another file"])
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError([f"{part}: {error.strerror}"]) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        yield file
        file.flush()
        os.fsync(descriptor)
    part.rename(path)
