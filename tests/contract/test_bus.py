"""The contract of all message buses: in memory, and EventBridge on MiniStack with a rule and a queue."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from uuid import uuid4

import pytest

from consumer.engine.messages import InMemoryBus, Message, MessageBus, send_all
from consumer.stores.aws import CLIENT
from consumer.stores.eventbridge import SOURCE, EventBridge
from tests.contract.conftest import Emulators
from tests.support.driven.queues import Queue
from tests.support.driven.waiting import until
from tests.support.emulators.aws import session
from tests.support.simulation.core import FakeRetryPolicy


@dataclass
class Bus:
    """A bus, and what a receiver has got from it."""

    bus: MessageBus
    received: Callable[[], list[Message]]


@pytest.fixture(params=["memory", "eventbridge"])
def bus(request: pytest.FixtureRequest, emulators: Emulators) -> Iterator[Bus]:
    if request.param == "memory":
        memory = InMemoryBus()
        yield Bus(memory, lambda: memory.sent)
        return
    endpoint = emulators.endpoint("ministack")
    name = f"bus-{uuid4().hex[:8]}"
    queue = Queue.behind_a_rule(endpoint, name, {"source": [SOURCE]}, name)
    client = session().client("events", endpoint_url=endpoint, config=CLIENT)
    yield Bus(EventBridge(client, name), lambda: [_message(each) for each in queue.received()])
    client.close()
    queue.client.close()


def _message(event: dict[str, object]) -> Message:
    detail = event["detail"]
    assert isinstance(detail, dict)
    return Message(str(detail["id"]), str(event["detail-type"]), detail)


def messages(count: int) -> Sequence[Message]:
    texts = ("plain", 'quoted "', "\u00e9\U0001f3b2", "<&>")
    return [Message(str(n), "A test", {"id": str(n), "text": texts[n % 4], "number": n}) for n in range(count)]


def test_every_message_arrives_once_and_unchanged(bus: Bus) -> None:
    some = messages(23)
    assert send_all(bus.bus, some, FakeRetryPolicy()) == frozenset()
    until(lambda: len(bus.received()) >= len(some), "the messages")
    assert sorted(bus.received(), key=lambda each: int(each.id)) == some


def test_a_bus_takes_as_many_messages_as_it_says(bus: Bus) -> None:
    some = messages(bus.bus.most)
    assert bus.bus.send(some) == {}
    until(lambda: len(bus.received()) >= len(some), "the messages")


def test_a_bus_that_does_not_exist_accepts_nothing(emulators: Emulators) -> None:
    client = session().client("events", endpoint_url=emulators.endpoint("ministack"), config=CLIENT)
    failed = EventBridge(client, "arn:aws:events:us-east-1:999999999999:event-bus/nowhere:or:else").send(messages(2))
    client.close()
    assert failed.keys() == {"0", "1"}
    assert all(str(cause).startswith("event bus arn:") for cause in failed.values())
