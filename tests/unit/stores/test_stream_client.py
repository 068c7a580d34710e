"""The client of the stream: what its requests name, where they go, and with which credentials."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from consumer import bootstrap
from consumer.settings import Settings, load
from consumer.stores.aws import RoleCredentials

ARN = "arn:aws:kinesis:us-east-1:111122223333:stream/events"
ROLE = "arn:aws:iam::111122223333:role/reader"
PAGES: Sequence[Mapping[str, Any]] = ({"Shards": [], "NextToken": "next"}, {"Shards": []})


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "own")


@dataclass
class Wire:
    """Answers the requests of a client, in turn, and keeps them."""

    answers: list[Mapping[str, Any]] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    bodies: list[Mapping[str, Any]] = field(default_factory=list)

    def send(self, request: AWSPreparedRequest, **_: Any) -> Any:
        body: Any = request.body
        self.urls.append(str(request.url))
        self.bodies.append(json.loads(body))
        headers: Any = {}
        answer: Any = AWSResponse(self.urls[-1], 200, headers, None)
        answer._content = json.dumps(self.answers.pop(0) if self.answers else {}).encode()
        return answer


def client(wire: Wire, **given: Any) -> Any:
    made = bootstrap.stream_client(load(Settings, region="eu-north-1", quarantine="dir:q", **given))
    made.meta.events.register("before-send.kinesis", wire.send)
    return made


@pytest.mark.parametrize(
    "call",
    [
        lambda kinesis: kinesis.describe_stream_summary(StreamName="events"),
        lambda kinesis: kinesis.list_shards(StreamName="events"),
        lambda kinesis: kinesis.get_shard_iterator(StreamName="events", ShardId="0", ShardIteratorType="LATEST"),
        lambda kinesis: kinesis.get_records(ShardIterator="here"),
        lambda kinesis: kinesis.put_records(StreamName="events", Records=[{"Data": b"", "PartitionKey": "p"}]),
    ],
)
def test_a_request_names_the_stream_by_its_arn(call: Callable[[Any], object]) -> None:
    wire = Wire()
    call(client(wire, stream_arn=ARN))
    ((body,), (url,)) = wire.bodies, wire.urls
    assert (body["StreamARN"], "StreamName" in body) == (ARN, False)
    assert url.startswith("https://111122223333.")
    assert "us-east-1" in url


@pytest.mark.parametrize(
    ("given", "first"),
    [({"stream_name": "events"}, {"StreamName": "events"}), ({"stream_arn": ARN}, {"StreamARN": ARN})],
)
def test_a_further_page_of_shards_names_no_stream(given: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    wire = Wire([*PAGES])
    assert len(list(client(wire, **given).get_paginator("list_shards").paginate(StreamName="events"))) == 2
    assert wire.bodies == [first, {"NextToken": "next"}]


def test_the_credentials_of_a_role_are_renewed_before_they_expire() -> None:
    @dataclass
    class Sts:
        assumed: list[Mapping[str, str]] = field(default_factory=list)

        def assume_role(self, **asked: str) -> Any:
            self.assumed.append(asked)
            # Less than the 10 minutes before the end in which botocore insists on new ones, then more.
            end = datetime.now(UTC) + timedelta(minutes=5 if len(self.assumed) == 1 else 60)
            names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
            return {"Credentials": {name: f"{name} {len(self.assumed)}" for name in names} | {"Expiration": end}}

    sts = Sts()
    found = RoleCredentials(sts, ROLE, "consumer-app").load_credentials()
    assert sts.assumed == []
    keys = [found.get_frozen_credentials().access_key for _ in range(3)]
    assert keys == ["AccessKeyId 1", "AccessKeyId 2", "AccessKeyId 2"]
    assert sts.assumed == [{"RoleArn": ROLE, "RoleSessionName": "consumer-app"}] * 2
