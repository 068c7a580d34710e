"""Sending messages: only what failed is repeated, and the policy decides how often."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from consumer.engine.errors import GaveUp, Unavailable
from consumer.engine.messages import InMemoryBus, Message, MessageBus, send_all
from consumer.engine.observed import ObservedBus
from tests.support.simulation.core import FakeRetryPolicy, times


def message(name: str, content: str = "") -> Message:
    return Message(name, "Test", {"content": content})


@dataclass
class FlakyBus:
    """Takes two messages at a time, and refuses those for which `refuses` returns True."""

    refuses: Callable[[str], bool]
    most: int = 2
    requests: list[list[str]] = field(default_factory=list)

    def send(self, messages: Sequence[Message]) -> Mapping[str, Unavailable]:
        self.requests.append([each.id for each in messages])
        return {each.id: Unavailable(f"{each.id} refused") for each in messages if self.refuses(each.id)}


def test_all_messages_are_sent_in_order_in_groups() -> None:
    bus = FlakyBus(lambda _: False)
    assert send_all(bus, map(message, "abcde"), FakeRetryPolicy()) == frozenset()
    assert bus.requests == [["a", "b"], ["c", "d"], ["e"]]


def test_nothing_is_sent_for_no_messages() -> None:
    bus = FlakyBus(lambda _: True)
    assert send_all(bus, [], FakeRetryPolicy()) == frozenset()
    assert bus.requests == []


def test_an_id_is_sent_once_with_its_first_content() -> None:
    bus = InMemoryBus()
    send_all(bus, [message("a", "first"), message("b"), message("a", "second")], FakeRetryPolicy())
    assert bus.sent == [message("a", "first"), message("b")]


def test_only_what_failed_is_sent_again() -> None:
    twice = times(2)
    bus, policy = FlakyBus(lambda name: name == "a" and twice()), FakeRetryPolicy()

    assert send_all(bus, map(message, "abc"), policy) == frozenset()
    assert bus.requests == [["a", "b"], ["a", "c"], ["a"]]
    assert policy.waits == [("bus", "a refused")] * 2


def test_what_is_left_when_the_policy_gives_up_is_returned() -> None:
    bus = FlakyBus(lambda name: name in "ad")
    assert send_all(bus, map(message, "abcde"), FakeRetryPolicy(most=2)) == {"a", "d", "e"}


@pytest.mark.parametrize("allowed", [0, 1])
def test_no_request_starts_when_it_is_too_late(allowed: int) -> None:
    inner = FlakyBus(lambda _: False)

    def before(part: str) -> None:
        if len(inner.requests) == allowed:
            raise GaveUp(part)

    bus: MessageBus = ObservedBus(inner, before)
    assert send_all(bus, map(message, "abc"), FakeRetryPolicy()) == frozenset("abc"[2 * allowed :])
    assert len(inner.requests) == allowed
