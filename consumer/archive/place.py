"""A place for files: a directory, a prefix in a bucket, or memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from consumer.engine.errors import Unavailable


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


@dataclass
class InMemoryPlace:
    """Implements Place, for trials and tests. `files` are their contents by path."""

    files: dict[str, bytes] = field(default_factory=dict)

    def write(self, path: str, content: bytes) -> None:
        self.files[path] = content

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise Unavailable(f"archive {path}: not there")
        return self.files[path]

    def list(self, prefix: str = "") -> Iterator[Found]:
        yield from (Found(path, len(self.files[path])) for path in sorted(self.files) if path.startswith(prefix))
