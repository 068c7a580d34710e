"""The service on LocalStack's Kinesis. The test creates and fills the stream with localstack_client, as its users do.

localstack_client has no argument for the endpoint. It reads AWS_ENDPOINT_URL from the environment.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from localstack_client.session import Session

from consumer.admin.put import outgoing, put
from tests.support.driven.leases import owed
from tests.support.driven.scenario import Stage, expected, first_difference, poison, samples, until_received
from tests.support.driven.service import consumer, environment, service
from tests.support.driven.waiting import until

pytestmark = pytest.mark.localstack

COUNT = 2_000
"""LocalStack's Kinesis accepts about 110 records per second."""


@pytest.fixture
def kinesis(endpoints: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    address = endpoints.get("AWS_ENDPOINT_URL_KINESIS") or endpoints["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    client = Session().client("kinesis")
    assert client.meta.endpoint_url == address
    return client


def test_every_event_has_its_effect_once(kinesis: Any, endpoints: Mapping[str, str], tmp_path: Path) -> None:
    variables = environment(f"localstack-{uuid4().hex[:8]}", tmp_path, **endpoints)
    stream, stage, made = variables["CONSUMER_STREAM_NAME"], Stage(variables), samples(seed=21, count=COUNT, users=100)
    kinesis.create_stream(StreamName=stream, ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    consumer(variables, "provision")

    with service(variables, tmp_path / "log") as running:
        put(kinesis, stream, [outgoing(sample.data) for sample in made], lambda _: None)
        until_received(running, len(made))

        assert first_difference(stage.limits(), expected(made)) is None
        assert running.received() == len(made)
        assert stage.quarantined() == poison(made)
        until(lambda: owed(stage) == 0, "the last checkpoints")
        assert running.stop() == 0
    stage.remove()
