"""`consumer doctor` makes every check, says what to do about each failure, and changes nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.driven.processes import LOOPBACK
from tests.support.driven.service import consumer, environment
from tests.support.emulators.aws import Emulator, session
from tests.support.faults.proxy import (
    ACCESS_DENIED,
    THROTTLED,
    TOKEN_EXPIRED,
    FaultProxy,
    fail_statements,
    fault_proxy,
    swallow,
)

CHECKS = [
    *("java", "jars", "timeouts", "credentials", "stream", "permissions", "table", "permissions"),
    *("table", "permissions", "table", "permissions", "table", "permissions", "leases", "quarantine"),
]
KEYS: Mapping[str, tuple[str, ...]] = {
    "-limits": ("userId", "userLimitId"),
    "-app": ("leaseKey",),
    "-app-WorkerMetricStats": ("wid",),
    "-app-CoordinatorState": ("key",),
}


@dataclass(frozen=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    lines: list[str]

    @property
    def failures(self) -> list[str]:
        return [line for line in self.lines if line.startswith("FAIL ")]


def run(variables: Mapping[str, str], *arguments: str) -> CommandResult:
    command = [sys.executable, "-m", "consumer", *arguments]
    ended = subprocess.run(command, env=dict(variables), capture_output=True, text=True, check=False, timeout=120)
    return CommandResult(ended.returncode, (ended.stdout + ended.stderr).splitlines())


@pytest.fixture(scope="module")
def proxy(aws: Emulator) -> Iterator[FaultProxy]:
    with fault_proxy(aws.endpoint) as made:
        yield made


@pytest.fixture(scope="module")
def sound(aws: Emulator, proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A provisioned service with its quarantine in S3, behind the proxy."""
    variables = environment("patient", tmp_path_factory.mktemp("patient"), AWS_ENDPOINT_URL=aws.endpoint)
    variables["CONSUMER_QUARANTINE"] = "s3://patient-quarantine/kept"
    consumer(variables, "provision", "--stream", "2", "--bucket")
    return {**variables, "AWS_ENDPOINT_URL": proxy.endpoint}


def everything(aws: Emulator) -> Any:
    """Everything in the account."""
    dynamodb = session().client("dynamodb", endpoint_url=aws.endpoint)
    s3 = session().client("s3", endpoint_url=aws.endpoint)
    tables = dynamodb.list_tables()["TableNames"]
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    return (
        {name: dynamodb.scan(TableName=name)["Items"] for name in tables},
        {name: s3.list_object_versions(Bucket=name).get("Versions", []) for name in buckets},
        {name: s3.list_multipart_uploads(Bucket=name).get("Uploads", []) for name in buckets},
    )


def test_a_sound_service_passes_every_check_and_nothing_is_changed(aws: Emulator, sound: Mapping[str, str]) -> None:
    before = everything(aws)
    assert any(before[0].values()), "there are leases"
    plain, found = run(sound, "doctor"), json.loads(consumer(sound, "doctor", "--json"))
    assert (plain.code, plain.failures) == (0, [])
    assert [line[:5] for line in plain.lines] == ["ok   "] * len(CHECKS)
    assert [finding["what"] for finding in found] == CHECKS
    assert {(finding["ok"], finding["advice"]) for finding in found} == {(True, None)}
    assert everything(aws) == before


KCL = ("GetItem", "Scan", "PutItem", "UpdateItem", "DeleteItem")
ON_LEASES = ", ".join(f"dynamodb:{operation}" for operation in (*KCL, "Query"))
ON_ANY = ", ".join(f"dynamodb:{operation}" for operation in KCL)


@pytest.mark.parametrize(
    ("operations", "denied"),
    [
        (
            ["DescribeStreamSummary", "DescribeTable", "PUT"],
            [
                "kinesis:DescribeStreamSummary on stream patient-stream",
                *(f"dynamodb:DescribeTable on table patient{suffix}" for suffix in KEYS),
                "kinesis:DescribeStreamSummary on stream patient-stream and table patient-app",
                "s3:PutObject on s3://patient-quarantine/kept/*",
            ],
        ),
        (
            ["ListShards", "BatchGetItem", *KCL, "Query"],
            [
                "kinesis:ListShards on stream patient-stream",
                "dynamodb:BatchGetItem on table patient-limits",
                f"{ON_LEASES} on table patient-app",
                f"{ON_ANY} on table patient-app-WorkerMetricStats",
                f"{ON_ANY} on table patient-app-CoordinatorState",
                "dynamodb:Scan on stream patient-stream and table patient-app",
            ],
        ),
        (
            ["GetShardIterator", "BatchExecuteStatement", "PutItem"],
            [
                "kinesis:GetShardIterator on stream patient-stream",
                "dynamodb:PartiQLUpdate on table patient-limits",
                *(f"dynamodb:PutItem on table patient{suffix}" for suffix in list(KEYS)[1:]),
            ],
        ),
        (["GetRecords"], ["kinesis:GetRecords on stream patient-stream"]),
    ],
    ids=["described", "read", "written", "records"],
)
def test_missing_permissions_are_named(
    proxy: FaultProxy, sound: Mapping[str, str], operations: list[str], denied: list[str]
) -> None:
    with proxy.fault(ACCESS_DENIED, *operations):
        ended = run(sound, "doctor")
    assert ended.code == 1
    assert [line.partition(" -> ")[2] for line in ended.failures] == [
        f"allow {action} to the role that runs this" for action in denied
    ]


def test_a_statement_that_is_refused_within_a_batch_is_a_missing_permission(
    proxy: FaultProxy, sound: Mapping[str, str]
) -> None:
    with proxy.fault(fail_statements(1.0, "AccessDenied"), "BatchExecuteStatement"):
        (line,) = run(sound, "doctor").failures
    assert line.endswith(" -> allow dynamodb:PartiQLUpdate on table patient-limits to the role that runs this")


def test_an_expired_session_is_no_reason_to_provision(proxy: FaultProxy, sound: Mapping[str, str]) -> None:
    with proxy.fault(TOKEN_EXPIRED):
        ended = run(sound, "doctor")
    assert ended.code == 1
    # the permissions on a table are checked only after its description
    assert len(ended.failures) == len(["stream", *KEYS, "leases", "quarantine"])
    assert all(line.endswith(" -> renew the credentials: their session has expired") for line in ended.failures)


def test_no_request_is_retried(proxy: FaultProxy, sound: Mapping[str, str]) -> None:
    with proxy.fault(THROTTLED) as fault:
        ended = run(sound, "doctor")
    assert all(line.endswith(" -> try again later: AWS throttles or fails") for line in ended.failures)
    assert fault.hits.total() == len(ended.failures)


def test_an_unresponsive_network_costs_one_timeout_per_check(proxy: FaultProxy, sound: Mapping[str, str]) -> None:
    with proxy.fault(swallow) as fault:
        ended = run(sound, "doctor")
    assert all(
        " -> check AWS_REGION, the AWS_ENDPOINT_URL variables and the network" in line for line in ended.failures
    )
    assert fault.hits.total() == len(ended.failures) == len(["stream", *KEYS, "leases", "quarantine"])


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "give boto3 credentials"),
        ({"AWS_ENDPOINT_URL": f"http://{LOOPBACK}:9"}, "check AWS_REGION, the AWS_ENDPOINT_URL variables"),
    ],
    ids=["no credentials", "nobody there"],
)
def test_missing_credentials_or_endpoints_are_no_reason_to_provision(
    sound: Mapping[str, str], variables: Mapping[str, str], advice: str
) -> None:
    ended = run({**sound, **variables}, "doctor")
    assert ended.code == 1
    assert len(ended.failures) >= len(["stream", *KEYS, "leases", "quarantine"])
    assert all(f" -> {advice}" in line for line in ended.failures)


def test_missing_resources_are_to_be_created(aws: Emulator, tmp_path: Path) -> None:
    variables = environment("nothing", tmp_path, AWS_ENDPOINT_URL=aws.endpoint)
    variables["CONSUMER_QUARANTINE"] = "s3://nothing-quarantine"
    ended = run(variables, "doctor")
    assert ended.code == 1
    advice = [line.partition(" -> create it: ")[2].partition(";")[0] for line in ended.failures]
    assert advice == ["consumer provision --stream SHARDS", *["consumer provision"] * 4, "consumer provision --bucket"]


def test_a_quarantine_in_a_directory(sound: Mapping[str, str], tmp_path: Path) -> None:
    def found(place: Path) -> str:
        return run({**sound, "CONSUMER_QUARANTINE": f"dir:{place}"}, "doctor").lines[-1]

    assert found(tmp_path / "new") == f"ok   quarantine: {tmp_path / 'new'}: will be created"
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir(mode=0o700)
    assert found(tmp_path / "mine") == f"ok   quarantine: {tmp_path / 'mine'}: writable"
    assert list((tmp_path / "mine").iterdir()) == []
    (tmp_path / "mine").chmod(0o755)
    assert found(tmp_path / "mine").startswith(
        f"FAIL quarantine: {tmp_path / 'mine'} is accessible to others (mode 755)"
    )
    assert " -> make it writable for this user only (chmod 700)" in found(tmp_path / "mine")
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert found(place).startswith("FAIL quarantine: ")
        assert " -> make it writable for this user only" in found(place)


def test_an_archive_in_s3_is_checked_and_nothing_is_left_in_it(sound: Mapping[str, str], aws: Emulator) -> None:
    """Before the quarantine. `consumer provision` creates its bucket too."""
    variables = {**sound, "CONSUMER_ARCHIVE": "s3://patient-archive/records"}
    before = run(variables, "doctor")
    assert before.failures[0].startswith("FAIL archive: s3://patient-archive/records/*: ")
    assert before.failures[0].endswith("create it: consumer provision --bucket; or correct CONSUMER_ARCHIVE")
    consumer(variables, "provision", "--bucket")
    assert "ok   archive: s3://patient-archive/records: writable" in run(variables, "doctor").lines
    s3 = session().client("s3", endpoint_url=aws.endpoint)
    assert "Contents" not in s3.list_objects_v2(Bucket="patient-archive")


@pytest.mark.parametrize("suffix", KEYS)
def test_a_table_with_other_keys_is_refused_everywhere(aws: Emulator, tmp_path: Path, suffix: str) -> None:
    """Number keys instead of string keys. `run` reports them before it starts Java."""
    name = f"keys{suffix.lower()}"
    variables = environment(name, tmp_path, AWS_ENDPOINT_URL=aws.endpoint)
    consumer(variables, "provision", "--stream", "1")
    table, (hash_key, *more) = f"{name}{suffix}", KEYS[suffix]
    dynamodb = session().client("dynamodb", endpoint_url=aws.endpoint)
    dynamodb.delete_table(TableName=table)
    types = {hash_key: "N", **dict.fromkeys(more, "S")}
    wrong: Any = {
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": kind} for key, kind in types.items()],
        "KeySchema": [
            {"AttributeName": key, "KeyType": use} for key, use in zip(types, ("HASH", "RANGE"), strict=False)
        ],
    }
    dynamodb.create_table(TableName=table, BillingMode="PAY_PER_REQUEST", **wrong)

    ended = {command: run(variables, command) for command in ("provision", "doctor", "run")}

    assert {command: each.code for command, each in ended.items()} == {"provision": 2, "doctor": 1, "run": 2}
    for each in ended.values():
        (line,) = [line for line in each.lines if f"table {table} has the keys {hash_key} (N)" in line]
        assert line.endswith("it does not belong to this service; use another name")
    assert [line for line in ended["run"].lines if not line.startswith("consumer: ")] == []
