"""The templates, deployed in MiniStack, and the service on their resources, with exactly the permissions they grant.

MiniStack allows every request, so each component uses its own access key. The test records every request and compares
it with the policies of the component's role: each request must be allowed, and each permission must have been used, or
be explained here.

docs/how-to/test.md lists what MiniStack does not support in the templates.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError

from consumer.admin import provision
from consumer.admin.watcher import SERVED
from consumer.bootstrap import pool
from consumer.engine.errors import Reason
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Position, Record
from consumer.leases.tables import states_table
from consumer.limits.projection import Limits
from consumer.limits.sample import Sample
from consumer.monitoring.metrics import LEASE_OWNER
from consumer.stores.dynamodb import DynamoRepository
from consumer.stores.places import S3Place
from consumer.stores.s3 import S3Quarantine
from tests.support.driven.lambda_environment import quarantined
from tests.support.driven.lambda_zip import HERE, archive
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.queues import Queue
from tests.support.driven.scenario import Stage, expected, poison, samples, until_equal, until_received
from tests.support.driven.service import consumer, service
from tests.support.driven.waiting import until
from tests.support.emulators.cloudformation import FOLDER, resources, template
from tests.support.emulators.issuer import AUDIENCE, issuer
from tests.support.emulators.permissions import ACCOUNT, Call, Grant, not_permitted
from tests.support.emulators.stacks import NETWORK, Account, account
from tests.support.generators.archived import numbered, write
from tests.support.generators.events import created, progress_changed
from tests.support.generators.failures import failure
from tests.support.simulation.archive import archived
from tests.support.simulation.consumer_page import Document
from tests.support.simulation.core import Core

KNOWN = ("USER_LIMIT_CREATED", "USER_LIMIT_PROGRESS_CHANGED", "USER_LIMIT_RESET")
API = {
    "ApiTasks": "1",
    "ApiIssuer": "https://login.example.com",
    "ApiAudience": "limits",
    "ApiCertificateArn": f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/1",
    "ApiClientsSecurityGroup": "sg-1",
}
PAGES = {
    **API,
    "ApiPagesClientId": "limits-pages",
    "ApiPagesUrl": "https://limits.example.com",
    "ApiPagesSessionKeyArn": f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:session-key-AbCdEf",
}
OF_SIGNING_IN = ("CONSUMER_API_ISSUER", "CONSUMER_API_AUDIENCE", "CONSUMER_PAGES_CLIENT_ID", "CONSUMER_PAGES_URL")
LEASES, METRICS, STATE = "consumer", "consumer-WorkerMetricStats", "consumer-CoordinatorState"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with account(tmp_path_factory.mktemp("account")) as made:
        yield made


def test_the_task_uses_all_permissions_of_its_role_and_no_others(cloud: Account, tmp_path: Path) -> None:
    """First polling with provisioned leases, then fan-out with leases that KCL creates, with KCL's own metrics."""
    granted: set[Grant] = set()
    for name, provisioned, parameters in (
        ("polled", True, {}),
        ("fanned", False, {"RetrievalMode": "fanout", "KclMetricsLevel": "SUMMARY", "Archive": "true"}),
    ):
        cloud.data(name)
        outputs = cloud.fargate(f"{name}-service", name, **parameters)
        granted |= cloud.grants(outputs["TaskRoleArn"])
        variables = cloud.task_variables(f"{name}-service", tmp_path)
        if provisioned:
            made = consumer({**variables, "AWS_ACCESS_KEY_ID": "deployment"}, "provision")
            assert "create table" not in made
            assert "create index" not in made
        consumed({**variables, "AWS_ACCESS_KEY_ID": "task"}, tmp_path / name)

    requested = cloud.calls("task")
    assert [call for call in requested if _makes(call)] == []
    assert not_permitted(requested, granted) == []
    assert unexplained(requested, granted, NOT_SEEN_OF_THE_TASK) == []


def test_over_what_exists_the_task_uses_all_permissions_of_its_role_and_no_others(
    cloud: Account, tmp_path: Path
) -> None:
    existing(cloud, "found")
    cloud.client("ecs").create_cluster(clusterName="shared")
    cloud.client("logs").create_log_group(logGroupName="/found")
    cloud.client("s3").put_object(Bucket="found-data", Key="settings.env", Body=b"CONSUMER_CHECKPOINT_SECONDS=1\n")
    outputs = cloud.fargate(
        "found-service",
        "found",
        ClusterName="shared",
        LogGroupName="/found",
        EnvironmentFile="arn:aws:s3:::found-data/settings.env",
        KeyArns=KEY,
        Archive="true",
    )
    variables = cloud.task_variables("found-service", tmp_path)
    consumed({**from_file(cloud), **variables, "AWS_ACCESS_KEY_ID": "found"}, tmp_path / "log")

    assert (outputs["Cluster"], outputs["LogGroup"]) == ("shared", "/found")
    filters = cloud.client("logs").describe_metric_filters(logGroupName="/found")["metricFilters"]
    assert len(filters) == len(resources(template("fargate.yaml"), "AWS::Logs::MetricFilter"))
    granted, requested = cloud.grants(outputs["TaskRoleArn"]), cloud.calls("found")
    assert not_permitted(requested, granted) == []
    assert unexplained(requested, granted, NOT_SEEN_OF_THE_TASK | NOT_SEEN_OF_KEYS) == []


def existing(cloud: Account, name: str) -> dict[str, str]:
    """Makes a stream, tables and a bucket as an account may have them, and the stack of existing.yaml for them."""
    stream, application, table, bucket = (f"{name}-{each}" for each in ("events", "consumer", "limits", "data"))
    cloud.client("kinesis").create_stream(StreamName=stream, ShardCount=2)
    states = states_table(table, ("userId", "userLimitId"))
    wanted = provision.Wanted("us-east-1", stream, application, states, lease_rows=False)
    for each in provision.tables(wanted):
        cloud.client("dynamodb").create_table(**provision._definition(each))
    cloud.client("s3").create_bucket(Bucket=bucket)
    buckets = dict.fromkeys(("QuarantineBucketName", "ArchiveBucketName"), bucket)
    arn = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{stream}"
    body = (FOLDER / "existing.yaml").read_text(encoding="utf-8")
    return cloud.create(name, body, StreamArn=arn, ApplicationName=application, LimitsTableName=table, **buckets)


def from_file(cloud: Account) -> dict[str, str]:
    """The variables of the file of settings, as ECS reads it."""
    text = cloud.client("s3").get_object(Bucket="found-data", Key="settings.env")["Body"].read().decode()
    return dict(line.split("=", 1) for line in text.splitlines())


def consumed(variables: dict[str, str], log: Path) -> None:
    """A service consumes until the table equals the oracle."""
    made = samples(seed=11, count=3_000)
    stage = Stage(variables)
    with service(variables, log) as running:
        stage.put(made[:1_500])
        until_received(running, 1_500)
        stage.put(made[1_500:])  # to limits that are there, so that there are updates too
        until_received(running, len(made))
        until_equal(stage, made)
        assert quarantined(variables, "quarantine") == poison(made)
        assert running.stop() == 0


def test_the_watcher_uses_all_permissions_of_its_role_and_no_others(cloud: Account, tmp_path: Path) -> None:
    cloud.data("watched")
    outputs = cloud.watcher("watched-watcher", "watched")
    variables = cloud.task_variables("watched-watcher", tmp_path)
    consumer({**variables, "AWS_ACCESS_KEY_ID": "deployment"}, "provision")
    command = ("consumer", "status", "--serve", variables["CONSUMER_METRICS_ADDRESS"], "--every", "1")
    with service({**variables, "AWS_ACCESS_KEY_ID": "watcher"}, tmp_path / "log", command) as running:
        wanted = {metric.name for metric in SERVED} - {LEASE_OWNER.name}  # no worker runs
        until(lambda: {sample.name for sample in running.samples()} == wanted, "all facts")
        assert running.stop() == 0

    granted, requested = cloud.grants(outputs["TaskRoleArn"]), cloud.calls("watcher")
    assert not_permitted(requested, granted) == []
    assert unexplained(requested, granted, {}) == []


def test_the_verification_uses_all_permissions_of_its_role_and_no_others(cloud: Account, tmp_path: Path) -> None:
    cloud.data("proven")
    outputs = cloud.verify("proven-verify", "proven")
    variables = cloud.task_variables("proven-verify", tmp_path)
    bucket, _, prefix = variables["CONSUMER_ARCHIVE"].removeprefix("s3://").partition("/")
    history = [json.dumps(event).encode() for event in (created(1), progress_changed(2))]
    write(S3Place(cloud.client("s3"), bucket, prefix), numbered(history, stream="proven-events"))

    command = [sys.executable, "-m", "consumer", "verify", "--processes", "1", "--patience", "2", "--counts", "--json"]
    found = subprocess.run(
        command, env={**variables, "AWS_ACCESS_KEY_ID": "verify"}, capture_output=True, text=True, check=False
    )
    assert (found.returncode, json.loads(found.stdout)["missing"]) == (1, 1), found.stderr

    granted, requested = cloud.grants(outputs["TaskRoleArn"]), cloud.calls("verify")
    assert not_permitted(requested, granted) == []
    assert unexplained(requested, granted, {}) == []


def test_the_api_uses_all_permissions_of_its_role_and_no_others(cloud: Account, tmp_path: Path) -> None:
    cloud.data("read")
    outputs = cloud.fargate("read-service", "read", **API)
    address = f"{LOOPBACK}:{free_port()}"
    variables = {
        **cloud.task_variables("read-service", tmp_path, "-api"),
        **dict.fromkeys(("CONSUMER_METRICS_ADDRESS", "CONSUMER_API_ADDRESS"), address),
        "AWS_ACCESS_KEY_ID": "api",
    }
    with issuer() as op:
        variables |= {"CONSUMER_API_ISSUER": op.url, "CONSUMER_API_AUDIENCE": AUDIENCE}
        with service(variables, tmp_path / "log", ("consumer", "serve")) as running:
            until(lambda: running.get("/readyz")[0] == 200, "the API to read the table")
            for path in ("", "/l-1", "/headroom?type=DEPOSIT"):
                token = {"Authorization": f"Bearer {op.token(sub='u-1')}"}
                request = Request(f"http://{address}/user-limits/u-1{path}", headers=token)
                assert status_of(request) == (404 if path == "/l-1" else 200)
            assert running.stop() == 0

    granted, requested = cloud.grants(outputs["ApiTaskRoleArn"]), cloud.calls("api")
    assert not_permitted(requested, granted) == []
    assert unexplained(requested, granted, {}) == []


def test_the_pages_use_all_permissions_of_the_role_of_the_api_and_no_others(cloud: Account, tmp_path: Path) -> None:
    """Without an issuer, so that nobody needs to sign in: that makes no difference to AWS."""
    data = cloud.data("paged")
    outputs = cloud.fargate("paged-service", "paged", **PAGES)
    variables = cloud.task_variables("paged-service", tmp_path, "-api")
    assert {name for name in variables if name.startswith("CONSUMER_PAGES")} < set(OF_SIGNING_IN)
    consumer({**variables, "AWS_ACCESS_KEY_ID": "deployment"}, "provision")
    S3Quarantine(cloud.client("s3"), data["QuarantineBucketName"], "quarantine", pool()).put([_entry(1, b"poison")])
    address = f"{LOOPBACK}:{free_port()}"
    variables |= dict.fromkeys(("CONSUMER_METRICS_ADDRESS", "CONSUMER_API_ADDRESS"), address)
    open_to_all = {name: value for name, value in variables.items() if name not in OF_SIGNING_IN}
    with service({**open_to_all, "AWS_ACCESS_KEY_ID": "pages"}, tmp_path / "log", ("consumer", "serve")) as running:
        until(lambda: running.get("/readyz")[0] == 200, "the API to read the table")
        assert running.get("/limits?user=u-1")[0] == 200
        problems = "2 of 2 shards have problems"
        until(lambda: problems in Document(running.get("/consumer")[1]).words("p"), "the status")
        until(lambda: "put there by a test" in running.get("/consumer/quarantine")[1], "the quarantine")
        assert running.stop() == 0

    granted, requested = cloud.grants(outputs["ApiTaskRoleArn"]), cloud.calls("pages")
    assert not_permitted(requested, granted) == []
    assert unexplained(requested, granted, {}) == []


def status_of(request: Request) -> int:
    try:
        with urlopen(request, timeout=30) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code


# Permissions in the list of AWS for KCL 3. The reasons come from the classes of KCL 3.1.3.
NOT_SEEN_OF_THE_TASK = {
    ("kinesis:DescribeStream", "stream/it-events"): "used by KCL before 3; the list of AWS for 3 still has it",
    ("dynamodb:DeleteItem", f"table/it-{LEASES}"): "the lease of a shard read to its end, minutes after its children's",
    ("dynamodb:DeleteItem", f"table/it-{METRICS}"): "the leader removes workers that have not reported for a day",
    ("dynamodb:GetItem", f"table/it-{METRICS}"): "not by 3.1.3, which scans; AWS's list has it",
    ("dynamodb:PutItem", f"table/it-{METRICS}"): "not by 3.1.3, which updates; AWS's list has it",
    ("dynamodb:Scan", f"table/it-{STATE}"): "KCL reads the state of a migration from version 2 only during one",
    ("dynamodb:UpdateItem", f"table/it-{STATE}"): "the leader renews its lock at intervals, not in every short run",
}
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/theirs"
NOT_SEEN_OF_KEYS = dict.fromkeys(
    (("kms:Decrypt", "key/theirs"), ("kms:GenerateDataKey", "key/theirs")),
    "used by Kinesis, DynamoDB and S3 on behalf of the caller; MiniStack encrypts nothing",
)
LOG_GROUP = "log-group:/aws/cloudformation/it-service/LogGroup:*"
NOT_SEEN_OF_THE_FUNCTION = {
    (f"kinesis:{action}", "stream/it-events"): "used by Lambda's poller; MiniStack's poller reads its streams directly"
    for action in ("DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards")
} | {
    ("s3:PutObject", "it-service-failurebucket/*"): "MiniStack's mapping never gives up on a batch",
    ("s3:ListBucket", "it-service-failurebucket"): "as before",
    ("logs:CreateLogStream", LOG_GROUP): "Lambda writes the logs; MiniStack keeps them itself",
    ("logs:PutLogEvents", LOG_GROUP): "as before",
}

NOT_SEEN_OF_THE_NOTICES = {
    (
        f"dynamodb:{action}",
        "table/it-limits/stream/*",
    ): "used by Lambda's poller; MiniStack's reads records directly"
    for action in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
} | {key: reason for key, reason in NOT_SEEN_OF_THE_FUNCTION.items() if not key[0].startswith("kinesis:")}


def test_the_function_uses_all_permissions_of_its_role_and_no_others(cloud: Account) -> None:
    """Over a stream, tables and a bucket that exist."""
    data = existing(cloud, "mapped")
    outputs = cloud.create(
        "mapped-service",
        (FOLDER / "lambda.yaml").read_text(encoding="utf-8"),
        DataStack="mapped",
        Archive="true",
        KeyArns=KEY,
        **uploaded(cloud),
    )
    variables = {
        "AWS_ENDPOINT_URL": cloud.aws.endpoint,
        "AWS_TABLE_NAME": data["LimitsTableName"],
        "CONSUMER_STREAM_NAME": data["StreamName"],
        "CONSUMER_QUARANTINE": data["Quarantine"],
    }
    made, stage = samples(seed=12, count=2_000), Stage(variables)
    stage.put(made[:1_000])
    until_equal(stage, made[:1_000])
    stage.put(made[1_000:])
    until_equal(stage, made)
    until(lambda: quarantined(variables, "quarantine") == poison(made), "the poison to be quarantined")

    granted = cloud.grants(outputs["RoleArn"])
    requested = cloud.calls(ACCOUNT) - of_the_notices(cloud.calls(ACCOUNT))
    assert requested, "MiniStack's functions sign with the account's number"
    assert not_permitted(requested, granted) == []
    assert unexplained(requested, granted, NOT_SEEN_OF_THE_FUNCTION | NOT_SEEN_OF_KEYS) == []


def test_the_function_of_the_notices_uses_all_permissions_of_its_role_and_no_others(cloud: Account) -> None:
    data = cloud.data("noticed", LimitsTableStream="true")
    outputs = cloud.create(
        "noticed-service",
        (FOLDER / "notices.yaml").read_text(encoding="utf-8"),
        DataStack="noticed",
        **uploaded(cloud),
        ExampleQueue="true",
    )
    queue = Queue(cloud.client("sqs"), outputs["QueueUrl"])
    history = [created(1), progress_changed(2, amount="850"), progress_changed(3, amount="1000")]
    repository = DynamoRepository(cloud.client("dynamodb"), data["LimitsTableName"], Limits(), pool())
    core = Core(repository)
    for event in history:
        assert core.deliver(event).unsettled is None
    until(queue.received, "the notice of the rule")

    assert [each["detail"]["threshold"] for each in queue.received()] == [100]
    granted, requested = cloud.grants(outputs["RoleArn"]), of_the_notices(cloud.calls(ACCOUNT))
    assert not_permitted(requested, granted) == []
    assert unexplained(requested, granted, NOT_SEEN_OF_THE_NOTICES) == []


def uploaded(cloud: Account) -> dict[str, str]:
    """The parameters of the code: the archive is in a bucket."""
    code = {"CodeBucket": "code", "CodeKey": "lambda.zip"}
    cloud.client("s3").create_bucket(Bucket=code["CodeBucket"])
    cloud.client("s3").put_object(Bucket=code["CodeBucket"], Key=code["CodeKey"], Body=archive())
    return {**code, "Runtime": f"python{HERE.python}"}


def of_the_notices(calls: set[Call]) -> set[Call]:
    """Both functions sign with the account's number. The other one only uses resources of its own stack."""
    return {call for call in calls if "mapped" not in call.resource}


def test_the_tools_use_all_permissions_of_their_roles_and_no_others(cloud: Account, tmp_path: Path) -> None:
    outputs = cloud.data("tooled")
    roles = cloud.tools("tooled-tools", "tooled")
    cloud.fargate("tooled-service", "tooled")
    variables = cloud.task_variables("tooled-service", tmp_path)
    made = [
        sample for sample in samples(seed=13, count=100, users=10) if sample.event and sample.event["type"] in KNOWN
    ]
    bucket = outputs["QuarantineBucketName"]
    kept = S3Quarantine(cloud.client("s3"), bucket, "quarantine", pool())
    kept.put([_entry(number, sample.data) for number, sample in enumerate(made)])
    kept.put([_entry(1_000, b"poison"), _entry(1_001, b"poison")])
    reader = {**variables, "AWS_ACCESS_KEY_ID": "reader"}
    replayer = {**variables, "AWS_ACCESS_KEY_ID": "replayer"}

    listed = consumer(reader, "quarantine", "list", "--json").splitlines()
    assert len(listed) == len(made) + 2
    shown = consumer(reader, "quarantine", "show", "tooled/shardId-000000000000/1000", "--json")
    assert json.loads(shown)["reason"] == "JSON"
    consumer(replayer, "quarantine", "drop", "tooled/shardId-000000000000/1000")
    with pytest.raises(CalledProcessError):
        consumer(replayer, "quarantine", "replay")
    assert quarantined(variables, "quarantine") == Counter([b"poison"]), "what can be applied is gone, the rest stays"
    (tmp_path / "records").write_bytes(b"no event")
    consumer(replayer, "lambda-invoke", str(tmp_path / "records"))
    put = cloud.client("kinesis").put_record(StreamName=outputs["StreamName"], Data=b"{}", PartitionKey="one")
    given_up = failure(put["ShardId"], put["SequenceNumber"], put["SequenceNumber"], 1, outputs["StreamArn"])
    (tmp_path / "given-up.json").write_text(json.dumps(given_up))
    consumer(replayer, "lambda-invoke", str(tmp_path / "given-up.json"))
    assert quarantined(variables, "quarantine") == Counter([b"poison", b"no event", b"{}"])

    assert json.loads(consumer(reader, "limits", expected_user(made), "--json"))
    user, limit = next(iter(expected(made)))
    place = S3Place(cloud.client("s3"), outputs["ArchiveBucketName"], "archive")
    archived(
        place,
        [Record(Position(outputs["StreamName"], "0", str(number)), each.data) for number, each in enumerate(made, 1)],
    )
    of_archive = {"CONSUMER_ARCHIVE": f"s3://{outputs['ArchiveBucketName']}/archive"}
    consumer({**replayer, **of_archive}, "archive", "index")
    steps = json.loads(consumer({**reader, **of_archive}, "history", user, limit, "--json"))["steps"]
    untrue = steps[-1]["eventId"]
    consumer({**replayer, **of_archive}, "repair", user, limit, "--without", untrue, "--yes")
    consumer(replayer, "limits", "forget", user, limit, "--yes")
    consumer({**variables, "AWS_ACCESS_KEY_ID": "deployment"}, "provision")
    assert len(json.loads(consumer(reader, "status", "--json"))["shards"]) == 2
    rewinder = {**variables, "AWS_ACCESS_KEY_ID": "rewinder", "CONSUMER_FAILOVER_MILLIS": "1000"}
    assert [each["createsLease"] for each in rewound(rewinder)] == [False]
    lease = {"leaseKey": {"S": put["ShardId"]}}
    cloud.client("dynamodb").delete_item(TableName=variables["CONSUMER_APPLICATION_NAME"], Key=lease)
    assert [each["createsLease"] for each in rewound(rewinder)] == [True]
    for key, role in (("reader", "ReaderRoleArn"), ("replayer", "ReplayRoleArn"), ("rewinder", "RewindRoleArn")):
        granted, requested = cloud.grants(roles[role]), cloud.calls(key)
        assert not_permitted(requested, granted) == []
        assert unexplained(requested, granted, {}) == []


def rewound(variables: dict[str, str]) -> list[dict[str, Any]]:
    """The shards whose checkpoint was set behind their last record."""
    shards = json.loads(consumer(variables, "rewind", "--to", "latest", "--yes", "--json"))["shards"]
    return [each for each in shards if each["set"]]


def expected_user(made: list[Sample]) -> str:
    return next(user for user, _ in expected(made))


def test_the_service_names_alarms_that_exist_and_filters_count_lines_of_its_log_group(cloud: Account) -> None:
    cloud.data("alarmed")
    outputs = cloud.fargate("alarmed-service", "alarmed")
    (service,) = cloud.client("ecs").describe_services(cluster=outputs["Cluster"], services=[outputs["Service"]])[
        "services"
    ]
    deployment = service["deploymentConfiguration"]
    alarms = [
        each["AlarmName"] for page in pages(cloud, "cloudwatch", "describe_alarms") for each in page["MetricAlarms"]
    ]
    filters = cloud.client("logs").describe_metric_filters(logGroupName=outputs["LogGroup"])["metricFilters"]

    assert deployment["deploymentCircuitBreaker"] == {"enable": True, "rollback": True, "resetOnHealthyTask": False}
    assert deployment["alarms"]["enable"] is True
    assert len(deployment["alarms"]["alarmNames"]) == 4
    assert set(deployment["alarms"]["alarmNames"]) <= set(alarms)
    written = resources(template("fargate.yaml"), "AWS::Logs::MetricFilter").values()
    assert sorted(each["filterPattern"] for each in filters) == sorted(each["FilterPattern"] for each in written)


def test_the_workers_have_their_alarms_and_a_dashboard_that_shows_them(cloud: Account) -> None:
    cloud.client("logs").create_log_group(logGroupName="workers")
    outputs = cloud.monitoring("monitored", "alarmed", "workers")
    dashboard = cloud.client("cloudwatch").get_dashboard(DashboardName=outputs["Dashboard"])["DashboardBody"]
    shown = next(each["properties"]["alarms"] for each in json.loads(dashboard)["widgets"] if each["type"] == "alarm")
    alarms = {
        each["AlarmArn"]: each
        for page in pages(cloud, "cloudwatch", "describe_alarms")
        for each in page["MetricAlarms"]
        if each["AlarmName"].startswith("monitored-")
    }
    filters = cloud.client("logs").describe_metric_filters(logGroupName="workers")["metricFilters"]
    written = resources(template("monitoring.yaml"), "AWS::Logs::MetricFilter").values()

    assert set(shown) == alarms.keys(), "those of the API and of the memory are not asked for"
    assert {
        tuple((each["Name"], each["Value"]) for each in alarm["Dimensions"])
        for alarm in alarms.values()
        if alarm["MetricName"].startswith("consumer_")
    } == {(("application", "alarmed-consumer"),)}
    assert sorted(each["filterPattern"] for each in filters) == sorted(each["FilterPattern"] for each in written)


def pages(cloud: Account, service: str, operation: str) -> list[dict[str, Any]]:
    return list(cloud.client(service).get_paginator(operation).paginate())


def test_ministack_still_refuses_the_scaling(cloud: Account) -> None:
    """If this test fails, deploy the whole of fargate.yaml in the tests above."""
    with pytest.raises(ClientError, match="Unrecognized resource types"):
        cloud.create("whole", json.dumps(template("fargate.yaml")), **NETWORK)


def unexplained(calls: set[Call], granted: set[Grant], explained: dict[tuple[str, str], str]) -> list[tuple[str, str]]:
    """Permissions that are granted, not used and not explained."""
    used = {_spelt(grant) for grant in granted if any(grant.allows(call) for call in calls)}
    known = {_spelt(grant) for grant in granted}
    print(f"{len(used)} of {len(known)} pairs of action and resource were used")
    assert explained.keys() <= known, "every explanation is about a granted permission"
    return sorted(known - used - explained.keys())


def _spelt(grant: Grant) -> tuple[str, str]:
    """Action and resource, in the same form for every stack: `("dynamodb:Scan", "table/it-consumer")`."""
    plain = re.sub(r"-[0-9a-f]{13}", "", grant.resource.split(":", 5)[-1])
    return grant.action, re.sub(r"\b(polled|fanned|found|mapped|noticed|paged|read|tooled|watched)\b", "it", plain)


def _makes(call: Call) -> bool:
    return call.action.partition(":")[2].startswith(("Create", "UpdateTable", "UpdateContinuous"))


def _entry(number: int, data: bytes) -> Quarantined:
    position = Position("tooled", "shardId-000000000000", str(number))
    return Quarantined(Record(position, data, 0), Reason.JSON, "put there by a test")
