"""The packed function in Lambda's own runtime interface client, against a Runtime API that the test serves."""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.engine.records import Record
from consumer.limits.sample import Sample
from tests.support.driven import lambda_environment
from tests.support.driven.invocations import SUCCESS, Clock, event
from tests.support.driven.lambda_zip import unpack
from tests.support.driven.processes import LOOPBACK
from tests.support.driven.scenario import Stage, expected, poison, samples
from tests.support.emulators.aws import Emulator
from tests.support.emulators.mapping import FunctionFailed, Mapping, Settings
from tests.support.emulators.runtime_api import Container, lambda_runtime
from tests.support.generators.events import created, position, progress_changed, record, records


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("task"))


@pytest.fixture
def variables(aws: Emulator, request: pytest.FixtureRequest) -> dict[str, str]:
    """The function's settings. Its table and bucket do not exist yet."""
    return lambda_environment.variables(request.node.name, aws)


@pytest.fixture
def function(task: Path, variables: dict[str, str], tmp_path: Path) -> Iterator[Container]:
    with lambda_runtime(task, variables, tmp_path) as container:
        yield container


@pytest.fixture
def stores(variables: dict[str, str]) -> Stage:
    """Creates the function's table and bucket."""
    lambda_environment.make_table(variables)
    lambda_environment.make_bucket(variables)
    return Stage(variables)


def shard(made: list[Sample]) -> list[Record]:
    return [record(sample.data, number) for number, sample in enumerate(made, 1)]


def test_a_good_invocation_is_stored_measured_logged_and_gets_a_response(
    function: Container, stores: Stage, variables: dict[str, str]
) -> None:
    response = function.ask(event(records(created(1), b"poison", progress_changed(2))))
    ((_, limit),) = stores.limits().items()
    lines = [json.loads(line) for line in function.log.splitlines()]

    assert (response.route, response.body) == ("response", SUCCESS)
    assert limit["progress"] == "10"
    assert lambda_environment.quarantined(variables) == Counter([b"poison"])
    assert {line["request_id"] for line in lines} == {response.request_id}
    assert [line["message"] for line in lines] == ["quarantined", "batch"]
    outcomes = {(line["type"], line["outcome"]) for line in function.output if "outcome" in line}
    assert outcomes == {
        ("USER_LIMIT_CREATED", "applied"),
        ("USER_LIMIT_PROGRESS_CHANGED", "applied"),
        ("UNREADABLE", "quarantined"),
    }


def test_a_malformed_invocation_is_an_error_and_the_container_stays_usable(function: Container, stores: Stage) -> None:
    response = function.ask({"source": "aws.events"})
    assert (response.route, response.body["errorType"]) == ("error", "MalformedInvocation")
    assert response.body["errorMessage"].startswith("the event has no Records")

    assert function.invoke(event(records(created(1)))) == SUCCESS
    assert len(stores.limits()) == 1
    assert function.starts == 1


def test_two_invocations_of_a_container_share_only_clients(function: Container, stores: Stage) -> None:
    first = function.ask(event(records(created(1), progress_changed(2))))
    second = function.ask(event([record(progress_changed(5, previousProgress="10"), 3)]))
    batches = [line["consumer_batch_records"] for line in function.output if "consumer_batch_records" in line]
    writes = [line["consumer_state_writes_total"] for line in function.output if "consumer_batch_records" in line]
    (limit,) = stores.limits().values()

    assert (first.body, second.body, function.starts) == (SUCCESS, SUCCESS, 1)
    assert first.request_id != second.request_id
    assert (batches, writes) == ([2, 1], [1, 1])
    assert limit["progress"] == "20"
    logged = [json.loads(line)["request_id"] for line in function.log.splitlines()]
    assert logged == [first.request_id, second.request_id]


def test_a_function_without_a_required_setting_names_it(task: Path, variables: dict[str, str], tmp_path: Path) -> None:
    del variables["CONSUMER_QUARANTINE"]
    with lambda_runtime(task, variables, tmp_path) as function:
        response = function.ask(event(records(created(1))))

    assert (response.route, response.body["errorType"]) == ("error", "SettingsError")
    assert response.body["errorMessage"] == "CONSUMER_QUARANTINE is not set"


def test_every_record_is_settled_although_table_and_bucket_are_missing_at_first(
    function: Container, variables: dict[str, str]
) -> None:
    """MiniStack's mapping ignores batchItemFailures, so the test simulates one that does not."""
    made = samples(seed=4, count=600, users=20)
    answers: list[object] = []
    repairs = [lambda: lambda_environment.make_bucket(variables), lambda: lambda_environment.make_table(variables)]

    def invoke(lambda_event: dict[str, object]) -> object:
        # a short timeout, because the function gives up with half of it left
        answer = function.invoke(lambda_event, timeout=5.0 if repairs else 60.0)
        answers.append(answer)
        if answer != SUCCESS:
            repairs.pop()()
        return answer

    mapping = Mapping(invoke, Clock(), Settings(batch_size=200, maximum_retry_attempts=10))
    mapping.drain(shard(made))
    first_poison = next(number for number, sample in enumerate(made, 1) if sample.poison_reason)

    assert answers == [
        {"batchItemFailures": [{"itemIdentifier": position(1).sequence}]},
        {"batchItemFailures": [{"itemIdentifier": position(first_poison).sequence}]},
        *[SUCCESS] * 3,
    ]
    assert mapping.discarded == []
    assert Stage(variables).limits() == expected(made)
    assert lambda_environment.quarantined(variables) == poison(made)


def test_a_container_that_is_killed_at_its_timeout_leaves_no_partial_result(
    task: Path, variables: dict[str, str], stores: Stage, tmp_path: Path
) -> None:
    made = samples(seed=5, count=300, users=20)
    with Silence() as silent, lambda_runtime(task, dict(variables), tmp_path) as function:
        lasting = function.environment
        function.environment = {**lasting, "AWS_ENDPOINT_URL": silent}

        def invoke(lambda_event: dict[str, object]) -> object:
            try:
                return function.invoke(lambda_event, timeout=30.0 if function.environment is lasting else 1.0)
            except FunctionFailed:
                function.environment = lasting
                raise

        Mapping(invoke, Clock(), Settings(batch_size=200)).drain(shard(made))
        starts = function.starts

    assert starts == 2
    assert stores.limits() == expected(made)
    assert lambda_environment.quarantined(variables) == poison(made)


class Silence:
    """A server that accepts connections and never responds."""

    def __enter__(self) -> str:
        self._socket = socket.create_server((LOOPBACK, 0))
        return f"http://{LOOPBACK}:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._socket.close()
