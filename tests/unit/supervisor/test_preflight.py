"""What is certainly wrong is refused before Java starts; a check without an answer does not prevent the start."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ProfileNotFound

from consumer.access.checks import Clients
from consumer.engine.errors import SettingsError
from consumer.leases.origin import Application
from consumer.settings import Settings, load
from consumer.supervisor import preflight

Answer = Callable[[], Any]

KEYS = {
    "limits": ("userId", "userLimitId"),
    "app": ("leaseKey",),
    "app-WorkerMetricStats": ("wid",),
    "app-CoordinatorState": ("key",),
}
INDEX = [{"IndexName": "LeaseOwnerToLeaseKeyIndex", "IndexStatus": "ACTIVE"}]


class Missing(ClientError):
    """What the request names does not exist."""


class Unmet(ClientError):
    """A condition is not met."""


def table(*keys: str, kind: str = "S", indexes: Any = INDEX) -> Any:
    return {
        "TableStatus": "ACTIVE",
        "KeySchema": [
            {"AttributeName": key, "KeyType": use} for key, use in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": kind} for key in keys],
        "GlobalSecondaryIndexes": indexes,
    }


def failing(error: Exception) -> Answer:
    def fail() -> Any:
        raise error

    return fail


def refused(code: str, operation: str, kind: type[ClientError] = ClientError) -> Answer:
    return failing(kind({"Error": {"Code": code}}, operation))


def unmet(operation: str) -> Answer:
    return refused("ConditionalCheckFailedException", operation, Unmet)


SILENT = failing(EndpointConnectionError(endpoint_url="https://aws"))


@dataclass
class Aws:
    """AWS as it should be, except for `odd`, which replaces the answers to operations, of one table if one is named.

    For instance `odd["Scan app"]` is the answer to a Scan of the table `app`.
    """

    odd: dict[str, Answer] = field(default_factory=dict)
    requested: list[str] = field(default_factory=list)

    exceptions = SimpleNamespace(ResourceNotFoundException=Missing, ConditionalCheckFailedException=Unmet)

    def _answer(self, operation: str, name: str, usual: Answer) -> Any:
        self.requested.append(operation)
        return self.odd.get(f"{operation} {name}", self.odd.get(operation, usual))()

    def describe_stream_summary(self, StreamName: str) -> Any:  # noqa: N803
        made = datetime(2026, 1, 31, tzinfo=UTC)
        usual = {"StreamStatus": "ACTIVE", "OpenShardCount": 1, "StreamARN": "arn", "StreamCreationTimestamp": made}
        return {"StreamDescriptionSummary": usual | self._answer("DescribeStreamSummary", StreamName, dict)}

    def list_shards(self, StreamName: str, **_: Any) -> Any:  # noqa: N803
        return self._answer("ListShards", StreamName, lambda: {"Shards": [{"ShardId": "shardId-0"}]})

    def get_shard_iterator(self, StreamName: str, **_: Any) -> Any:  # noqa: N803
        return self._answer("GetShardIterator", StreamName, lambda: {"ShardIterator": "x"})

    def get_records(self, **_: Any) -> Any:
        return self._answer("GetRecords", "", dict)

    def describe_table(self, TableName: str) -> Any:  # noqa: N803
        return {"Table": self._answer("DescribeTable", TableName, lambda: table(*KEYS[TableName]))}

    def batch_get_item(self, **_: Any) -> Any:
        return self._answer("BatchGetItem", "limits", dict)

    def batch_execute_statement(self, **_: Any) -> Any:
        usual = {"Responses": [{"Error": {"Code": "ConditionalCheckFailed"}}]}
        return self._answer("BatchExecuteStatement", "limits", lambda: usual)

    def get_item(self, TableName: str, **_: Any) -> Any:  # noqa: N803
        return self._answer("GetItem", TableName, dict)

    def scan(self, TableName: str, **_: Any) -> Any:  # noqa: N803
        return self._answer("Scan", TableName, dict)

    def query(self, TableName: str, **_: Any) -> Any:  # noqa: N803
        return self._answer("Query", TableName, dict)

    def put_item(self, TableName: str, **_: Any) -> Any:  # noqa: N803
        return self._answer("PutItem", TableName, unmet("PutItem"))

    def update_item(self, TableName: str, **_: Any) -> Any:  # noqa: N803
        return self._answer("UpdateItem", TableName, unmet("UpdateItem"))

    def delete_item(self, TableName: str, **_: Any) -> Any:  # noqa: N803
        return self._answer("DeleteItem", TableName, unmet("DeleteItem"))

    def put_object(self, **_: Any) -> Any:
        return self._answer("PutObject", "", refused("BadDigest", "PutObject"))

    def get_paginator(self, _: str) -> Any:
        return SimpleNamespace(paginate=self._leases)

    def _leases(self, **_: Any) -> Iterator[Any]:
        yield self._answer("leases", "app", lambda: {"Items": []})


def settings(**more: Any) -> Settings:
    given = {"region": "eu-north-1", "stream_name": "events", "quarantine": "s3://kept/q", "application_name": "app"}
    return load(Settings, **{**given, "table_name": "limits", **more})


def examine(aws: Any, seconds: float = preflight.SECONDS, **more: Any) -> None:
    preflight.examine(settings(**more), Clients(lambda: Application("app", "events", aws, aws), lambda: aws), seconds)


def problems(aws: Any, **more: Any) -> list[str]:
    """The problems found."""
    try:
        examine(aws, **more)
    except SettingsError as wrong:
        return wrong.problems
    return []


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    return [(record.message, vars(record)["part"], vars(record)["cause"]) for record in caplog.records]


def test_what_is_as_it_should_be_has_no_problems(caplog: pytest.LogCaptureFixture) -> None:
    aws = Aws()
    assert problems(aws) == []
    assert logged(caplog) == []
    assert {"GetRecords", "BatchExecuteStatement", "DeleteItem", "Query", "PutObject", "leases"} <= {*aws.requested}


def test_limits_in_memory_have_no_table() -> None:
    assert problems(Aws({"DescribeTable limits": SILENT}), enable_dynamo_db=False) == []


def denied(resource: str, action: str, code: str = "AccessDeniedException") -> str:
    return f"{resource}: {action}: {code}: allow {action} on {resource} to the role that runs this"


def test_an_arn_has_its_own_advice() -> None:
    aws = Aws({"DescribeStreamSummary": refused(GONE, "DescribeStreamSummary", Missing)})
    arn = "arn:aws:kinesis:us-east-1:111122223333:stream/events"
    (line,) = problems(aws, stream_arn=arn)
    assert line.endswith("ResourceNotFoundException: create it in its account, or correct CONSUMER_STREAM_ARN")


def missing(resource: str, action: str, remedy: str, code: str = "ResourceNotFoundException") -> str:
    return f"{resource}: {action}: {code}: create it: {remedy}"


DENIED, GONE = "AccessDeniedException", "ResourceNotFoundException"
SHARDS = "consumer provision --stream SHARDS; or correct CONSUMER_STREAM_NAME or AWS_REGION"
BUCKET = "consumer provision --bucket; or correct CONSUMER_QUARANTINE"
STATEMENT = {"Responses": [{"Error": {"Code": "AccessDenied"}}]}
TWO = "dynamodb:PutItem, dynamodb:Query"


@pytest.mark.parametrize(
    ("odd", "line"),
    [
        *(
            ({operation: refused(DENIED, operation)}, denied("stream events", f"kinesis:{operation}"))
            for operation in ("DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords")
        ),
        (
            {"DescribeStreamSummary": refused(GONE, "DescribeStreamSummary", Missing)},
            missing("stream events", "kinesis:DescribeStreamSummary", SHARDS),
        ),
        (
            {"DescribeStreamSummary": lambda: {"StreamStatus": "DELETING"}},
            "events: DELETING, 1 open shards: name another stream, or create it again",
        ),
        (
            {"DescribeTable limits": refused(GONE, "DescribeTable", Missing)},
            missing("table limits", "dynamodb:DescribeTable", "consumer provision"),
        ),
        ({"BatchGetItem": refused(DENIED, "BatchGetItem")}, denied("table limits", "dynamodb:BatchGetItem")),
        (
            {"BatchExecuteStatement": lambda: STATEMENT},
            denied("table limits", "dynamodb:PartiQLUpdate", "AccessDenied"),
        ),
        ({"DescribeTable app": refused(DENIED, "DescribeTable")}, denied("table app", "dynamodb:DescribeTable")),
        (
            {"PutItem app": refused(DENIED, "PutItem"), "Query app": refused(DENIED, "Query")},
            f"table app: {TWO} denied: allow {TWO} on table app to the role that runs this",
        ),
        (
            {"PutObject": refused("NoSuchBucket", "PutObject")},
            missing("s3://kept/q/*", "s3:PutObject", BUCKET, "NoSuchBucket"),
        ),
        ({"PutObject": refused("AccessDenied", "PutObject")}, denied("s3://kept/q/*", "s3:PutObject", "AccessDenied")),
        (
            {"GetItem app-CoordinatorState": refused("UnrecognizedClientException", "GetItem")},
            (
                "table app-CoordinatorState: dynamodb:GetItem: UnrecognizedClientException: check the access key,"
                " AWS_REGION and the clock: AWS does not accept these credentials"
            ),
        ),
    ],
)
def test_what_is_denied_missing_or_wrong_is_one_line(odd: dict[str, Answer], line: str) -> None:
    aws = Aws(odd)
    assert problems(aws) == [line]
    assert "leases" not in aws.requested, "they would repeat it"


def test_all_problems_are_reported_at_once() -> None:
    odd: dict[str, Answer] = {
        "ListShards": refused("AccessDeniedException", "ListShards"),
        "DescribeTable limits": lambda: table("userId"),
        "DescribeTable app": lambda: table("leaseKey", kind="N"),
        "PutObject": SILENT,
    }
    assert [line.partition(": ")[0] for line in problems(Aws(odd))] == [
        "stream events",
        "table limits has the keys userId (S), not userId (S), userLimitId (S)",
        "table app has the keys leaseKey (N), not leaseKey (S)",
    ]


@pytest.mark.parametrize("name", [*KEYS][1:])
def test_kcl_creates_its_missing_tables(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert problems(Aws({f"DescribeTable {name}": refused(GONE, "DescribeTable", Missing)})) == []
    cause = "KCL creates it if it may, which takes minutes; or create it: consumer provision"
    assert logged(caplog) == [("missing at the start", f"table {name}", cause)]


def test_kcl_creates_its_missing_index(caplog: pytest.LogCaptureFixture) -> None:
    assert problems(Aws({"DescribeTable app": lambda: table("leaseKey", indexes=[])})) == []
    assert [message for message, *_ in logged(caplog)] == ["missing at the start"]


def test_a_stream_that_is_being_created_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    assert problems(Aws({"DescribeStreamSummary": lambda: {"StreamStatus": "CREATING"}})) == []
    cause = "events: CREATING, 1 open shards: wait until it is ACTIVE"
    assert logged(caplog) == [("missing at the start", "stream events", cause)]


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalServerError", "SlowDown", "ValidationException"])
@pytest.mark.parametrize(
    ("operation", "part"),
    [("GetShardIterator", "stream events"), ("BatchGetItem", "table limits"), ("PutObject", "s3://kept/q/*")],
)
def test_what_may_pass_is_logged_and_the_start_goes_on(
    code: str, operation: str, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    aws = Aws({operation: refused(code, operation)})
    assert problems(aws) == []
    assert logged(caplog) == [("not checked before the start", part, code)]
    assert "leases" in aws.requested


@pytest.mark.parametrize("operation", ["ListShards", "DescribeTable", "PutObject"])
def test_without_an_answer_the_start_goes_on(operation: str, caplog: pytest.LogCaptureFixture) -> None:
    aws = Aws({operation: SILENT})
    assert problems(aws) == []
    assert {(message, cause) for message, _, cause in logged(caplog)} == {
        ("not checked before the start", "EndpointConnectionError")
    }
    assert "leases" not in aws.requested


def test_a_check_that_takes_too_long_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    released = threading.Event()
    aws = Aws(
        {
            "PutObject": lambda: released.wait(60) and unmet("PutObject")(),
            "DescribeTable limits": lambda: table("userId"),
        }
    )
    try:
        found = problems(aws, seconds=0.2)
    finally:
        released.set()
    assert [line.partition(" ")[0] for line in found] == ["table"], "the others count"
    assert ("not checked before the start", "s3://kept/q/*", "no answer within 0.2 s") in logged(caplog)


@pytest.mark.parametrize("kind", ["file", "open"])
def test_a_quarantine_that_cannot_be_used_is_a_problem(tmp_path: Path, kind: str) -> None:
    place = tmp_path / kind
    if kind == "file":
        place.touch()
    else:
        place.mkdir()
        place.chmod(0o755)
    (line,) = problems(Aws(), quarantine=f"dir:{place}")
    assert line.startswith(f"directory {place}: ")
    assert line.endswith("make it writable for this user only (chmod 700), or change CONSUMER_QUARANTINE")


def test_a_quarantine_that_will_be_created_is_none(tmp_path: Path) -> None:
    assert problems(Aws(), quarantine=f"dir:{tmp_path / 'new'}") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("AccessDenied", denied("s3://records/a/*", "s3:PutObject", "AccessDenied")),
        (
            "NoSuchBucket",
            missing(
                "s3://records/a/*",
                "s3:PutObject",
                "consumer provision --bucket; or correct CONSUMER_ARCHIVE",
                "NoSuchBucket",
            ),
        ),
    ],
)
def test_an_archive_that_cannot_be_written_is_a_problem(tmp_path: Path, code: str, line: str) -> None:
    aws = Aws({"PutObject": refused(code, "PutObject")})
    assert problems(aws, quarantine=f"dir:{tmp_path / 'new'}", archive="s3://records/a") == [line]


def test_an_archive_in_a_folder_that_others_can_read_is_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (line,) = problems(Aws(), archive=f"dir:{tmp_path}")
    assert line.endswith("make it writable for this user only (chmod 700), or change CONSUMER_ARCHIVE")


def test_without_an_archive_none_is_checked(tmp_path: Path) -> None:
    aws = Aws()
    assert problems(aws, quarantine=f"dir:{tmp_path / 'new'}") == []
    assert "PutObject" not in aws.requested


def test_leases_of_another_stream_are_a_problem() -> None:
    theirs = {"leaseKey": {"S": "shardId-0"}, "checkpoint": {"S": "1"}, "consumerStream": {"S": "another"}}
    (line,) = problems(Aws({"leases": lambda: {"Items": [theirs]}}))
    assert line.startswith("leases of application app are of stream another")


def test_clients_that_cannot_be_created_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        preflight.examine(settings(), Clients(failing(ProfileNotFound(profile="p")), lambda: pytest.fail("not needed")))
    assert [vars(record)["cause"] for record in caplog.records] == ["ProfileNotFound"]
