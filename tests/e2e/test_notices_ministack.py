"""The packed function behind the stream of the limits table in MiniStack: notices reach a queue through a rule.

MiniStack runs the function from the archive in its own process. Its mapping repeats a batch when the function raises.
It ignores `batchItemFailures`: partial failures are tested in tests/unit/aws_lambda/test_notices.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import pytest

from consumer import bootstrap
from consumer.engine.retry_policy import NoRetry
from consumer.limits.event_types import EVENTS
from consumer.limits.notices import TYPE, notices
from consumer.limits.sample import Sample, histories
from consumer.settings import CoreSettings, load
from consumer.stores.eventbridge import SOURCE
from tests.support.driven import lambda_environment
from tests.support.driven.lambda_zip import HERE, archive
from tests.support.driven.queues import Queue
from tests.support.driven.waiting import until
from tests.support.emulators.aws import EMULATORS, Emulator, ministack, session
from tests.support.generators.events import Event, created, encode, progress_changed, records, reset
from tests.support.generators.table_stream import changes

FUNCTION = "notices"


class Bench:
    """The limits table with its stream, the function behind it, and a queue with the notices of a rule."""

    def __init__(self, aws: Emulator, name: str) -> None:
        self.aws = aws
        self.variables = lambda_environment.variables(name, aws)
        lambda_environment.make_table(self.variables)
        self.queue = Queue.behind_a_rule(aws.endpoint, name, {"source": [SOURCE], "detail-type": [TYPE]})

    def client(self, service: str) -> Any:
        made: Any = session().client(service, endpoint_url=self.aws.endpoint)  # type: ignore[call-overload]
        return made

    def start(self, variables: Mapping[str, str]) -> str:
        """Creates stream, function and mapping. Returns the id of the mapping."""
        table = self.client("dynamodb").update_table(
            TableName=self.variables["AWS_TABLE_NAME"],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self.client("lambda").create_function(
            FunctionName=FUNCTION,
            Runtime=f"python{HERE.python}",
            Handler="consumer.aws_lambda.notices.handler",
            Role="arn:aws:iam::000000000000:role/notices",
            Code={"ZipFile": archive()},
            Timeout=60,
            MemorySize=512,
            Environment={"Variables": {"AWS_ENDPOINT_URL": self.aws.endpoint, **variables}},
        )
        mapping = self.client("lambda").create_event_source_mapping(
            EventSourceArn=table["TableDescription"]["LatestStreamArn"],
            FunctionName=FUNCTION,
            StartingPosition="TRIM_HORIZON",
            BatchSize=50,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )
        return str(mapping["UUID"])

    def ids(self) -> set[str]:
        """The ids of all notices in the queue so far."""
        return {each["detail"]["id"] for each in self.queue.received()}

    def deliver(self, monkeypatch: pytest.MonkeyPatch, batches: Sequence[Sequence[Event]]) -> None:
        """The consumer's own core writes the events to the table, one write per limit and batch."""
        for name, value in {**self.variables, "AWS_REGION": "us-east-1"}.items():
            monkeypatch.setenv(name, value)
        core = bootstrap.processor(load(CoreSettings))
        for batch in batches:
            assert core.process(records(*map(encode, batch)), NoRetry()).unsettled is None


@pytest.fixture
def aws() -> Iterator[Emulator]:
    with ministack(program=[str(EMULATORS / "streaming_ministack.py")]) as emulator:
        yield emulator


@pytest.fixture
def bench(aws: Emulator, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    return Bench(aws, request.node.name)


def due(batches: Sequence[Sequence[Event]], thresholds: Sequence[int] = (80, 100)) -> list[str]:
    """The ids of the notices of all writes, each of which holds one event."""
    writes = changes([event for batch in batches for event in batch])
    return [notice.id for old, new in writes for notice in notices(old, new, thresholds)]


def test_notices_of_a_short_history(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    history = [
        created(1),
        progress_changed(2, amount="850"),
        progress_changed(2, amount="850"),
        progress_changed(3, amount="10"),
        progress_changed(4, amount="900"),
        created(5, status="CANCELED"),
        progress_changed(6, amount="1000"),
        reset(8),
        created(9),
        progress_changed(7, amount="950"),
        progress_changed(10, amount="2000"),
    ]
    bench.start({})
    bench.deliver(monkeypatch, [[event] for event in history])
    wanted = due([history])
    until(lambda: bench.ids() >= set(wanted), "the notices")
    found = bench.queue.received()

    assert bench.ids() == set(wanted)
    # Whether the correction down and up is sent again depends on the batches. Its id is the same.
    assert len(set(wanted)) == 3 <= len(found) <= 4 == len(wanted)
    marks = {(each["detail"].get("resetSequenceNumber"), each["detail"]["threshold"]) for each in found}
    assert marks == {(None, 80), (8, 80), (8, 100)}
    assert {(each["source"], each["detail-type"]) for each in found} == {(SOURCE, TYPE)}


def test_notices_of_a_lifelike_stream_after_a_wrong_setting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the function fails, the mapping repeats: no notice is lost."""
    samples: list[Sample] = list(histories(Random(15), 600, 6, duplicates=0.1))
    batches = [[sample.event] for sample in samples if sample.event and sample.event["type"] in EVENTS]
    mapping = bench.start({"CONSUMER_THRESHOLDS": "many"})
    bench.deliver(monkeypatch, batches[:100])
    until(lambda: result(bench, mapping) == "FAILED", "the first batch to fail: the function is set up wrongly")
    assert bench.queue.received() == []

    bench.client("lambda").update_function_configuration(
        FunctionName=FUNCTION,
        Environment={"Variables": {"AWS_ENDPOINT_URL": bench.aws.endpoint, "CONSUMER_THRESHOLDS": "20,80,100"}},
    )
    bench.deliver(monkeypatch, batches[100:])
    wanted = set(due(batches, (20, 80, 100)))
    assert len(wanted) > 10
    until(lambda: bench.ids() == wanted, "all notices and no others")


def result(bench: Bench, mapping: str) -> str:
    return str(bench.client("lambda").get_event_source_mapping(UUID=mapping)["LastProcessingResult"])
