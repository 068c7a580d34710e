"""Where states are stored: compare-and-set on a version, which is the fingerprint of the stored attributes."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeAlias, TypeVar

from consumer.engine.errors import Unavailable
from consumer.engine.projection import Codec, Key, Plain

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Versioned(Generic[S]):
    """A stored state. Equal versions mean equal states, regardless of the writer and the number of writes."""

    state: S
    version: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored row that is not a valid state.

    detail   where the row is (a hash stands for the key) and what is wrong; never data of the row
    version  the row's version attribute in the store's format, whatever it contains; None if absent
    """

    key: Key
    detail: str
    version: object = field(default=None, repr=False)


Stored: TypeAlias = Versioned[S] | Unreadable
"""What is stored under a key."""


@dataclass(frozen=True, slots=True)
class PendingWrite(Generic[S]):
    """A conditional write: `state` is stored only if `expected` is still in the store (None: if nothing is)."""

    expected: Versioned[S] | None
    state: S


@dataclass(frozen=True, slots=True)
class Saved(Generic[S]):
    """The result of each write.

    stored      the state is in the store: written now, or by an earlier attempt whose response was lost
    conflicts   the condition failed; with the item that is stored now, None if there is none
    unknown     throttled, timed out, failed: the state may have been written. Retrying is safe
    """

    stored: Mapping[Key, Versioned[S]] = field(default_factory=dict)
    conflicts: Mapping[Key, Stored[S] | None] = field(default_factory=dict)
    unknown: Mapping[Key, Unavailable] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page(Generic[S]):
    """A part of what is stored under one partition key.

    stored  in the order of the sort keys
    after   the sort key after which the next page begins; None for the last page
    """

    stored: Mapping[Key, Stored[S]]
    after: str | None = None


class Repository(Protocol[S]):
    """States by key. If the environment fails, `load` and `partition` raise Unavailable; `save` returns `unknown`."""

    def load(self, keys: Iterable[Key]) -> Mapping[Key, Stored[S]]:
        """The stored states of the keys, strongly consistent. Absent keys are omitted."""
        ...

    def save(self, writes: Mapping[Key, PendingWrite[S]]) -> Saved[S]:
        """Compare-and-set, independently for each key."""
        ...

    def partition(self, partition: str) -> Sequence[S | Unreadable]:
        """All states under one partition key, by sort key, strongly consistent."""
        ...


class ErasableRepository(Repository[S], Protocol[S]):
    """A repository from which an operator can delete. Consuming only needs Repository."""

    def forget(self, key: Key, found: Stored[S]) -> bool:
        """Deletes what is stored under the key if it is still `found`. Returns whether the key is absent now.

        Raises Unavailable.
        """
        ...


class ReadableRepository(Protocol[S]):
    """A repository for readers. Consuming only needs Repository. Raises Unavailable.

    A read that is not `consistent` costs half, and may miss a write of the last second.
    """

    def page(
        self, partition: str, after: str | None = None, most: int | None = None, *, consistent: bool = True
    ) -> Page[S]:
        """What is stored under one partition key and has a sort key greater than `after`: the first `most` of it."""
        ...

    def find(self, key: Key, *, consistent: bool = True) -> Stored[S] | None:
        """What is stored under the key."""
        ...


class ScannableRepository(Repository[S], ReadableRepository[S], Protocol[S]):
    """A repository that can be compared with something else as a whole."""

    def scan(self) -> Iterator[Mapping[Key, Stored[S]]]:
        """Everything that is stored, in parts, each strongly consistent. Raises Unavailable."""
        ...


def fingerprint(attributes: Mapping[str, Plain]) -> str:
    """A hash of the attributes, 32 hex digits. Their order does not matter."""
    return hashlib.blake2b(_to_json(attributes).encode(), digest_size=16).hexdigest()


_to_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str, check_circular=False).encode


class InMemoryRepository(Generic[S]):
    """Stores states in memory: for `consumer apply`, ENABLE_DYNAMO_DB=false and tests. Not thread-safe."""

    def __init__(self, codec: Codec[S]) -> None:
        self._codec = codec
        self._kept: dict[Key, Versioned[S]] = {}

    def load(self, keys: Iterable[Key]) -> dict[Key, Versioned[S]]:
        return {key: self._kept[key] for key in keys if key in self._kept}

    def save(self, writes: Mapping[Key, PendingWrite[S]]) -> Saved[S]:
        stored: dict[Key, Versioned[S]] = {}
        conflicts: dict[Key, Versioned[S] | None] = {}
        for key, write in writes.items():
            current = self._kept.get(key)
            wanted = Versioned(write.state, fingerprint(self._codec.dump(write.state)))
            if _version(current) == _version(write.expected):
                self._kept[key] = stored[key] = wanted
            elif _version(current) == wanted.version:
                stored[key] = wanted
            else:
                conflicts[key] = current
        return Saved(stored, conflicts)

    def states(self) -> list[S]:
        """All states, sorted by key."""
        return [self._kept[key].state for key in sorted(self._kept)]

    def partition(self, partition: str) -> list[S]:
        return [self._kept[key].state for key in sorted(self._kept) if key[0] == partition]

    def page(
        self,
        partition: str,
        after: str | None = None,
        most: int | None = None,
        *,
        consistent: bool = True,  # noqa: ARG002 - every read of memory is
    ) -> Page[S]:
        keys = sorted(key for key in self._kept if key[0] == partition and (after is None or key[1] > after))
        part = keys[:most]
        return Page({key: self._kept[key] for key in part}, part[-1][1] if len(part) < len(keys) else None)

    def find(self, key: Key, *, consistent: bool = True) -> Versioned[S] | None:  # noqa: ARG002 - as above
        return self._kept.get(key)

    def scan(self) -> Iterator[dict[Key, Versioned[S]]]:
        yield dict(self._kept)

    def forget(self, key: Key, found: Stored[S]) -> bool:
        if _version(self._kept.get(key)) == found.version:
            self._kept.pop(key, None)
        return key not in self._kept


def _version(versioned: Versioned[S] | None) -> str | None:
    return versioned.version if versioned else None
