"""Limits by key in bounded memory: in files when there are many, each with the limits of some users."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

from consumer.engine.repository import Unreadable
from consumer.limits.state import LimitState

Key: TypeAlias = tuple[str, ...]
"""Begins with the user's id."""

Value: TypeAlias = LimitState | Unreadable

IN_MEMORY = 100_000
"""Limits: 150 MiB."""
_LENGTH = 4
_HASHES = 2**64


class _Entry(msgspec.Struct, array_like=True):
    key: list[str]
    state: LimitState | None = None
    detail: str = ""


_decode = msgspec.msgpack.Decoder(_Entry).decode
_encode = msgspec.msgpack.Encoder().encode


def hash_of(user: str) -> int:
    """A number below 2**64 that is the same for a user in every process."""
    return int.from_bytes(hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def share_of(user: str) -> float:
    """The same, as a share of all users: 0 to 1."""
    return hash_of(user) / _HASHES


class Partitions:
    """Values by key in `count` partitions. With more than one, `most` values are in memory while they are added.

    Two values of one key become `join(left, right)`. The folder must exist.
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
            for entry in _read(self._file(number)):
                value = entry.state or Unreadable((entry.key[0], entry.key[1]), entry.detail)
                _add(found, tuple(entry.key), value, self._join)
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
                contents = (_encode(_entry(key, value)) for key, value in part.items())
                with self._file(number).open("ab") as file:
                    file.writelines(len(content).to_bytes(_LENGTH) + content for content in contents)
        self._kept.clear()
        self._is_spilled = True

    def _file(self, number: int) -> Path:
        return self._folder / str(number)


def _add(values: dict[Key, Value], key: Key, value: Value, join: Callable[[Value, Value], Value]) -> None:
    found = values.get(key)
    values[key] = value if found is None else join(found, value)


def _entry(key: Key, value: Value) -> _Entry:
    return _Entry(list(key), detail=value.detail) if isinstance(value, Unreadable) else _Entry(list(key), value)


def _read(file: Path) -> Iterator[_Entry]:
    content = memoryview(file.read_bytes() if file.exists() else b"")
    at = 0
    while at < len(content):
        start = at + _LENGTH
        at = start + int.from_bytes(content[at:start])
        yield _decode(content[start:at])
