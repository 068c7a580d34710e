"""The Lambda handler: its response to a Kinesis event source mapping or a pipe, and when it returns."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from consumer import bootstrap
from consumer.archive.segment import PlaceArchive
from consumer.aws_lambda import handler
from consumer.aws_lambda.deadline import ANSWER_SECONDS
from consumer.aws_lambda.handler import MalformedInvocation
from consumer.engine.aggregation import RECORDS
from consumer.engine.errors import BreakerOpen, Reason, SettingsError
from consumer.engine.projection import Key
from consumer.engine.records import Position, Record
from consumer.monitoring import logs
from consumer.stores.aws import SHORT_TIMEOUTS
from consumer.stores.requests import RequestOutcome
from tests.support.driven.archives import archived, data_of, numbers
from tests.support.driven.invocations import SUCCESS, Clock, Function, Invocation, LambdaEvent, entry, event
from tests.support.driven.pipes import piped, repeated_by_name, repeated_from_the_first
from tests.support.generators.events import (
    START,
    USER,
    created,
    encode,
    foreign,
    position,
    progress_changed,
    record,
    records,
)
from tests.support.generators.kpl import aggregate
from tests.support.simulation.core import (
    Core,
    Fate,
    FlakyPlace,
    FlakyQuarantine,
    FlakyRepository,
    memory,
    readable,
    times,
)

REQUEST_SECONDS = 4.0
"""The timeout of a request to AWS, see stores.aws.SHORT_TIMEOUTS."""


def failed(number: int) -> dict[str, list[dict[str, str]]]:
    return {"batchItemFailures": [{"itemIdentifier": position(number).sequence}]}


def throttled(*limits: str) -> Callable[[Key], Fate]:
    """Throttles all writes to these limits."""
    return lambda key: Fate.THROTTLED if key[1] in limits else Fate.STORED


# Settled and unsettled records


def test_a_good_batch_is_stored_and_a_success() -> None:
    core = Core()
    answer = Function(core.processor).invoke(event(records(created(1), progress_changed(2))))

    assert answer == SUCCESS
    assert core.limit()["progress"] == "10"


def test_no_records_are_a_success() -> None:
    assert Function(Core().processor).invoke({"Records": []}) == SUCCESS


def test_a_batch_that_is_delivered_again_is_a_success_and_written_once() -> None:
    repository = FlakyRepository(memory())
    function = Function(Core(repository).processor)
    batch = event(records(created(1), progress_changed(2)))

    assert [function.invoke(batch), function.invoke(batch)] == [SUCCESS, SUCCESS]
    assert len(repository.saves) == 1


def test_records_are_processed_in_order() -> None:
    core = Core()
    function = Function(core.processor)
    function.invoke(event(records(*(progress_changed(n, previousProgress=str(n), amount="1") for n in range(2, 50)))))

    assert core.limit()["progress"] == "50"
    # Each event continues where the one before it ended, so no drift is reported.
    assert not [line for line in function.lines if "consumer_warnings_total" in line]


def test_poison_is_quarantined_unchanged_and_a_success() -> None:
    core = Core()
    answer = Function(core.processor).invoke(event(records(created(1), b"\x00poison", progress_changed(2))))
    (kept,) = core.quarantine.entries()

    assert answer == SUCCESS
    assert (kept.record.data, kept.record.position, kept.record.arrived_at) == (b"\x00poison", position(2), START)
    assert core.limit()["progress"] == "10"


def test_the_first_record_that_was_not_stored_is_the_only_identifier() -> None:
    core = Core(FlakyRepository(memory(), throttled("l-throttled")))
    batch = [
        created(1),
        created(2, userLimitId="l-throttled"),
        progress_changed(3),
        progress_changed(4, userLimitId="l-throttled"),
    ]

    assert Function(core.processor).invoke(event(records(*batch))) == failed(2)
    assert set(core.limits(USER)) == {"l-day"}


def test_a_store_that_is_down_fails_the_batch_from_its_first_record_on() -> None:
    core = Core(FlakyRepository(memory(), unreadable=lambda: True))

    assert Function(core.processor).invoke(event(records(created(1), progress_changed(2)))) == failed(1)


def test_an_unsettled_record_is_settled_when_it_is_delivered_again() -> None:
    repository = FlakyRepository(memory(), throttled("l-day"))
    function = Function(Core(repository).processor)
    batch = records(created(1, userLimitId="l-other"), created(2), progress_changed(3))
    assert function.invoke(event(batch)) == failed(2)

    repository.fate = lambda _: Fate.STORED
    assert function.invoke(event(batch[1:])) == SUCCESS
    stored = {state.user_limit_id: state.used for state in readable(repository, USER)}
    assert stored == {"l-other": 0, "l-day": 10}


def test_a_write_whose_reply_was_lost_is_found_and_a_success() -> None:
    lost = times(1)
    core = Core(FlakyRepository(memory(), lambda _: Fate.REPLY_LOST if lost() else Fate.STORED))

    assert Function(core.processor).invoke(event(records(created(1)))) == SUCCESS
    assert core.limit()["value"] == "1000"


def test_poison_that_cannot_be_quarantined_is_a_failure_and_not_dropped() -> None:
    core = Core(quarantine=FlakyQuarantine(lambda: True))
    answer = Function(core.processor).invoke(event(records(created(1), b"poison", progress_changed(2))))

    assert answer == failed(2)
    assert list(core.quarantine.entries()) == []
    assert core.limit()["progress"] == "10"


# Aggregates of the Kinesis Producer Library


def test_the_records_of_an_aggregate_are_applied_one_by_one() -> None:
    core = Core()
    parts = [json.dumps(each).encode() for each in (created(1), progress_changed(2))]
    answer = Function(core.processor).invoke(event(records(aggregate(*parts, b"poison"))))
    (kept,) = core.quarantine.entries()

    assert answer == SUCCESS
    assert core.limit()["progress"] == "10"
    assert kept.record.position == Position("limits", "shardId-000000000000", position(1).sequence, 2)


def test_a_broken_aggregate_is_poison() -> None:
    core = Core()
    broken = aggregate(json.dumps(created(1)).encode())[:-1] + b"\x00"
    answer = Function(core.processor).invoke(event(records(broken)))
    (kept,) = core.quarantine.entries()

    assert answer == SUCCESS
    assert (kept.reason, kept.record.data) == (Reason.AGGREGATE, broken)


def test_an_aggregate_with_an_unsettled_record_in_its_middle_fails_under_its_own_number() -> None:
    repository = FlakyRepository(memory(), throttled("l-2"))
    core = Core(repository)
    parts = [json.dumps(created(n, userLimitId=f"l-{n}")).encode() for n in (1, 2, 3)]
    batch = event(records(created(9, userLimitId="l-before"), aggregate(*parts), created(10, userLimitId="l-after")))

    assert Function(core.processor).invoke(batch) == failed(2)
    assert set(core.limits(USER)) == {"l-before", "l-1", "l-3", "l-after"}

    repository.fate = lambda _: Fate.STORED
    assert Function(core.processor).invoke({"Records": batch["Records"][1:]}) == SUCCESS
    assert set(core.limits(USER)) == {"l-before", "l-1", "l-2", "l-3", "l-after"}


def test_a_batch_of_many_aggregates_stops_at_the_deadline_and_continues_in_the_next_invocation() -> None:
    clock = Clock()
    core = Core(FlakyRepository(memory(), before_save=lambda: clock.sleep(26)))
    function = Function(core.processor, clock)
    flood = event(records(*(aggregate(*_of_limit(f"l-{number}")) for number in range(1, 6))))

    assert function.invoke(flood) == failed(5)
    assert core.limits(USER).keys() == {"l-1", "l-2", "l-3", "l-4"}
    assert function.invoke({"Records": flood["Records"][4:]}) == SUCCESS
    assert "l-5" in core.limits(USER)


def _of_limit(limit: str) -> list[bytes]:
    """The maximum number of events in an aggregate. Only the first one is a limit event."""
    return [encode(created(1, userLimitId=limit)), *[encode(foreign("NEW"))] * (RECORDS - 1)]


# The time of an invocation


def test_a_temporary_failure_is_retried() -> None:
    core = Core(FlakyRepository(memory(), unreadable=times(5)))
    function = Function(core.processor)

    assert function.invoke(event(records(created(1)))) == SUCCESS
    assert 0 < function.clock.now < 3
    assert [line["consumer_environment_retries_total"] for line in retries(function)] == [5]


def test_the_timeouts_of_the_client_leave_time_for_a_response() -> None:
    waits: dict[str, Any] = SHORT_TIMEOUTS.__dict__
    request = (waits["connect_timeout"] + waits["read_timeout"]) * waits["retries"]["total_max_attempts"]

    assert request == REQUEST_SECONDS
    # A rejected write is followed by a read.
    assert 2 * request + 1 <= ANSWER_SECONDS


@pytest.mark.parametrize("timeout", [900.0, 60.0, 30.0, 21.0])
def test_it_gives_up_early_enough_to_respond(timeout: float) -> None:
    clock = Clock()
    core = Core(FlakyRepository(memory(), throttled("l-day"), before_save=lambda: clock.sleep(REQUEST_SECONDS)))
    answer = Function(core.processor, clock).invoke(event(records(created(1))), timeout)

    assert answer == failed(1)
    assert timeout - ANSWER_SECONDS - REQUEST_SECONDS <= clock.now <= timeout - 1


@pytest.mark.parametrize("timeout", [3.0, 1.0, 0.1])
def test_a_function_with_a_short_timeout_tries_at_least_once(timeout: float) -> None:
    down = FlakyRepository(memory(), unreadable=lambda: True)
    function = Function(Core(down).processor)

    assert function.invoke(event(records(created(1))), timeout) == failed(1)
    assert down.loads
    assert function.clock.now < timeout
    assert Function(Core().processor).invoke(event(records(created(1))), timeout) == SUCCESS


def test_with_a_slow_store_each_invocation_responds_in_time_and_makes_progress() -> None:
    clock = Clock()
    repository = FlakyRepository(memory(), before_save=lambda: clock.sleep(REQUEST_SECONDS))
    core = Core(repository)
    batch = records(*(created(n, userLimitId=f"l-{n}") for n in range(1, 2_501)))
    left, invocations = batch, 0
    while left:
        function = Function(core.processor, clock)
        before = clock.now
        answer = function.invoke(event(left), timeout=30.0)
        assert clock.now - before <= 29
        invocations += 1
        numbers = [each.position.sequence for each in left]
        identifiers = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
        rest = left[numbers.index(identifiers[0]) :] if identifiers else []
        assert len(rest) < len(left)
        left = rest

    assert invocations > 1
    assert len(core.limits(USER)) == 2_500


# Events that are not from a Kinesis mapping


def without(*path: str) -> LambdaEvent:
    """A valid entry without one field."""
    made = entry(record(created(1)))
    place = made
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return made


VALID = entry(record(created(1), 1))
MALFORMED: dict[str, object] = {
    "nothing": None,
    "no Records": {"records": [VALID]},
    "a scheduled event": {"source": "aws.events", "detail-type": "Scheduled Event"},
    "Records is null": {"Records": None},
    "Records is an object": {"Records": VALID},
    "Records is text": {"Records": "[]"},
    "an entry is null": {"Records": [VALID, None]},
    "an entry is text": {"Records": [VALID, "record"]},
    "an entry is empty": {"Records": [VALID, {}]},
    "of SQS": {"Records": [VALID | {"eventSource": "aws:sqs"}]},
    "of DynamoDB, among others": {"Records": [VALID, VALID | {"eventSource": "aws:dynamodb"}]},
    "no event source": {"Records": [VALID, without("eventSource")]},
    "no kinesis part": {"Records": [VALID, without("kinesis")]},
    "the kinesis part is a list": {"Records": [VALID, VALID | {"kinesis": []}]},
    "no sequence number": {"Records": [VALID, without("kinesis", "sequenceNumber")]},
    "an empty sequence number": {"Records": [VALID, VALID | {"kinesis": {"sequenceNumber": ""}}]},
    "a sequence number that is a number": {"Records": [VALID, VALID | {"kinesis": {"sequenceNumber": 1}}]},
    "a sequence number that is none": {"Records": [VALID, VALID | {"kinesis": {"sequenceNumber": "12 "}}]},
}


@pytest.mark.parametrize("invocation", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_invocation_is_an_error_before_any_record_is_processed(invocation: object) -> None:
    repository = FlakyRepository(memory())
    core = Core(repository)

    with pytest.raises(MalformedInvocation, match=r"Records"):
        Function(core.processor).invoke(invocation)
    assert (repository.loads, repository.saves, list(core.quarantine.entries())) == ([], [], [])


def test_the_error_names_the_field_and_contains_no_data() -> None:
    with pytest.raises(MalformedInvocation) as malformed:
        handler.read({"Records": [VALID, VALID | {"eventSource": "secret"}]})

    assert str(malformed.value) == "Records[1].eventSource is not aws:kinesis"


# Batches of an EventBridge pipe


@pytest.mark.parametrize("again", [repeated_by_name, repeated_from_the_first])
def test_a_batch_of_a_pipe_is_processed_like_one_of_a_mapping(
    again: Callable[[list[LambdaEvent], object], object],
) -> None:
    core = Core()
    batch = piped(records(created(1), b"poison", progress_changed(2)))
    answer = Function(core.processor).invoke(batch)
    (kept,) = core.quarantine.entries()

    assert answer == SUCCESS
    assert again(batch, answer) == []
    assert core.limit()["progress"] == "10"
    assert (kept.record.data, kept.record.position, kept.record.arrived_at) == (b"poison", position(2), START)


@pytest.mark.parametrize("again", [repeated_by_name, repeated_from_the_first])
def test_nothing_is_lost_whichever_records_a_pipe_repeats(
    again: Callable[[list[LambdaEvent], object], list[LambdaEvent]],
) -> None:
    repository = FlakyRepository(memory(), throttled("l-2", "l-4"))
    core = Core(repository)
    function = Function(core.processor)
    batch = piped(records(*(created(n, userLimitId=f"l-{n}") for n in range(1, 6))))
    left = again(batch, function.invoke(batch))

    assert left == batch[1:]
    repository.fate = lambda _: Fate.STORED
    assert again(left, function.invoke(left)) == []
    assert set(core.limits(USER)) == {f"l-{n}" for n in range(1, 6)}


def test_an_empty_batch_of_a_pipe_is_a_success() -> None:
    assert Function(Core().processor).invoke([]) == SUCCESS


PIPED = piped(records(created(1)))[0]
MALFORMED_PIPED: dict[str, tuple[object, str]] = {
    "records of a mapping": ([VALID], "[0].sequenceNumber is not a sequence number"),
    "null": ([PIPED, None], "[1].eventSource is not aws:kinesis"),
    "of SQS": ([PIPED, PIPED | {"eventSource": "aws:sqs"}], "[1].eventSource is not aws:kinesis"),
    "events of ours": ([created(1)], "[0].eventSource is not aws:kinesis"),
    "without an id": (
        [PIPED, {name: value for name, value in PIPED.items() if name != "eventID"}],
        "[1].eventID is missing: a pipe needs it to repeat failed records",
    ),
}


@pytest.mark.parametrize(("batch", "error"), MALFORMED_PIPED.values(), ids=MALFORMED_PIPED)
def test_a_malformed_batch_of_a_pipe_is_an_error_before_any_record_is_processed(batch: object, error: str) -> None:
    repository = FlakyRepository(memory())
    core = Core(repository)

    with pytest.raises(MalformedInvocation) as malformed:
        Function(core.processor).invoke(batch)
    assert str(malformed.value) == error
    assert (repository.loads, repository.saves, list(core.quarantine.entries())) == ([], [], [])


# Tumbling windows

WINDOWED: LambdaEvent = {
    "window": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:02:00Z"},
    "state": {"1": 282, "2": 715},
    "shardId": "shardId-000000000000",
    "eventSourceARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/limits",
    "isFinalInvokeForWindow": False,
    "isWindowTerminatedEarly": False,
}


@pytest.mark.parametrize(
    "given",
    [{}, {"isFinalInvokeForWindow": True}, {"isWindowTerminatedEarly": True, "isFinalInvokeForWindow": True}],
    ids=["in it", "at its end", "at an early end"],
)
def test_in_a_window_events_are_applied_and_the_state_is_returned(given: LambdaEvent) -> None:
    core = Core()
    answer = Function(core.processor).invoke(event(records(created(1), progress_changed(2))) | WINDOWED | given)

    assert answer == {"batchItemFailures": [], "state": {"1": 282, "2": 715}}
    assert core.limit()["progress"] == "10"


@pytest.mark.parametrize("given", [{"Records": []}, {}], ids=["no records", "no Records"])
def test_the_end_of_a_window_without_records_is_a_success(given: LambdaEvent) -> None:
    answer = Function(Core().processor).invoke(WINDOWED | given | {"isFinalInvokeForWindow": True})

    assert answer == {"batchItemFailures": [], "state": {"1": 282, "2": 715}}


def test_a_failure_in_a_window_has_the_state_too() -> None:
    core = Core(FlakyRepository(memory(), unreadable=lambda: True))
    answer = Function(core.processor).invoke(event(records(created(1), progress_changed(2))) | WINDOWED)

    assert answer == failed(1) | {"state": {"1": 282, "2": 715}}


@pytest.mark.parametrize("state", [None, {}])
def test_a_window_that_begins_has_an_empty_state(state: object) -> None:
    answer = Function(Core().processor).invoke(event(records(created(1))) | WINDOWED | {"state": state})
    lacking = {name: value for name, value in WINDOWED.items() if name != "state"}

    assert answer == {"batchItemFailures": [], "state": {}}
    assert Function(Core().processor).invoke(event(records(created(1))) | lacking) == answer


# Optional fields of a record


@pytest.mark.parametrize("missing", [("eventSourceARN",), ("eventID",), ("kinesis", "approximateArrivalTimestamp")])
def test_a_record_without_origin_or_arrival_time_is_processed(missing: tuple[str, ...]) -> None:
    core = Core()

    assert Function(core.processor).invoke({"Records": [without(*missing)]}) == SUCCESS
    assert core.limit()["value"] == "1000"


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ({}, ("limits", "shardId-000000000000")),
        ({"eventSourceARN": "arn:aws:kinesis:eu-west-1:1:stream/limits/consumer/app:17"}, ("limits", None)),
        ({"eventSourceARN": "arn:aws-cn:kinesis:cn-north-1:1:stream/limits"}, ("limits", None)),
        ({"eventSourceARN": 5}, ("unknown", None)),
        ({"eventSourceARN": ""}, ("unknown", None)),
        ({"eventID": None}, (None, "unknown")),
        ({"eventID": ":1"}, (None, "unknown")),
        ({"eventID": "no separator"}, (None, "unknown")),
    ],
)
def test_stream_and_shard_of_a_record(given: LambdaEvent, origin: tuple[str | None, str | None]) -> None:
    (read,) = handler.read({"Records": [VALID | given]})
    stream, shard = origin

    assert read.position.stream == (stream or "limits")
    assert read.position.shard == (shard or "shardId-000000000000")


@pytest.mark.parametrize(
    ("arrived", "millis"),
    [
        (1545084650.987, 1_545_084_650_987),
        (1545084650, 1_545_084_650_000),
        ("1545084650", 0),
        (None, 0),
        (float("nan"), 0),
        (float("inf"), 0),
        (-1, 0),
        (10**400, 0),
    ],
)
def test_the_arrival_time_of_a_record(arrived: object, millis: int) -> None:
    kinesis = VALID["kinesis"] | {"approximateArrivalTimestamp": arrived}
    (read,) = handler.read({"Records": [VALID | {"kinesis": kinesis}]})

    assert read.arrived_at == millis


@pytest.mark.parametrize("data", [None, 5, "", "e30", "e30=\n", "é", "{}", ["e30="]])
def test_data_that_is_not_base64_is_poison(data: object) -> None:
    core = Core()
    kinesis = VALID["kinesis"] | {"data": data}
    answer = Function(core.processor).invoke({"Records": [VALID | {"kinesis": kinesis}]})
    (kept,) = core.quarantine.entries()

    assert answer == SUCCESS
    assert kept.reason is Reason.RECORD_DATA


# Metrics and logs


def metric_lines(function: Function) -> list[dict[str, Any]]:
    return [json.loads(line) for line in function.lines]


def retries(function: Function) -> list[dict[str, Any]]:
    return [line for line in metric_lines(function) if "consumer_environment_retries_total" in line]


def test_requests_to_the_stores_are_reported_once() -> None:
    function = Function(Core().processor)
    function.consumer.requests.extend(
        [RequestOutcome("BatchExecuteStatement", "ok", 2), RequestOutcome("BatchExecuteStatement", "ok", 0)]
    )
    function.invoke(event(records(created(1))))
    function.invoke(event(records(created(1))))

    lines = [line for line in metric_lines(function) if "operation" in line]
    assert [line.get("consumer_store_requests_total") for line in lines] == [2, None]
    assert [line.get("consumer_store_throttles_total") for line in lines] == [None, 2]


def test_a_batch_is_measured_in_metrics_of_its_stream() -> None:
    function = Function(Core().processor)
    function.invoke(event(records(created(1), created(1), b"poison")))
    outcomes = {line["outcome"]: line["consumer_records_total"] for line in metric_lines(function) if "outcome" in line}
    (reason,) = [line for line in metric_lines(function) if "reason" in line]

    assert outcomes == {"applied": 1, "duplicate": 1, "quarantined": 1}
    assert (reason["reason"], reason["consumer_quarantined_records_total"]) == ("JSON", 1)
    assert {line["stream"] for line in metric_lines(function)} == {"limits"}


def test_metrics_of_a_record_without_stream_have_no_blank_dimension() -> None:
    function = Function(Core().processor)
    function.invoke({"Records": [without("eventSourceARN")]})

    assert {line["stream"] for line in metric_lines(function)} == {"unknown"}


def test_an_invocation_has_its_own_metrics() -> None:
    function = Function(Core().processor)
    for number in (1, 2):
        function.lines.clear()
        function.invoke(event([record(progress_changed(number), number)]))
        (line,) = [line for line in metric_lines(function) if "consumer_batch_records" in line]
        assert line["consumer_batch_records"] == 1


def test_retries_are_counted_even_if_all_fail() -> None:
    function = Function(Core(FlakyRepository(memory(), unreadable=lambda: True)).processor)
    function.invoke(event(records(created(1))))
    (line,) = retries(function)

    assert line["part"] == "load"
    assert line["consumer_environment_retries_total"] > 20


def test_an_open_breaker_fails_the_invocation_and_quarantines_nothing() -> None:
    core = Core(breaker=3)
    function = Function(core.processor)

    with pytest.raises(BreakerOpen):
        function.invoke(event(records(b"1", b"2", b"3")))
    assert list(core.quarantine.entries()) == []


def test_the_breaker_restarts_its_count_for_a_batch_that_is_delivered_again() -> None:
    down = times(1)
    core = Core(quarantine=FlakyQuarantine(down), breaker=3)
    function = Function(core.processor)

    assert function.invoke(event(records(b"1", b"2")), timeout=0.02) == failed(1)
    assert function.invoke(event(records(b"1", b"2"))) == SUCCESS


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_logging: None) -> Iterator[pytest.MonkeyPatch]:
    """The environment of a function without AWS. Each test has its own container."""
    del own_logging
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("ENABLE_DYNAMO_DB", "false")
    monkeypatch.setenv("CONSUMER_QUARANTINE", f"dir:{tmp_path}")
    handler.container.cache_clear()
    yield monkeypatch
    handler.container.cache_clear()


def handled(request_id: str, *batch: Record) -> object:
    return handler.handler(event(batch), Invocation(Clock(), aws_request_id=request_id))


@pytest.mark.usefixtures("variables")
def test_every_line_of_an_invocation_has_its_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    handled("r-1", record(created(1), 1), record(b"poison", 2))
    handled("r-2", record(progress_changed(2), 3))
    with pytest.raises(MalformedInvocation):
        handler.handler({}, Invocation(Clock(), aws_request_id="r-3"))
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in err.splitlines()]

    assert [(line["request_id"], line["message"]) for line in lines] == [
        ("r-1", "quarantined"),
        ("r-1", "batch"),
        ("r-2", "batch"),
        ("r-3", "invocation failed"),
    ]
    assert all("_aws" in json.loads(line) for line in out.splitlines())


def test_log_lines_of_a_request_thread_have_the_request_id() -> None:
    def logged() -> str:
        return logs.JsonLines().format(logging.makeLogRecord({}))

    requests = bootstrap.pool()
    with logs.fields(request_id="r-1"):
        first = requests.submit(logged).result()
    with logs.fields(request_id="r-2"):
        (second,) = requests.map(lambda _: logged(), [0])

    assert [json.loads(line)["request_id"] for line in (first, second)] == ["r-1", "r-2"]


@pytest.mark.usefixtures("variables")
def test_a_container_is_created_once() -> None:
    handled("r-1", record(created(1)))
    first = handler.container()
    handled("r-2", record(progress_changed(2)))

    assert handler.container() is first
    (state,) = readable(first.core.repository, USER)
    assert state.used == 10


def test_invalid_settings_are_reported_and_read_again(variables: pytest.MonkeyPatch) -> None:
    variables.delenv("CONSUMER_QUARANTINE")
    with pytest.raises(SettingsError, match="CONSUMER_QUARANTINE is not set"):
        handled("r-1", record(created(1)))

    variables.setenv("CONSUMER_QUARANTINE", "s3://quarantine/limits")
    assert handled("r-2", record(created(1))) == SUCCESS


# The archive


def archiving(fails: Callable[[], bool] = lambda: False, **core: Any) -> tuple[Core, FlakyPlace]:
    place = FlakyPlace(fails)
    return Core(archive=PlaceArchive(place, lambda: START), **core), place


def test_a_batch_is_one_object_of_the_archive_and_all_of_it() -> None:
    core, place = archiving()
    batch = [created(1), foreign("NEW"), b"\x00poison"]
    assert Function(core.processor).invoke(event(records(*batch))) == SUCCESS
    (path,) = place.files
    shard, first, last = position(1).shard, position(1).sequence, position(3).sequence
    assert path == f"limits/date=2026-01-01/hour=00/{shard}-{first}-{last}.json.gz"
    assert [data_of(line) for line in archived(place)] == batch


def test_an_archive_that_fails_fails_the_batch_from_its_first_record_on_and_applies_nothing() -> None:
    core, place = archiving(lambda: True)
    function = Function(core.processor)
    assert function.invoke(event(records(created(1), progress_changed(2)))) == failed(1)
    assert (place.files, core.limits(USER)) == ({}, {})
    (line,) = retries(function)
    assert line["part"] == "archive"


@pytest.mark.parametrize("timeout", [900.0, 60.0, 21.0])
def test_an_archive_that_fails_leaves_time_for_the_response(timeout: float) -> None:
    clock = Clock()

    def hang() -> bool:
        clock.sleep(REQUEST_SECONDS)
        return True

    core, _ = archiving(hang)
    assert Function(core.processor, clock).invoke(event(records(created(1))), timeout) == failed(1)
    assert timeout / 2 - REQUEST_SECONDS <= clock.now < timeout - 1


def test_a_temporary_failure_of_the_archive_is_retried() -> None:
    core, place = archiving(times(5))
    assert Function(core.processor).invoke(event(records(created(1)))) == SUCCESS
    assert (len(place.attempts), len(place.files), core.limit()["value"]) == (6, 1, "1000")


def test_an_archive_that_uses_up_the_time_leaves_all_records_for_the_next_invocation() -> None:
    clock = Clock()
    fails = times(12)

    def slow() -> bool:
        clock.sleep(REQUEST_SECONDS)
        return fails()

    core, _ = archiving(slow)
    function = Function(core.processor, clock)
    assert function.invoke(event(records(created(1))), 60) == failed(1)
    assert function.invoke(event(records(created(1))), 60) == SUCCESS
    assert core.limit()["value"] == "1000"


def test_a_batch_that_is_delivered_again_from_its_middle_is_archived_from_there_on() -> None:
    repository = FlakyRepository(memory(), throttled("l-day"))
    core, place = archiving(repository=repository)
    batch = records(created(1, userLimitId="l-other"), created(2), progress_changed(3))
    assert Function(core.processor).invoke(event(batch)) == failed(2)
    repository.fate = lambda _: Fate.STORED
    assert Function(core.processor).invoke(event(batch[1:])) == SUCCESS
    assert [len(each) for each in numbers(place)] == [3, 2]


def test_objects_of_the_archive_are_measured() -> None:
    core, place = archiving()
    function = Function(core.processor)
    function.invoke(event(records(created(1))))
    (line,) = [line for line in metric_lines(function) if "consumer_archive_objects_total" in line]
    (content,) = place.files.values()
    assert (line["consumer_archive_objects_total"], line["consumer_archive_bytes_total"]) == (1, len(content))
