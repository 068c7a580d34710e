"""Messages to other systems. Each is sent at least once, with an id by which a receiver drops repeats."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol

from consumer.engine.errors import GaveUp, Unavailable
from consumer.engine.retry_policy import RetryPolicy, persist

PART = "bus"
"""The name of the bus in logs and metrics of waits."""


@dataclass(frozen=True, slots=True)
class Message:
    """`content` is a JSON object. A message that is sent again has the same `id`; its content may differ."""

    id: str
    type: str
    content: Mapping[str, Any]


class MessageBus(Protocol):
    @property
    def most(self) -> int:
        """How many messages `send` takes."""
        ...

    def send(self, messages: Sequence[Message]) -> Mapping[str, Unavailable]:
        """Sends messages with different ids. Returns why some of them may not have been sent, by id."""
        ...


@dataclass(frozen=True, slots=True)
class InMemoryBus:
    """Implements MessageBus. `sent` holds every message, in order."""

    sent: list[Message] = field(default_factory=list)
    most: int = 10

    def send(self, messages: Sequence[Message]) -> Mapping[str, Unavailable]:
        self.sent.extend(messages)
        return {}


def send_all(bus: MessageBus, messages: Iterable[Message], retry_policy: RetryPolicy) -> frozenset[str]:
    """Sends one message per id, and repeats only those that failed. Returns the ids left when the policy gives up."""
    left: dict[str, Message] = {}
    for message in messages:
        left.setdefault(message.id, message)
    with suppress(GaveUp):
        while left:
            persist(PART, retry_policy, partial(_send_some, bus, left))
    return frozenset(left)


def _send_some(bus: MessageBus, left: dict[str, Message]) -> None:
    """Sends the first messages that are left, and removes those that were sent. Raises Unavailable if one was not."""
    some = list(islice(left.values(), bus.most))
    failed = bus.send(some)
    for message in some:
        if message.id not in failed:
            del left[message.id]
    if failed:
        raise next(iter(failed.values()))
