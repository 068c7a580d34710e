"""Wrappers that call a function before each request to a store or a bus.

A record processor reports that it is alive there. A Lambda invocation checks there whether enough time is left.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from consumer.engine.errors import Unavailable
from consumer.engine.messages import PART, Message, MessageBus
from consumer.engine.projection import Key
from consumer.engine.quarantine import Quarantine, Quarantined
from consumer.engine.repository import PendingWrite, Repository, Saved, Stored, Unreadable

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class ObservedRepository(Generic[S]):
    """Implements Repository over another one; calls `before("load")` or `before("store")` before each request.

    An exception from `before` prevents the request.
    """

    inner: Repository[S]
    before: Callable[[str], None]

    def load(self, keys: Iterable[Key]) -> Mapping[Key, Stored[S]]:
        self.before("load")
        return self.inner.load(keys)

    def save(self, writes: Mapping[Key, PendingWrite[S]]) -> Saved[S]:
        self.before("store")
        return self.inner.save(writes)

    def partition(self, partition: str) -> Sequence[S | Unreadable]:
        self.before("load")
        return self.inner.partition(partition)


@dataclass(frozen=True, slots=True)
class ObservedQuarantine:
    """Implements Quarantine over another one; calls `before("quarantine")` before each request.

    An exception from `before` prevents the request.
    """

    inner: Quarantine
    before: Callable[[str], None]

    def put(self, entries: Iterable[Quarantined]) -> None:
        self.before("quarantine")
        self.inner.put(entries)


@dataclass(frozen=True, slots=True)
class ObservedBus:
    """Implements MessageBus over another one; calls `before("bus")` before each request.

    An exception from `before` prevents the request.
    """

    inner: MessageBus
    before: Callable[[str], None]

    @property
    def most(self) -> int:
        return self.inner.most

    def send(self, messages: Sequence[Message]) -> Mapping[str, Unavailable]:
        self.before(PART)
        return self.inner.send(messages)
