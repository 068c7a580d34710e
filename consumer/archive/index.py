"""An index of an hour of the archive: which users have records in which objects, as hashes of their ids.

It is only ever a shortcut. It names the objects that it covers, with their sizes: an object that it does not name, or
that has another size, is read as if there was no index, and so is every object of an hour whose index is malformed. Two
users may have the same hash, which costs a read.
"""

import json
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from consumer.archive.names import prefix
from consumer.archive.place import Found

FOLDER = "_index/"
"""Athena, Spark and Hive read nothing in a folder whose name begins with an underscore."""
FORMAT = 1
"""Another number must be chosen when other users are found in a record, or hashed in another way."""
_DIGEST_BYTES = 16
_LEVEL = 1
"""The paths become much shorter. The hashes do not, at any level."""


def path_of(stream: str, hour: datetime) -> str:
    return f"{FOLDER}{prefix(stream, hour)}users"


def hash_of(user: str) -> int:
    """32 bits. It separates users, and hides nothing."""
    return zlib.crc32(user.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of `size` bytes, and the hashes of its users, sorted."""

    size: int
    users: "array[int]"

    @classmethod
    def of(cls, size: int, users: Iterable[str]) -> "Entry":
        return cls(size, array("I", sorted({hash_of(user) for user in users})))

    def holds(self, user_hash: int) -> bool:
        place = bisect_left(self.users, user_hash)
        return place < len(self.users) and self.users[place] == user_hash


@dataclass(frozen=True, slots=True)
class Index:
    """The objects that are indexed, by path."""

    entries: Mapping[str, Entry]

    def covers(self, found: Found) -> bool:
        entry = self.entries.get(found.path)
        return entry is not None and entry.size == found.size

    def may_hold(self, found: Found, user_hash: int) -> bool:
        """Whether the object may have a record of the user. Always true for one that is not covered."""
        return not self.covers(found) or self.entries[found.path].holds(user_hash)


NOTHING = Index({})


def encode(index: Index) -> bytes:
    """A digest, and compressed: a line of JSON, and the hashes of all objects as little-endian numbers of 4 bytes."""
    objects = [[path, entry.size, len(entry.users)] for path, entry in index.entries.items()]
    head = json.dumps({"format": FORMAT, "objects": objects}).encode()
    hashes = b"".join(_swapped(entry.users).tobytes() for entry in index.entries.values())
    content = zlib.compress(b"\n".join([head, hashes]), _LEVEL)
    return b"\n".join([_digest(content), content])


def decode(content: bytes) -> Index:
    """The index from the output of `encode`. Raises ValueError for everything else, even if one bit has changed."""
    digest, _, rest = content.partition(b"\n")
    if digest != _digest(rest):
        raise ValueError("its digest is wrong")
    head, _, hashes = zlib.decompress(rest).partition(b"\n")
    found = json.loads(head)
    if found["format"] != FORMAT:
        raise ValueError(f"its format is {found['format']}, not {FORMAT}")
    every, begin, entries = _swapped(array("I", hashes)), 0, {}
    for path, size, count in found["objects"]:
        entries[path] = Entry(size, every[begin : begin + count])
        begin += count
    return Index(entries)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST_BYTES).hexdigest().encode()


def _swapped(numbers: "array[int]") -> "array[int]":
    """Between the order of bytes of this machine and that of the file."""
    if sys.byteorder == "little":
        return numbers
    swapped = array("I", numbers)
    swapped.byteswap()
    return swapped
