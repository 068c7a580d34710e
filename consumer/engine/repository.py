"""Where states are kept: compare-and-set on a version that is the fingerprint of what is stored."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeAlias, TypeVar

from consumer.engine.errors import Unavailable
from consumer.engine.projection import Codec, Key, Plain

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Versioned(Generic[S]):
    """A stored state. Equal versions mean equal states, whoever wrote them and in however many steps."""

    state: S
    version: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row of the store that no state can be made of.

    detail   where it is and what is wrong, with a hash for the key; never what the row says
    version  what the row has in the place of its version, in the store's own form; None for nothing
    """

    key: Key
    detail: str
    version: object = field(default=None, repr=False)


Stored: TypeAlias = Versioned[S] | Unreadable
"""What is stored under a key."""


@dataclass(frozen=True, slots=True)
class PendingWrite(Generic[S]):
    """To be stored under the condition that `expected` is what is there; None: that nothing is."""

    expected: Versioned[S] | None
    state: S


@dataclass(frozen=True, slots=True)
class Saved(Generic[S]):
    """What became of each change.

    stored      is in the store now: written, or found there by a repeated request
    conflicts   was refused; with the item that is there now, None when there is none
    unknown     throttled, timed out, failed: it may have been written. Asking again is safe
    """

    stored: Mapping[Key, Versioned[S]] = field(default_factory=dict)
    conflicts: Mapping[Key, Stored[S] | None] = field(default_factory=dict)
    unknown: Mapping[Key, Unavailable] = field(default_factory=dict)


class Repository(Protocol[S]):
    """States by key. `load` and `partition` raise Unavailable when the environment fails; `save` reports it."""

    def load(self, keys: Iterable[Key]) -> Mapping[Key, Stored[S]]:
        """What is stored under the keys, strongly consistent; absent ones are left out."""
        ...

    def save(self, writes: Mapping[Key, PendingWrite[S]]) -> Saved[S]:
        """Compare-and-set of each change on its own."""
        ...

    def partition(self, partition: str) -> Sequence[S | Unreadable]:
        """All states under one partition key, by sort key, strongly consistent."""
        ...


class ErasableRepository(Repository[S], Protocol[S]):
    """A repository that an operator can repair; who consumes needs no more than the other."""

    def forget(self, key: Key, found: Stored[S]) -> bool:
        """Deletes what is stored under the key if it is still what was found there; whether nothing is there now.

        Raises Unavailable.
        """
        ...


def fingerprint(attributes: Mapping[str, Plain]) -> str:
    """32 hex digits that stand for the attributes: equal for equal ones, whatever their order."""
    text = json.dumps(attributes, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class InMemoryRepository(Generic[S]):
    """Keeps states in the process: for `consumer apply`, ENABLE_DYNAMO_DB=false and tests. Not for threads."""

    def __init__(self, codec: Codec[S]) -> None:
        self._codec = codec
        self._kept: dict[Key, Versioned[S]] = {}

    def load(self, keys: Iterable[Key]) -> dict[Key, Versioned[S]]:
        return {key: self._kept[key] for key in keys if key in self._kept}

    def save(self, writes: Mapping[Key, PendingWrite[S]]) -> Saved[S]:
        stored: dict[Key, Versioned[S]] = {}
        conflicts: dict[Key, Versioned[S] | None] = {}
        for key, change in writes.items():
            current = self._kept.get(key)
            wanted = Versioned(change.state, fingerprint(self._codec.dump(change.state)))
            if _version(current) == _version(change.expected):
                self._kept[key] = stored[key] = wanted
            elif _version(current) == wanted.version:
                stored[key] = wanted
            else:
                conflicts[key] = current
        return Saved(stored, conflicts)

    def states(self) -> list[S]:
        """Everything kept, by key."""
        return [self._kept[key].state for key in sorted(self._kept)]

    def partition(self, partition: str) -> list[S]:
        return [self._kept[key].state for key in sorted(self._kept) if key[0] == partition]

    def forget(self, key: Key, found: Stored[S]) -> bool:
        if _version(self._kept.get(key)) == found.version:
            self._kept.pop(key, None)
        return key not in self._kept


def _version(versioned: Versioned[S] | None) -> str | None:
    return versioned.version if versioned else None
