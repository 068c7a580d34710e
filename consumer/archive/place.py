"""A place for files: a directory, or a prefix in a bucket."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Found(NamedTuple):
    """A file of a place: its path, and its size in bytes."""

    path: str
    size: int


class Place(Protocol):
    """Paths are relative, and their parts are separated by `/`. Every method raises Unavailable when it fails."""

    def write(self, path: str, content: bytes) -> None:
        """Writes a file, or overwrites it. It is durable afterwards; nobody ever sees a part of it."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a file. Raises Unavailable also if there is none."""
        ...

    def list(self, prefix: str = "") -> Iterator[Found]:
        """The files whose paths start with `prefix`, sorted by path."""
        ...
