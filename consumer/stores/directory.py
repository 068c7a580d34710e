"""The quarantine in a directory: for one machine, trials and tests."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.engine.errors import Unavailable
from consumer.engine.quarantine import Quarantined, path_of
from consumer.engine.records import Position


class DirectoryQuarantine:
    """One JSON file a record, `<stream>/<shard>/<sequence>[-<sub>].json`; a file is there whole or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, entries: Iterable[Quarantined]) -> None:
        with self._unavailable():
            for entry in entries:
                self._write(self._root / path_of(entry.record.position), json.dumps(entry.to_json()))

    def entries(self) -> Iterator[Quarantined]:
        with self._unavailable():
            for path in sorted(self._root.glob("*/*/*.json"), key=str):
                yield Quarantined.from_json(json.loads(path.read_text(encoding="utf-8")))

    def size(self) -> int:
        """How many records are kept."""
        with self._unavailable():
            return sum(1 for _ in self._root.glob("*/*/*.json"))

    def drop(self, position: Position) -> None:
        with self._unavailable():
            (self._root / path_of(position)).unlink(missing_ok=True)

    @contextmanager
    def _unavailable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(f"quarantine {self._root}: {error.strerror}") from error

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            scratch.touch(mode=0o600)  # it names a user
            with scratch.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        except OSError:
            scratch.unlink(missing_ok=True)  # half a file would keep a full disk full
            raise
        _sync(path.parent)


def _sync(directory: Path) -> None:
    """The name of a file outlives a power cut only when its directory is on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
