"""Records from a file: a JSON array of events, or one record a line."""

import json
import sys
from pathlib import Path

from consumer.engine.errors import SettingsError


def read_records(name: str) -> list[bytes]:
    """The records in the file (`-`: standard input), undecoded. Blank lines are no records.

    Raises SettingsError when it cannot be read.
    """
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise SettingsError([f"{name}: {error.strerror}"]) from None
    elements = _elements(content)
    if elements is not None:
        return elements
    return [line for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]


def _elements(content: bytes) -> list[bytes] | None:
    """The elements of a JSON array, None when it is none."""
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return None
    try:
        array = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return [json.dumps(element).encode() for element in array] if isinstance(array, list) else None
