"""States by key in bounded memory: in files when there are many, each with the states of some partition keys."""

import hashlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

Key: TypeAlias = tuple[str, ...]
"""Begins with the partition key, for limits the user's id."""

Value: TypeAlias = Any
"""A state, or Unreadable."""

IN_MEMORY = 100_000
"""States: 150 MiB of limits."""
_HASHES = 2**64


def hash_of(partition: str) -> int:
    """A number below 2**64 that is the same for a partition key in every process."""
    return int.from_bytes(hashlib.blake2b(partition.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def share_of(partition: str) -> float:
    """The same, as a share of all partition keys: 0 to 1."""
    return hash_of(partition) / _HASHES


class Partitions:
    """Values by key in `count` partitions. With more than one, `most` values are in memory while they are added.

    Two values of one key become `join(left, right)`. The folder must exist, and nobody else may write to it.
    """

    def __init__(self, folder: Path, count: int, join: Callable[[Value, Value], Value], most: int = IN_MEMORY) -> None:
        self.count = count
        self._folder = folder
        self._join = join
        self._most = most
        self._kept: dict[Key, Value] = {}
        self._is_spilled = False

    def add(self, key: Key, value: Value) -> None:
        _add(self._kept, key, value, self._join)
        if self.count > 1 and len(self._kept) >= self._most:
            self._spill()

    def partitions(self) -> Iterator[dict[Key, Value]]:
        """The values of one partition after the other, in an order that two objects with the same count share."""
        if not self._is_spilled:
            yield from self._parts()
            return
        self._spill()
        for number in range(self.count):
            found: dict[Key, Value] = {}
            for part in _read(self._file(number)):
                for key, value in part.items():
                    _add(found, key, value, self._join)
            yield found

    def _parts(self) -> list[dict[Key, Value]]:
        """What is in memory, by partition."""
        parts: list[dict[Key, Value]] = [{} for _ in range(self.count)]
        for key, value in self._kept.items():
            parts[hash_of(key[0]) % self.count][key] = value
        return parts

    def _spill(self) -> None:
        for number, part in enumerate(self._parts()):
            if part:
                with self._file(number).open("ab") as file:
                    pickle.dump(part, file, pickle.HIGHEST_PROTOCOL)
        self._kept.clear()
        self._is_spilled = True

    def _file(self, number: int) -> Path:
        return self._folder / str(number)


def _add(values: dict[Key, Value], key: Key, value: Value, join: Callable[[Value, Value], Value]) -> None:
    found = values.get(key)
    values[key] = value if found is None else join(found, value)


def _read(file: Path) -> Iterator[dict[Key, Value]]:
    if not file.exists():
        return
    with file.open("rb") as parts:
        while parts.peek(1):
            yield pickle.load(parts)  # noqa: S301 - this process wrote it, in a folder of its own
