"""The function that sends notices: its response to a mapping of the table's stream, and when it returns."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from consumer import bootstrap
from consumer.aws_lambda import notices
from consumer.aws_lambda.deadline import ANSWER_SECONDS
from consumer.aws_lambda.handler import Answer, MalformedInvocation
from consumer.aws_lambda.notices import NoticeFunction
from consumer.engine.errors import SettingsError, Unavailable
from consumer.engine.messages import InMemoryBus, Message, MessageBus
from consumer.monitoring.logs import JsonLines
from consumer.stores.aws import SHORT_TIMEOUTS
from consumer.stores.requests import RequestOutcome
from tests.support.driven.invocations import SUCCESS, Clock, Invocation
from tests.support.generators.events import LIMIT, USER, created, progress_changed, reset
from tests.support.generators.table_stream import Change, changes, entry, number, stream_event


@dataclass
class Function:
    """The function in one container, with its own clock. `lines`: its metrics."""

    bus: MessageBus = field(default_factory=InMemoryBus)
    clock: Clock = field(default_factory=Clock)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def invoke(self, event: object, timeout: float = 60.0) -> Answer:
        chances = (turn % 7 / 7 for turn in count())
        write: Callable[[str], object] = lambda line: self.lines.append(json.loads(line))  # noqa: E731
        function = NoticeFunction(self.bus, (80, 100), write, self.clock.sleep, chances.__next__)
        return function.handle(event, Invocation(self.clock, timeout))


@dataclass
class FlakyBus:
    """Refuses what `refuses` names, by the limit and the threshold. A request takes `seconds`."""

    refuses: Callable[[str, int], bool]
    clock: Clock = field(default_factory=Clock)
    seconds: float = 0.0
    sent: list[Message] = field(default_factory=list)
    most: int = 10
    requests: int = 0

    def send(self, messages: Sequence[Message]) -> Mapping[str, Unavailable]:
        self.requests += 1
        self.clock.sleep(self.seconds)
        refused = [each for each in messages if self.refuses(each.content["userLimitId"], each.content["threshold"])]
        self.sent += [each for each in messages if each not in refused]
        return {each.id: Unavailable("event bus default: ThrottlingException") for each in refused}


def used(sequence: int, progress: str, limit: str = LIMIT) -> dict[str, Any]:
    return progress_changed(sequence, amount=progress, userLimitId=limit)


def writes(*limits: str) -> list[Change]:
    """Two writes per limit: it is created, and reaches both thresholds."""
    return [change for limit in limits for change in changes([created(1, userLimitId=limit), used(2, "1000", limit)])]


def failed(place: int) -> Answer:
    return {"batchItemFailures": [{"itemIdentifier": number(place)}]}


def thresholds(bus: InMemoryBus | FlakyBus) -> list[tuple[str, int]]:
    return [(each.content["userLimitId"], each.content["threshold"]) for each in bus.sent]


# Sent and unsent notices


def test_the_notices_of_a_batch_are_sent_and_a_success() -> None:
    bus = InMemoryBus()
    answer = Function(bus).invoke(stream_event(changes([created(1), used(2, "850"), reset(3), used(4, "1000")])))

    assert answer == SUCCESS
    assert thresholds(bus) == [(LIMIT, 80), (LIMIT, 80), (LIMIT, 100)]
    assert {each.type for each in bus.sent} == {"Limit threshold reached"}
    assert all(each.id == each.content["id"] for each in bus.sent)


def test_a_batch_without_a_crossing_sends_nothing() -> None:
    bus = InMemoryBus()
    assert Function(bus).invoke(stream_event(changes([created(1), used(2, "10")]))) == SUCCESS
    assert bus.sent == []


def test_no_records_are_a_success() -> None:
    assert Function().invoke({"Records": []}) == SUCCESS


def test_the_removal_of_a_limit_sends_nothing() -> None:
    bus = InMemoryBus()
    ((_, before), *_) = reversed(writes(LIMIT))
    assert Function(bus).invoke(stream_event([(before, None)])) == SUCCESS
    assert bus.sent == []


def test_a_crossing_that_is_in_a_batch_twice_is_sent_once() -> None:
    bus = InMemoryBus()
    batch = stream_event(changes([created(1), used(2, "850"), used(3, "1"), used(4, "900")]))

    assert Function(bus).invoke(batch) == SUCCESS
    assert thresholds(bus) == [(LIMIT, 80)]


def test_a_batch_that_is_delivered_again_has_the_same_ids() -> None:
    first, second = InMemoryBus(), InMemoryBus()
    for bus in (first, second):
        Function(bus).invoke(stream_event(writes("l-1", "l-2")))
    assert first.sent == second.sent


def test_the_first_record_with_an_unsent_notice_is_the_only_identifier() -> None:
    bus = FlakyBus(lambda limit, _: limit in ("l-2", "l-3"))
    answer = Function(bus).invoke(stream_event(writes("l-1", "l-2", "l-3", "l-4")))

    assert answer == failed(4)
    assert thresholds(bus) == [("l-1", 80), ("l-1", 100), ("l-4", 80), ("l-4", 100)]


def test_one_of_two_notices_of_a_record_fails_it() -> None:
    bus = FlakyBus(lambda _, threshold: threshold == 100)
    assert Function(bus).invoke(stream_event(writes("l-1"))) == failed(2)
    assert thresholds(bus) == [("l-1", 80)]


def test_a_failed_notice_is_sent_when_it_is_delivered_again() -> None:
    bus = FlakyBus(lambda limit, _: limit == "l-2")
    batch = stream_event(writes("l-1", "l-2"))
    assert Function(bus).invoke(batch) == failed(4)

    bus.refuses = lambda *_: False
    assert Function(bus).invoke({"Records": batch["Records"][3:]}) == SUCCESS
    assert thresholds(bus) == [("l-1", 80), ("l-1", 100), ("l-2", 80), ("l-2", 100)]


# Time


def test_a_throttled_bus_is_waited_for_within_the_invocation() -> None:
    clock = Clock()
    bus = FlakyBus(lambda *_: clock.now < 20, clock)
    function = Function(bus, clock)

    assert function.invoke(stream_event(writes("l-1"))) == SUCCESS
    assert 20 <= clock.now < 22
    (waits,) = {line["consumer_environment_retries_total"] for line in function.lines}
    assert (waits, bus.requests) == (bus.requests - 1, bus.requests)


@pytest.mark.parametrize("seconds", [0.0, 4.0], ids=["refused at once", "no answer"])
def test_it_responds_before_its_timeout(seconds: float) -> None:
    clock = Clock()
    bus = FlakyBus(lambda *_: True, clock, seconds)

    assert Function(bus, clock).invoke(stream_event(writes("l-1"))) == failed(2)
    assert 60 - ANSWER_SECONDS - 1 - seconds <= clock.now <= 60 - ANSWER_SECONDS + seconds


def test_a_short_timeout_allows_a_first_attempt() -> None:
    bus = InMemoryBus()
    assert Function(bus).invoke(stream_event(writes("l-1")), timeout=1.0) == SUCCESS
    assert len(bus.sent) == 2


# Images that cannot be read


def unreadable(change: Change, name: str) -> dict[str, Any]:
    record = entry(change)
    record["dynamodb"][name]["definition"]["M"]["status"] = {"S": "SLEEPING"}
    return record


def test_an_unreadable_image_is_logged_without_its_content_and_does_not_block_the_shard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = InMemoryBus()
    _, crossing = writes("l-1")
    batch = {"Records": [unreadable(crossing, "NewImage"), *stream_event(writes("l-2"))["Records"]]}

    assert Function(bus).invoke(batch) == SUCCESS
    assert thresholds(bus) == [("l-2", 80), ("l-2", 100)]
    (line,) = [JsonLines().format(record) for record in caplog.records if record.levelno == logging.ERROR]
    assert json.loads(line)["message"] == "unreadable image"
    assert "definition.status" in line
    assert "SLEEPING" not in line
    assert USER not in line


def test_after_an_unreadable_image_a_limit_announces_all_that_it_has_reached() -> None:
    bus = InMemoryBus()
    _, (_, reached) = writes("l-1")
    assert Function(bus).invoke({"Records": [unreadable((reached, reached), "OldImage")]}) == SUCCESS
    assert thresholds(bus) == [("l-1", 80), ("l-1", 100)]


# Events of another kind


def without(*path: str) -> dict[str, Any]:
    record = entry(writes("l-1")[0])
    *parents, name = path
    part = record
    for parent in parents:
        part = part[parent]
    del part[name]
    return {"Records": [record]}


@pytest.mark.parametrize(
    ("event", "place"),
    [
        (None, "Records"),
        ([], "Records"),
        ({"Records": None}, "Records"),
        ({"Records": [None]}, "Records[0].eventSource"),
        ({"Records": [{"eventSource": "aws:kinesis"}]}, "Records[0].eventSource"),
        (without("dynamodb"), "Records[0].dynamodb.SequenceNumber"),
        (without("dynamodb", "SequenceNumber"), "Records[0].dynamodb.SequenceNumber"),
        (without("dynamodb", "StreamViewType"), "Records[0].dynamodb.StreamViewType"),
    ],
)
def test_an_event_of_another_kind_is_refused_before_anything_is_sent(event: Any, place: str) -> None:
    bus = InMemoryBus()
    if isinstance(event, dict) and isinstance(event["Records"], list):
        event["Records"].insert(0, stream_event(writes("l-1"))["Records"][1])
        place = place.replace("[0]", "[1]")
    with pytest.raises(MalformedInvocation) as refused:
        Function(bus).invoke(event)
    assert place in str(refused.value)
    assert bus.sent == []


# The entry point


def test_the_entry_point_logs_the_request_id_and_counts(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    bus = InMemoryBus()
    monkeypatch.setattr(bootstrap, "message_bus", lambda *_: bus)
    notices.container.cache_clear()
    try:
        assert notices.handler(stream_event(writes("l-1")), Invocation(Clock())) == SUCCESS
    finally:
        notices.container.cache_clear()
    (line,) = map(json.loads, capfd.readouterr().err.splitlines())

    assert len(bus.sent) == 2
    assert line["request_id"] == Invocation(Clock()).aws_request_id
    assert (line["message"], line["records"], line["notices"], line["unsent"]) == ("notices", 2, 2, 0)


def test_wrong_settings_fail_the_invocation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("CONSUMER_THRESHOLDS", "many")
    notices.container.cache_clear()
    with pytest.raises(SettingsError, match="CONSUMER_THRESHOLDS: use different whole percentages"):
        notices.handler({"Records": []}, Invocation(Clock()))


def test_requests_to_the_bus_are_measured_with_the_table() -> None:
    lines: list[dict[str, Any]] = []
    function = NoticeFunction(InMemoryBus(), (80,), lambda line: lines.append(json.loads(line)))
    function.requests.append(RequestOutcome("PutEvents", "ok", 1))
    function.handle(stream_event(writes("l-1")), Invocation(Clock()))
    found = {name: value for line in lines for name, value in line.items() if name != "_aws"}

    assert found == {
        "table": "user-limits",
        "operation": "PutEvents",
        "result": "ok",
        "consumer_store_requests_total": 1,
        "consumer_store_throttles_total": 1,
    }


@pytest.mark.usefixtures("own_logging")
def test_the_function_uses_short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    configs = []
    monkeypatch.setattr(bootstrap, "client", lambda _settings, _service, config, _on: configs.append(config))
    notices.container.cache_clear()
    try:
        notices.container()
    finally:
        notices.container.cache_clear()
    assert configs == [SHORT_TIMEOUTS]
