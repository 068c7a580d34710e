"""The packed function behind MiniStack's Kinesis event source mapping: after 5,000 events the table equals the oracle.

MiniStack runs the function from the archive in its own process, and retries a batch if the function raises. It ignores
`batchItemFailures`, retries, record age, bisection, parallelization factor and failure destination of a stream. The
simulated mapping covers these (tests/faults/test_33_lambda.py, tests/e2e/test_lambda_runtime.py).
"""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.driven import lambda_environment
from tests.support.driven.lambda_zip import HERE, archive
from tests.support.driven.scenario import Stage, poison, samples, until_equal
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator, session
from tests.support.emulators.runtime_api import HANDLER

STREAM = "lambda-events"
FUNCTION = "limits"


@pytest.fixture
def stage(aws: Emulator, request: pytest.FixtureRequest) -> Stage:
    """A stream of two shards, a table and a bucket."""
    variables = lambda_environment.variables(request.node.name, aws)
    lambda_environment.make_table(variables)
    lambda_environment.make_bucket(variables)
    kinesis = session().client("kinesis", endpoint_url=aws.endpoint)
    kinesis.create_stream(StreamName=STREAM, ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    return Stage({**variables, "CONSUMER_STREAM_NAME": STREAM})


def create_function(client: Any, variables: Mapping[str, str]) -> None:
    client.create_function(
        FunctionName=FUNCTION,
        Runtime=f"python{HERE.python}",
        Handler=HANDLER,
        Role="arn:aws:iam::000000000000:role/limits",
        Code={"ZipFile": archive()},
        Timeout=60,
        MemorySize=512,
        Environment={"Variables": dict(variables)},
    )


def create_mapping(client: Any, aws: Emulator) -> str:
    kinesis = session().client("kinesis", endpoint_url=aws.endpoint)
    stream = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
    mapping = client.create_event_source_mapping(
        EventSourceArn=stream["StreamARN"],
        FunctionName=FUNCTION,
        StartingPosition="TRIM_HORIZON",
        BatchSize=500,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        BisectBatchOnFunctionError=True,
    )
    return str(mapping["UUID"])


def test_after_5000_events_with_duplicates_and_poison_the_table_equals_the_oracle(aws: Emulator, stage: Stage) -> None:
    made = samples(seed=6, count=5_000)
    client: Any = session().client("lambda", endpoint_url=aws.endpoint)
    quarantine = stage.variables["CONSUMER_QUARANTINE"]
    create_function(client, {**stage.variables, "CONSUMER_QUARANTINE": "nowhere"})
    mapping = create_mapping(client, aws)
    stage.put(made[:100])
    until(lambda: result(client, mapping) == "FAILED", "the first batch to fail: the function is set up wrongly")
    assert stage.limits() == {}

    client.update_function_configuration(
        FunctionName=FUNCTION, Environment={"Variables": {**stage.variables, "CONSUMER_QUARANTINE": quarantine}}
    )
    stage.put(made[100:])
    until_equal(stage, made)
    until(lambda: lambda_environment.quarantined(stage.variables) == poison(made), "the poison to be quarantined")


def result(client: Any, mapping: str) -> str:
    return str(client.get_event_source_mapping(UUID=mapping)["LastProcessingResult"])
