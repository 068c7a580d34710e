"""The CloudFormation templates, as far as they can be checked without deploying them."""

import importlib
import json
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic.alias_generators import to_camel
from typer.main import get_command

from consumer.admin import provision
from consumer.api.server import bounds_of
from consumer.aws_lambda.notices import VIEW
from consumer.cli.help_pages import commands
from consumer.cli.main import app
from consumer.leases.tables import states_table
from consumer.limits.events import Status
from consumer.limits.notices import TYPE, Notice
from consumer.monitoring.emf import NAMESPACE
from consumer.monitoring.metrics import BEHIND, VERIFICATION
from consumer.settings import (
    ApiSettings,
    CoreSettings,
    NoticeSettings,
    PageSettings,
    Settings,
    load,
    misspelled,
    variable,
)
from consumer.stores.eventbridge import SOURCE
from deploy.templates import names
from tests.support.emulators.aws import ROOT
from tests.support.emulators.cloudformation import (
    Resolved,
    container,
    losing_mappings,
    resolved,
    resources,
    statements,
    template,
)
from tests.support.generators.events import created
from tests.support.generators.table_stream import changes, entry

TEMPLATES = [f"{name}.yaml" for name in names()]
WITHOUT_ROLES = ("data.yaml", "existing.yaml", "monitoring.yaml")
TASKS = ("fargate.yaml", "watcher.yaml")
EVERYWHERE = {"fargate.yaml": ["KclMetrics", "Registry"], "watcher.yaml": ["Registry"], "verify.yaml": ["Registry"]}
"""The statements on all resources, by template."""
WANTED = provision.Wanted(
    region="eu-west-1",
    stream="limit-events",
    application="limits-consumer",
    states=states_table("user-limits", ("userId", "userLimitId")),
    lease_rows=False,
)


@pytest.fixture(params=TEMPLATES)
def any_template(request: pytest.FixtureRequest) -> dict[str, Any]:
    return template(request.param)


# --- data.yaml -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "keys"),
    [({}, ("userId", "userLimitId")), ({"PartitionKey": "region", "SortKey": "place"}, ("region", "place"))],
    ids=["limits", "another projection"],
)
def test_the_tables_are_those_that_provision_makes(given: dict[str, str], keys: tuple[str, str]) -> None:
    data = resolved("data.yaml", **given)
    found = {table["TableName"]: table for table in map(data.properties, _of_kind("AWS::DynamoDB::Table"))}

    wanted = provision.tables(replace(WANTED, states=states_table("user-limits", keys)))
    assert found.keys() == {table.name for table in wanted}
    for table in wanted:
        requested = provision._definition(table)
        assert {key: _sorted(found[table.name][key]) for key in requested} == {
            key: _sorted(value) for key, value in requested.items()
        }
        recovery = found[table.name].get("PointInTimeRecoverySpecification", {})
        assert recovery.get("PointInTimeRecoveryEnabled", False) == table.recoverable


def test_data_is_encrypted_and_retained_when_the_stack_is_deleted() -> None:
    data = template("data.yaml")
    kept = {name: each for name, each in data["Resources"].items() if each["Type"] in KEPT}

    assert {each["Type"] for each in kept.values()} == KEPT.keys()
    for name, each in kept.items():
        assert (each["DeletionPolicy"], each["UpdateReplacePolicy"]) == ("Retain", "Retain"), name
        assert KEPT[each["Type"]](each["Properties"]), name


KEPT: Mapping[str, Callable[[dict[str, Any]], bool]] = {
    "AWS::DynamoDB::Table": lambda table: table["SSESpecification"] == {"SSEEnabled": True},
    "AWS::Kinesis::Stream": lambda stream: stream["StreamEncryption"]["EncryptionType"] == "KMS",
    "AWS::S3::Bucket": lambda bucket: bool(bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]),
}
"""The resources to retain, and whether they are encrypted."""


@pytest.mark.parametrize(
    ("name", "bucket"),
    [
        ("data.yaml", "QuarantineBucket"),
        ("data.yaml", "ArchiveBucket"),
        ("lambda.yaml", "FailureBucket"),
        ("notices.yaml", "FailureBucket"),
    ],
)
def test_buckets_are_private_and_versioned_and_expire_no_current_object(name: str, bucket: str) -> None:
    found = resolved(name).properties(bucket)
    rules = found["LifecycleConfiguration"]["Rules"]

    assert set(found["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(found["PublicAccessBlockConfiguration"]) == 4
    assert found["VersioningConfiguration"] == {"Status": "Enabled"}
    assert any("NoncurrentVersionExpiration" in rule for rule in rules)
    assert [rule for rule in rules if "ExpirationInDays" in rule or "ExpirationDate" in rule] == []


def test_a_stream_that_exists_is_only_read() -> None:
    new, found = resolved("data.yaml"), resolved("data.yaml", StreamArn=EXISTING["StreamArn"])

    assert (new.made("Stream"), found.made("Stream")) == (True, False)
    assert found.exports()["limits-data-StreamName"] == "bets"
    assert found.exports()["limits-data-StreamArn"] == EXISTING["StreamArn"]


# --- existing.yaml -------------------------------------------------------------------------------------------------

EXISTING = {
    "StreamArn": "arn:aws:kinesis:us-east-1:000000000000:stream/bets",
    "LimitsTableName": "limits-of-users",
    "LimitsTableStreamArn": "arn:aws:dynamodb:us-east-1:000000000000:table/limits-of-users/stream/1",
    "ApplicationName": "keeper",
    "QuarantineBucketName": "refused",
    "ArchiveBucketName": "kept",
}


def test_what_exists_has_the_exports_of_what_the_other_template_makes() -> None:
    found, made = resolved("existing.yaml", **EXISTING).exports(), resolved("data.yaml").exports()

    assert found.keys() == made.keys()
    assert found["limits-data-StreamName"] == "bets"
    assert {f"limits-data-{name}": value for name, value in EXISTING.items()}.items() <= found.items()
    tables = {found[f"limits-data-{name}TableArn"] for name in ("Lease", "WorkerMetricStats", "CoordinatorState")}
    wanted = provision.Wanted("us-east-1", "bets", "keeper", None, lease_rows=False)
    assert tables == {f"arn:aws:dynamodb:us-east-1:000000000000:table/{each.name}" for each in provision.tables(wanted)}
    assert found["limits-data-ArchiveBucketArn"] == "arn:aws:s3:::kept"


def test_the_stack_of_what_exists_makes_nothing() -> None:
    assert [each["Type"] for each in template("existing.yaml")["Resources"].values()] == [
        "AWS::CloudFormation::WaitConditionHandle"
    ]


# --- Settings ------------------------------------------------------------------------------------------------------


def test_the_settings_of_the_task_exist_and_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = task_environment()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load(Settings)

    assert variables.keys() <= {variable(field) for field in Settings.model_fields}
    assert misspelled(variables) == []
    assert (settings.stream_name, settings.table_name) == ("limit-events", "user-limits")
    assert settings.quarantine == "s3://quarantinebucket/quarantine"


@pytest.mark.parametrize("name", ["fargate.yaml", "watcher.yaml", "verify.yaml"])
def test_an_image_may_name_its_projection(name: str) -> None:
    """A variable of the task would have priority over that of the image."""
    assert "CONSUMER_PROJECTION" not in task_environment(name)


OF_THE_MACHINE = {"region", "allow_insecure_endpoints", "enable_dynamo_db"}
"""Settings for emulators, and the region, which Lambda sets."""


def test_every_setting_of_the_function_can_be_given_and_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    function = resolved("lambda.yaml", Archive="true").properties("Function")
    variables = function["Environment"]["Variables"]
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    settings = load(CoreSettings)
    fields = {name for name in CoreSettings.model_fields if not name.endswith("endpoint")} - OF_THE_MACHINE

    assert variables.keys() == {variable(name) for name in fields}
    assert settings.quarantine == "s3://quarantinebucket/quarantine"
    for name in fields - {"quarantine", "archive"}:
        assert getattr(settings, name) == CoreSettings.model_fields[name].default, name


@pytest.mark.parametrize("name", ["fargate.yaml", "lambda.yaml"])
def test_an_archive_is_kept_only_if_it_is_asked_for(name: str) -> None:
    role = "TaskRole" if name == "fargate.yaml" else "FunctionRole"

    def allowed(**parameters: str) -> list[Any]:
        policies = resolved(name, **parameters).properties(role)["Policies"]
        return [(each["Action"], each["Resource"]) for each in statements(policies) if each["Sid"] == "Archive"]

    assert allowed() == []
    assert allowed(Archive="true") == [(["s3:PutObject"], ["arn:aws:made-up:us-east-1::ArchiveBucket/archive/*"])]


def test_the_archive_is_where_the_permissions_are() -> None:
    place = "s3://archivebucket/archive"
    function = resolved("lambda.yaml", Archive="true").properties("Function")["Environment"]["Variables"]
    (task,) = (
        each["Value"]
        for each in container(resolved("fargate.yaml", Archive="true"))["Environment"]
        if each["Name"] == "CONSUMER_ARCHIVE"
    )
    assert (function["CONSUMER_ARCHIVE"], task) == (place, place)
    assert "CONSUMER_ARCHIVE" not in task_environment()


def test_the_settings_of_the_watcher_exist_and_are_those_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = task_environment("watcher.yaml")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    load(Settings)
    assert misspelled(variables) == []
    assert variables.items() - task_environment().items() == {("CONSUMER_METRICS_ADDRESS", "0.0.0.0:9465")}


THEIR_STREAM = "arn:aws:kinesis:eu-north-1:444455556666:stream/bets"
THEIR_ROLE = "arn:aws:iam::444455556666:role/reader"


def with_their_stream(name: str, **given: str) -> Resolved:
    exports = Resolved(template("data.yaml"), {"StreamArn": THEIR_STREAM}).exports()
    return Resolved(template(name), {"StreamByArn": "true", "StreamRoleArn": THEIR_ROLE, **given}, exports)


def check_their_stream(
    container: Mapping[str, Any], policies: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container reads the stream by its ARN and with the role, which the policies let it assume."""
    variables = {each["Name"]: str(each["Value"]) for each in container["Environment"]}
    for each, value in variables.items():
        monkeypatch.setenv(each, value)
    settings = load(Settings)
    statement = next(each for each in statements(policies) if "sts:AssumeRole" in each["Action"])

    assert "CONSUMER_STREAM_NAME" not in variables
    assert (settings.stream_arn, settings.stream_role_arn) == (THEIR_STREAM, THEIR_ROLE)
    assert statement["Resource"] == [THEIR_ROLE]


@pytest.mark.parametrize("name", ["fargate.yaml", "watcher.yaml"])
def test_a_stream_of_another_account_is_read_by_its_arn_and_with_its_owners_role(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = with_their_stream(name)
    check_their_stream(container(found), found.properties("TaskRole")["Policies"], monkeypatch)


@pytest.mark.parametrize("role", ["ReaderRole", "ReplayRole", "RewindRole"])
def test_a_tool_reads_a_stream_of_another_account_with_its_owners_role(role: str) -> None:
    owners = "arn:aws:iam::444455556666:role/reader"

    def allowed(**parameters: str) -> list[Any]:
        policies = resolved("tools.yaml", **parameters).properties(role)["Policies"]
        return [each["Resource"] for each in statements(policies) if "sts:AssumeRole" in each["Action"]]

    assert allowed() == []
    assert allowed(StreamRoleArn=owners) == [[owners]]


def test_a_task_is_killed_only_after_all_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in task_environment().items():
        monkeypatch.setenv(name, value)
    settings = load(Settings)
    *graces, stop = settings.timeouts.values()
    fargate = template("fargate.yaml")

    assert container(resolved("fargate.yaml"))["StopTimeout"] == stop
    assert stop > max(graces)
    assert stop >= Settings.model_fields["stop_timeout_seconds"].default
    least = fargate["Parameters"]["StopTimeoutSeconds"]["MinValue"]
    assert least > Settings.model_fields["shutdown_grace_seconds"].default


def image_of(name: str) -> str:
    return str(container(resolved(name, ImageDigest="sha256:0"))["Image"])


def task_environment(name: str = "fargate.yaml") -> dict[str, str]:
    return {each["Name"]: str(each["Value"]) for each in container(resolved(name))["Environment"]}


def test_all_other_settings_of_the_task_come_from_one_file() -> None:
    place = "arn:aws:s3:::settings/limits/1.env"
    fargate = resolved("fargate.yaml", **API, EnvironmentFile=place)
    granted = list(statements(fargate.properties("ExecutionRole")["Policies"]))

    for each in (container(fargate), *fargate.properties("ApiTaskDefinition")["ContainerDefinitions"]):
        assert each["EnvironmentFiles"] == [{"Type": "s3", "Value": place}]
    assert [(each["Action"], each["Resource"]) for each in granted if _services(each) == {"s3"}] == [
        (["s3:GetObject"], [place]),
        (["s3:GetBucketLocation"], ["arn:aws:s3:::settings"]),
    ]
    assert "EnvironmentFiles" not in container(resolved("fargate.yaml"))


# --- fargate.yaml, watcher.yaml ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_the_task_can_write_only_to_a_tmpfs_and_is_not_root(name: str) -> None:
    found = container(resolved(name))

    assert found["ReadonlyRootFilesystem"] is True
    assert found["User"].partition(":")[0] not in ("", "0", "root")
    assert [mount["ContainerPath"] for mount in found["LinuxParameters"]["Tmpfs"]] == ["/tmp"]
    assert found["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert found["HealthCheck"]["Command"] == ["CMD", "consumer", "doctor", "--live"]


def test_the_task_matches_the_image() -> None:
    found = container(resolved("fargate.yaml"))
    dockerfile = Path(ROOT, "Dockerfile").read_text(encoding="utf-8")
    check = found["HealthCheck"]
    kind, *words = check["Command"]

    assert f"USER {found['User']}\n" in dockerfile
    assert f"EXPOSE {found['PortMappings'][0]['ContainerPort']}\n" in dockerfile
    assert f"HEALTHCHECK --interval={check['Interval']}s --timeout={check['Timeout']}s" in dockerfile
    assert (
        f"--start-period={check['StartPeriod']}s --retries={check['Retries']} {kind} {json.dumps(words)}" in dockerfile
    )


@pytest.mark.parametrize("name", TASKS)
def test_the_metrics_port_is_open_only_to_the_given_group(name: str) -> None:
    fargate = resolved(name, MetricsSecurityGroup="sg-prometheus")
    (ingress,) = fargate.properties("TaskSecurityGroup")["SecurityGroupIngress"]
    port = int(task_environment(name)["CONSUMER_METRICS_ADDRESS"].rpartition(":")[2])
    (mapped,) = container(fargate)["PortMappings"]

    assert (ingress["FromPort"], ingress["ToPort"], mapped["ContainerPort"]) == (port, port, port)
    assert ingress["SourceSecurityGroupId"] == "sg-prometheus"
    assert not {"CidrIp", "CidrIpv6", "SourcePrefixListId"} & ingress.keys()
    assert resources(fargate.template, "AWS::EC2::SecurityGroupIngress") == {}
    network = fargate.properties("Service")["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["AssignPublicIp"] == "DISABLED"


def test_without_a_group_for_prometheus_nothing_reaches_the_task() -> None:
    assert resolved("fargate.yaml").properties("TaskSecurityGroup")["SecurityGroupIngress"] == []


THINGS = {
    "ClusterName": "shared",
    "TaskRoleArn": "arn:aws:iam::000000000000:role/limits",
    "ExecutionRoleArn": "arn:aws:iam::000000000000:role/start",
    "LogGroupName": "/limits",
}


def test_what_exists_takes_the_place_of_what_the_stack_would_make() -> None:
    new, found = resolved("fargate.yaml"), resolved("fargate.yaml", **THINGS)
    replaced = ("Cluster", "TaskRole", "ExecutionRole", "LogGroup")
    task, service = found.properties("TaskDefinition"), found.properties("Service")

    assert [new.made(name) for name in replaced] == [True] * 4
    assert [found.made(name) for name in replaced] == [False] * 4
    assert (task["TaskRoleArn"], task["ExecutionRoleArn"]) == (THINGS["TaskRoleArn"], THINGS["ExecutionRoleArn"])
    assert container(found)["LogConfiguration"]["Options"]["awslogs-group"] == "/limits"
    assert service["Cluster"] == "shared"
    assert found.properties("Scaling")["ResourceId"].startswith("service/shared/")
    for name in resources(found.template, "AWS::Logs::MetricFilter"):
        assert found.properties(name)["LogGroupName"] == "/limits", name


@pytest.mark.parametrize("name", ["fargate.yaml", "verify.yaml", "watcher.yaml"])
def test_the_image_can_be_in_any_registry(name: str) -> None:
    elsewhere = f"registry.example.com/limits@sha256:{'0' * 64}"
    found = resolved(name, ImageUri=elsewhere)
    tasks = resources(found.template, "AWS::ECS::TaskDefinition")
    (needed,) = found.template["Rules"]["Image"]["Assertions"]

    assert {each["Image"] for task in tasks for each in found.properties(task)["ContainerDefinitions"]} == {elsewhere}
    assert found._holds(needed["Assert"])
    assert not resolved(name)._holds(needed["Assert"])


@pytest.mark.parametrize("name", ["verify.yaml", "watcher.yaml"])
def test_the_smaller_tasks_run_on_a_cluster_that_exists_too(name: str) -> None:
    execution = "arn:aws:iam::000000000000:role/start"
    found = resolved(name, ClusterName="shared", ExecutionRoleArn=execution)

    assert [found.made(each) for each in ("Cluster", "ExecutionRole", "TaskRole")] == [False, False, True]
    assert found.properties("TaskDefinition")["ExecutionRoleArn"] == execution
    assert found.value(found.template["Outputs"]["Cluster"]["Value"]) == "shared"


@pytest.mark.parametrize("service", ["Service", "ApiService"])
def test_tasks_can_run_on_spare_capacity(service: str) -> None:
    spot = resolved("fargate.yaml", **API, CapacityProvider="FARGATE_SPOT").properties(service)

    assert spot["CapacityProviderStrategy"] == [{"CapacityProvider": "FARGATE_SPOT", "Weight": 1}]
    assert "LaunchType" not in spot
    assert resolved("fargate.yaml", **API).properties(service)["LaunchType"] == "FARGATE"


def test_the_tasks_have_one_name_whichever_they_are() -> None:
    unnamed, named = resolved("fargate.yaml"), resolved("fargate.yaml", NamespaceId="ns-1")

    assert "ServiceRegistries" not in unnamed.properties("Service")
    assert not unnamed.made("Discovery")
    assert named.properties("Service")["ServiceRegistries"] == [{"RegistryArn": "arn:aws:made-up:us-east-1::Discovery"}]
    assert named.properties("Discovery")["DnsConfig"]["DnsRecords"] == [{"Type": "A", "TTL": 10}]


def test_tasks_are_added_for_the_services_own_lag_and_memory() -> None:
    fargate = resolved("fargate.yaml")
    alarm = fargate.properties("ScaleOnLagAlarm")

    assert (alarm["Namespace"], alarm["MetricName"]) == (NAMESPACE, BEHIND.name)
    assert alarm["Dimensions"] == [{"Name": "application", "Value": "limits-consumer"}]
    memory = fargate.properties("ScaleOnMemory")["TargetTrackingScalingPolicyConfiguration"]
    assert memory["PredefinedMetricSpecification"] == {"PredefinedMetricType": "ECSServiceAverageMemoryUtilization"}


def test_the_service_can_be_paused() -> None:
    parameters = template("fargate.yaml")["Parameters"]
    assert [parameters[name]["MinValue"] for name in ("MinTasks", "MaxTasks")] == [0, 0]


def test_logs_expire() -> None:
    for name in ("fargate.yaml", "lambda.yaml", "notices.yaml", "verify.yaml", "watcher.yaml"):
        assert resolved(name).properties("LogGroup")["RetentionInDays"] == 30


def test_the_watcher_serves_where_its_health_check_calls() -> None:
    watcher = resolved("watcher.yaml")
    found, service = container(watcher), watcher.properties("Service")
    address = task_environment("watcher.yaml")["CONSUMER_METRICS_ADDRESS"]

    assert found["Command"] == ["status", "--serve", address, "--every", 30]
    assert image_of("watcher.yaml") == image_of("fargate.yaml")
    assert service["DesiredCount"] == 1


def test_a_watcher_that_does_not_run_raises_an_alarm() -> None:
    watcher = resolved("watcher.yaml", AlarmTopicArn="arn:topic")
    alarm = watcher.properties("NotRunningAlarm")

    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["AlarmActions"] == ["arn:topic"]
    assert "AlarmActions" not in resolved("watcher.yaml").properties("NotRunningAlarm")


# --- The API of fargate.yaml ---------------------------------------------------------------------------------------

API = {
    "ApiTasks": "2",
    "ApiIssuer": "https://login.example.com",
    "ApiAudience": "limits",
    "ApiCertificateArn": "arn:certificate",
    "ApiClientsSecurityGroup": "sg-clients",
}


SECRETS = "arn:aws:secretsmanager:eu-west-1:111122223333:secret"
PAGES = {
    **API,
    "ApiPagesClientId": "limits-pages",
    "ApiPagesUrl": "https://limits.example.com",
    "ApiPagesSessionKeyArn": f"{SECRETS}:session-key-AbCdEf",
}
ALL_OF_THE_PAGES = {
    **PAGES,
    "ApiPagesClientSecretArn": "arn:aws:ssm:eu-west-1:111122223333:parameter/limits/client",
    "ApiPagesMetricsUrls": "http://one.example.com:9464/metrics,http://two.example.com:9464/metrics",
}


def api_container(parameters: Mapping[str, str] = API) -> dict[str, Any]:
    (found,) = resolved("fargate.yaml", **parameters).properties("ApiTaskDefinition")["ContainerDefinitions"]
    return dict(found)


def api_environment(parameters: Mapping[str, str] = API) -> dict[str, str]:
    return {each["Name"]: str(each["Value"]) for each in api_container(parameters)["Environment"]}


def test_the_api_is_off_by_default_and_all_of_it_depends_on_its_tasks() -> None:
    fargate = template("fargate.yaml")
    parts = {name: each for name, each in {**fargate["Resources"], **fargate["Outputs"]}.items() if "Api" in name}

    assert {"ApiService", "ApiTaskRole", "ApiLoadBalancer"} <= parts.keys()
    for name, each in parts.items():
        assert each.get("Condition") == ("ApiPages" if name.startswith("ApiPages") else "Api"), name
    assert not resolved("fargate.yaml").value({"Fn::If": ["Api", True, False]})
    assert resolved("fargate.yaml", **API).value({"Fn::If": ["Api", True, False]})


def test_the_api_needs_what_protects_it() -> None:
    assert needed_by("ApiNeeds") == API.keys() - {"ApiTasks"}


def needed_by(rule: str) -> set[str]:
    assertions = template("fargate.yaml")["Rules"][rule]["Assertions"]
    return {each["Assert"]["Fn::Not"][0]["Fn::Equals"][0]["Ref"] for each in assertions}


def test_the_settings_of_the_api_exist_and_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = api_environment()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load(ApiSettings)

    known = {variable(field) for field in (*ApiSettings.model_fields, *Settings.model_fields)}
    assert variables.keys() <= known
    assert misspelled(variables) == []
    assert (settings.table_name, settings.api_issuer) == ("user-limits", API["ApiIssuer"])
    assert variables["CONSUMER_METRICS_ADDRESS"] == settings.api_address, "where the health check calls"


def test_a_task_of_the_api_is_like_those_of_the_service() -> None:
    service, api = container(resolved("fargate.yaml")), api_container()

    assert api["Command"] == ["serve"]
    for name in ("Image", "User", "ReadonlyRootFilesystem"):
        assert api[name] == service[name]
    assert api["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert api["HealthCheck"]["Command"] == service["HealthCheck"]["Command"]


def test_only_clients_reach_the_api_over_tls_and_only_from_inside() -> None:
    fargate = resolved("fargate.yaml", **API, MetricsSecurityGroup="sg-prometheus")
    balancer, listener = fargate.properties("ApiLoadBalancer"), fargate.properties("ApiListener")
    (clients,) = fargate.properties("ApiLoadBalancerSecurityGroup")["SecurityGroupIngress"]
    sources = {
        each["SourceSecurityGroupId"] for each in fargate.properties("ApiTaskSecurityGroup")["SecurityGroupIngress"]
    }
    (mapped,) = api_container()["PortMappings"]

    assert balancer["Scheme"] == "internal"
    assert (listener["Protocol"], listener["Port"], clients["FromPort"]) == ("HTTPS", 443, 443)
    assert clients["SourceSecurityGroupId"] == "sg-clients"
    assert sources == {"apiloadbalancersecuritygroup", "sg-prometheus"}
    assert fargate.properties("ApiTargetGroup")["Port"] == mapped["ContainerPort"] == 8080
    network = fargate.properties("ApiService")["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["AssignPublicIp"] == "DISABLED"


def test_the_api_finishes_its_requests_before_it_is_killed_and_outlasts_the_balancers_connections() -> None:
    fargate, settings = resolved("fargate.yaml", **API), ApiSettings(region="eu-west-1")
    balancer = attributes(fargate.properties("ApiLoadBalancer")["LoadBalancerAttributes"])
    targets = attributes(fargate.properties("ApiTargetGroup")["TargetGroupAttributes"])

    assert int(balancer["idle_timeout.timeout_seconds"]) < settings.api_keep_alive_seconds
    assert int(targets["deregistration_delay.timeout_seconds"]) > bounds_of(settings).seconds
    assert api_container()["StopTimeout"] > bounds_of(settings).seconds


def attributes(given: list[dict[str, str]]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in given}


def test_the_api_only_reads_limits() -> None:
    (allowed,) = statements(resolved("fargate.yaml", **API).properties("ApiTaskRole")["Policies"])
    (table,) = allowed["Resource"]

    assert allowed["Action"] == ["dynamodb:Query"]
    assert table.endswith("LimitsTable")


# --- The pages of fargate.yaml -------------------------------------------------------------------------------------


def test_the_pages_need_an_address_and_the_same_key_on_every_task() -> None:
    assert needed_by("ApiPagesNeed") == {"ApiTasks", "ApiPagesUrl", "ApiPagesSessionKeyArn"}
    assert template("fargate.yaml")["Rules"]["ApiPagesNeed"]["RuleCondition"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "ApiPagesClientId"}, ""]}]
    }


def test_the_pages_are_off_by_default() -> None:
    assert "Secrets" not in api_container()
    assert [name for name in api_environment() if name.startswith("CONSUMER_PAGES")] == []
    assert not resolved("fargate.yaml", **API).value({"Fn::If": ["ApiPages", True, False]})


def test_the_settings_of_the_pages_exist_and_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {each["Name"]: "x" * 44 for each in api_container(ALL_OF_THE_PAGES)["Secrets"]}
    variables = api_environment(ALL_OF_THE_PAGES) | secrets
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings, of_status = load(PageSettings), load(Settings)

    assert misspelled(variables) == []
    assert settings.has_pages
    assert settings.pages_session_key
    assert settings.pages_client_secret
    assert ",".join(settings.pages_metrics_urls) == ALL_OF_THE_PAGES["ApiPagesMetricsUrls"]
    for name in ("stream_name", "application_name", "quarantine"):
        assert str(getattr(of_status, name)) == task_environment()[variable(name)]


def test_a_public_client_without_charts_has_neither_a_secret_nor_addresses() -> None:
    (key,) = api_container(PAGES)["Secrets"]

    assert key == {"Name": "CONSUMER_PAGES_SESSION_KEY", "ValueFrom": PAGES["ApiPagesSessionKeyArn"]}
    assert "CONSUMER_PAGES_METRICS_URLS" not in api_environment(PAGES)


def test_only_these_secrets_can_be_read_and_only_by_ecs() -> None:
    for parameters, wanted in (
        (API, []),
        (PAGES, [PAGES["ApiPagesSessionKeyArn"]]),
        (ALL_OF_THE_PAGES, [ALL_OF_THE_PAGES[f"ApiPages{name}Arn"] for name in ("SessionKey", "ClientSecret")]),
    ):
        fargate = resolved("fargate.yaml", **parameters)
        granted = statements(fargate.properties("ExecutionRole")["Policies"])
        assert [arn for each in granted if each["Sid"] == "SecretsOfThePages" for arn in each["Resource"]] == wanted
        of_task = statements(fargate.properties("ApiTaskRole")["Policies"])
        assert not [each for each in of_task if {"secretsmanager", "ssm"} & _services(each)]


def test_the_pages_only_read() -> None:
    fargate = resolved("fargate.yaml", **ALL_OF_THE_PAGES)
    policy = fargate.properties("ApiPagesPolicy")
    of_role = [*statements(fargate.properties("ApiTaskRole")["Policies"]), *statements([policy])]
    actions = {action.partition(":")[2] for each in of_role for action in each["Action"]}

    assert [each for each in actions if not each.startswith(("Describe", "Get", "List", "Query", "Scan"))] == []
    assert {"Scan", "GetObject", "ListBucket", "ListShards"} <= actions
    assert policy["Roles"] == ["apitaskrole"]


def test_the_tasks_of_the_api_reach_the_metrics_of_the_workers_only_for_charts() -> None:
    for parameters, reached in ((PAGES, False), (ALL_OF_THE_PAGES, True)):
        fargate = resolved("fargate.yaml", **parameters)
        workers = fargate.properties("TaskSecurityGroup")["SecurityGroupIngress"]
        out = fargate.properties("ApiTaskSecurityGroup")["SecurityGroupEgress"]
        let_in = [each["FromPort"] for each in workers if each["SourceSecurityGroupId"] == "apitasksecuritygroup"]
        assert let_in == ([9464] if reached else [])
        assert (9464 in [each["ToPort"] for each in out]) is reached


def test_the_pages_show_a_stream_of_another_account(monkeypatch: pytest.MonkeyPatch) -> None:
    found = with_their_stream("fargate.yaml", **PAGES)
    (api,) = found.properties("ApiTaskDefinition")["ContainerDefinitions"]
    check_their_stream(api, [found.properties("ApiPagesPolicy")], monkeypatch)
    assert load(PageSettings).stream_name == "bets"


@pytest.mark.parametrize("name", ["ApiPagesSessionKeyArn", "ApiPagesClientSecretArn"])
def test_the_arn_of_a_secret_is_that_of_a_permission(name: str) -> None:
    form = re.compile(template("fargate.yaml")["Parameters"][name]["AllowedPattern"])

    for arn in ("", ALL_OF_THE_PAGES["ApiPagesSessionKeyArn"], ALL_OF_THE_PAGES["ApiPagesClientSecretArn"]):
        assert form.fullmatch(arn)
    assert not form.fullmatch(f"{SECRETS}:pages-AbCdEf:key::"), "a part of a secret: no role could name it"


def _services(statement: Mapping[str, Any]) -> set[str]:
    return {action.partition(":")[0] for action in statement["Action"]}


def test_with_an_archive_the_api_reads_it_too() -> None:
    made = resolved("fargate.yaml", **API, Archive="true")
    allowed = {each["Sid"]: each for each in statements(made.properties("ApiTaskRole")["Policies"])}
    (task,) = made.properties("ApiTaskDefinition")["ContainerDefinitions"]
    variables = {each["Name"]: each["Value"] for each in task["Environment"]}

    assert {sid: each["Action"] for sid, each in allowed.items()} == {
        "Limits": ["dynamodb:Query"],
        "ListArchive": ["s3:ListBucket"],
        "ReadArchive": ["s3:GetObject"],
    }
    assert allowed["ReadArchive"]["Resource"] == ["arn:aws:made-up:us-east-1::ArchiveBucket/archive/*"]
    assert variables["CONSUMER_ARCHIVE"] == "s3://archivebucket/archive"
    assert variables["CONSUMER_STREAM_NAME"]


# --- lambda.yaml ---------------------------------------------------------------------------------------------------


def test_no_mapping_loses_what_the_function_reports(any_template: dict[str, Any]) -> None:
    assert losing_mappings(any_template) == []


@pytest.mark.parametrize("types", [None, [], ["ReportBatchItemFailure"]])
def test_a_mapping_that_ignores_the_response_is_rejected(types: list[str] | None) -> None:
    """Fault 33."""
    broken = deepcopy(template("lambda.yaml"))
    mapping = broken["Resources"]["Mapping"]["Properties"]
    del mapping["FunctionResponseTypes"]
    if types is not None:
        mapping["FunctionResponseTypes"] = types

    assert losing_mappings(broken) == ["Mapping"]


def test_the_mapping_gives_up_on_no_record_before_it_expires() -> None:
    found = resolved("lambda.yaml")
    mapping, function = found.properties("Mapping"), found.properties("Function")
    retention = template("data.yaml")["Parameters"]["RetentionHours"]["Default"]

    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["MaximumRetryAttempts"] == -1
    assert mapping["MaximumRecordAgeInSeconds"] == retention * 3600 / 2
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"].endswith("FailureBucket")
    assert function["ReservedConcurrentExecutions"] >= mapping["ParallelizationFactor"]


@pytest.mark.parametrize(("name", "module"), [("lambda.yaml", "handler"), ("notices.yaml", "notices")])
def test_the_function_is_a_zip_or_an_image(name: str, module: str) -> None:
    zipped = resolved(name, CodeBucket="bucket", CodeKey="key").properties("Function")
    image = resolved(name, ImageUri="registry/limits@sha256:0").properties("Function")

    assert (zipped["PackageType"], zipped["Code"]) == ("Zip", {"S3Bucket": "bucket", "S3Key": "key"})
    assert zipped["Handler"] == f"consumer.aws_lambda.{module}.handler"
    assert callable(importlib.import_module(f"consumer.aws_lambda.{module}").handler)
    assert "ImageConfig" not in zipped
    # The image starts the function of lambda.yaml unless it is told otherwise.
    assert image.get("ImageConfig", {"Command": ["consumer.aws_lambda.handler.handler"]}) == {
        "Command": [zipped["Handler"]]
    }
    assert (image["PackageType"], image["Code"]) == ("Image", {"ImageUri": "registry/limits@sha256:0"})
    assert not {"Handler", "Runtime"} & image.keys()


# --- notices.yaml --------------------------------------------------------------------------------------------------


def test_the_table_has_a_stream_with_both_images_if_it_is_asked_for() -> None:
    without, with_stream = resolved("data.yaml"), resolved("data.yaml", LimitsTableStream="true")

    assert "StreamSpecification" not in without.properties("LimitsTable")
    assert with_stream.properties("LimitsTable")["StreamSpecification"] == {"StreamViewType": VIEW}


def test_the_settings_of_the_notices_exist_and_have_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = resolved("notices.yaml").properties("Function")["Environment"]["Variables"]
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load(NoticeSettings)

    assert variables.keys() <= {variable(field) for field in NoticeSettings.model_fields}
    for name in ("thresholds", "event_bus"):
        assert getattr(settings, name) == NoticeSettings.model_fields[name].default


def test_the_mapping_of_the_table_gives_up_on_no_record_before_it_expires() -> None:
    mapping = resolved("notices.yaml").properties("Mapping")

    assert mapping["EventSourceArn"].endswith("LimitsTable")
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert (mapping["BisectBatchOnFunctionError"], mapping["MaximumRetryAttempts"]) == (True, -1)
    assert mapping["MaximumRecordAgeInSeconds"] <= 12 * 3_600, "the stream of a table keeps a record for 24 hours"
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"].endswith("FailureBucket")


def test_the_mapping_leaves_out_only_limits_that_are_not_active() -> None:
    (wanted,) = resolved("notices.yaml").properties("Mapping")["FilterCriteria"]["Filters"]

    for status in get_args(Status):
        ((_, state),) = changes([created(1, status=status)])
        assert state
        assert accepts(json.loads(wanted["Pattern"]), entry((None, state))) is (status == "ACTIVE")


def accepts(pattern: Any, record: Any) -> bool:
    """Whether a record has a value of the list at the end of each path of the pattern."""
    if isinstance(pattern, list):
        return record in pattern
    return all(name in record and accepts(inner, record[name]) for name, inner in pattern.items())


def test_rule_and_role_name_what_the_function_sends() -> None:
    notices = resolved("notices.yaml", ExampleQueue="true")
    pattern = notices.properties("Rule")["EventPattern"]
    (sending,) = [
        each
        for each in statements(notices.properties("FunctionRole")["Policies"])
        if each["Action"] == ["events:PutEvents"]
    ]

    assert (pattern["source"], pattern["detail-type"]) == ([SOURCE], [TYPE])
    assert pattern["detail"].keys() <= {to_camel(name) for name in Notice.model_fields}
    assert sending["Condition"] == {"StringEquals": {"events:source": SOURCE}}
    assert sending["Resource"] == ["arn:aws:events:us-east-1:000000000000:event-bus/default"]


# --- Permissions ---------------------------------------------------------------------------------------------------


def test_permissions_name_their_resources(request: pytest.FixtureRequest, any_template: dict[str, Any]) -> None:
    name = request.node.callspec.params["any_template"]
    roles = resources(any_template, "AWS::IAM::Role")
    found = [each for role in roles.values() for each in statements(_written_out(role["Policies"]))]

    assert bool(roles) is (name not in WITHOUT_ROLES)
    assert [action for each in found for action in each["Action"] if "*" in action] == []
    assert [action for each in found for action in each["Action"] if _creates_or_deletes(action)] == []
    everywhere = [each["Sid"] for each in found if each["Resource"] == ["*"]]
    assert sorted(everywhere) == EVERYWHERE.get(name, [])
    assert all("ManagedPolicyArns" not in role for role in roles.values())


KEYS = ",".join(f"arn:aws:kms:us-east-1:000000000000:key/{name}" for name in ("stream", "table"))
OF_OWN_DATA = {"ExecutionRole", "ScheduleRole"}
"""Roles that read neither the stream nor a table nor a bucket of the data stack."""


@pytest.mark.parametrize("name", [each for each in TEMPLATES if each not in WITHOUT_ROLES])
def test_every_role_may_use_the_keys_of_the_data_and_has_the_boundary(name: str) -> None:
    boundary = "arn:aws:iam::000000000000:policy/boundary"
    plain, found = resolved(name), resolved(name, KeyArns=KEYS, PermissionsBoundaryArn=boundary)
    roles = resources(found.template, "AWS::IAM::Role")

    for role in roles:
        assert found.properties(role)["PermissionsBoundary"] == boundary, role
        assert "PermissionsBoundary" not in plain.properties(role)
        assert [each for each in statements(plain.properties(role)["Policies"]) if each["Sid"] == "Keys"] == []
    for role in roles.keys() - OF_OWN_DATA:
        allowed = list(statements(found.properties(role)["Policies"]))
        (keys,) = [each for each in allowed if each["Sid"] == "Keys"]
        writes = [each for each in allowed if "s3:PutObject" in each["Action"] and each["Sid"] != "Failures"]
        assert keys["Action"] == ["kms:Decrypt", *(["kms:GenerateDataKey"] if writes else [])], role
        assert keys["Resource"] == KEYS.split(","), role


def test_only_an_operator_can_delete_a_limit(any_template: dict[str, Any]) -> None:
    may_delete = [
        name
        for name, role in resources(any_template, "AWS::IAM::Role").items()
        for each in statements(_written_out(role["Policies"]))
        if "dynamodb:DeleteItem" in each["Action"] and "LimitsTable" in json.dumps(each["Resource"])
    ]
    assert may_delete == (["ReplayRole"] if "ReplayRole" in any_template["Resources"] else [])


def test_the_watcher_changes_nothing_and_reads_no_limits_and_no_quarantined_records() -> None:
    allowed = statements(resolved("watcher.yaml").properties("TaskRole")["Policies"])

    assert {action for each in allowed for action in each["Action"]} == {
        "dynamodb:Scan",
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
        "s3:ListBucket",
    }
    assert "LimitsTable" not in json.dumps(template("watcher.yaml"))


def test_metrics_can_be_sent_only_in_the_applications_namespace() -> None:
    task = resolved("fargate.yaml", KclMetricsLevel="SUMMARY").properties("TaskRole")
    (metrics,) = [each for each in statements(task["Policies"]) if each["Action"] == ["cloudwatch:PutMetricData"]]

    assert metrics["Condition"] == {"StringEquals": {"cloudwatch:namespace": "limits-consumer"}}


def _creates_or_deletes(action: str) -> bool:
    verb = action.partition(":")[2]
    allowed = ("logs:CreateLogStream", "dynamodb:DeleteItem", "s3:DeleteObject")
    return verb.startswith(("Create", "Delete", "UpdateTable", "Split", "Merge")) and action not in allowed


def _written_out(policies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The policies, including statements that depend on a condition."""
    found = deepcopy(policies)
    for policy in found:
        statements = policy["PolicyDocument"]["Statement"]
        policy["PolicyDocument"]["Statement"] = [each["Fn::If"][1] if "Fn::If" in each else each for each in statements]
    return found


def _of_kind(kind: str) -> list[str]:
    return list(resources(template("data.yaml"), kind))


def _sorted(value: Any) -> Any:
    return sorted(value, key=str) if isinstance(value, list) else value


# --- verify.yaml ---------------------------------------------------------------------------------------------------


def test_the_verification_changes_nothing() -> None:
    allowed = statements(resolved("verify.yaml").properties("TaskRole")["Policies"])

    assert {action for each in allowed for action in each["Action"]} == {
        "dynamodb:BatchGetItem",
        "dynamodb:Scan",
        "s3:GetObject",
        "s3:ListBucket",
    }
    assert "QuarantineBucketArn" not in json.dumps(template("verify.yaml"))


def test_the_settings_of_the_verification_exist_and_are_those_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = task_environment("verify.yaml")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load(Settings)

    assert misspelled(variables) == []
    assert settings.archive == "s3://archivebucket/archive"
    environment = {
        each["Name"]: str(each["Value"]) for each in container(resolved("fargate.yaml", Archive="true"))["Environment"]
    }
    assert variables.items() <= environment.items()


@pytest.mark.parametrize(("since", "more"), [("", []), ("36h", ["--since", "36h"])])
def test_the_command_of_the_verification(since: str, more: list[str]) -> None:
    found = container(resolved("verify.yaml", Since=since))
    options = {name for parameter in dict(commands(get_command(app)))["verify"].params for name in parameter.opts}

    assert found["Command"] == ["verify", "--counts", "--json", "--emf", *more]
    assert {word for word in found["Command"] if word.startswith("--")} <= options
    assert image_of("verify.yaml") == image_of("fargate.yaml")
    assert found["User"].partition(":")[0] not in ("", "0", "root")


@pytest.mark.parametrize(
    ("given", "cluster"),
    [({}, "Cluster"), ({"ClusterName": "shared"}, "arn:aws:ecs:us-east-1:000000000000:cluster/shared")],
)
def test_only_the_schedule_starts_the_verification_and_only_this_task(given: dict[str, str], cluster: str) -> None:
    verify = resolved("verify.yaml", **given)
    target = verify.properties("Verification")["Target"]
    start, roles = statements(verify.properties("ScheduleRole")["Policies"])

    assert start["Action"] == ["ecs:RunTask"]
    assert target["Arn"] == start["Condition"]["ArnEquals"]["ecs:cluster"]
    assert target["Arn"].endswith(cluster)
    assert start["Resource"] == [target["EcsParameters"]["TaskDefinitionArn"]]
    assert roles["Action"] == ["iam:PassRole"]
    assert target["EcsParameters"]["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"


def test_alarms_of_the_verification_are_about_its_metrics() -> None:
    verify = resolved("verify.yaml", AlarmTopicArn="arn:topic")
    differ, missing = verify.properties("LimitsDifferAlarm"), verify.properties("NotVerifiedAlarm")
    counted = [each["MetricStat"]["Metric"] for each in differ["Metrics"] if "MetricStat" in each]
    known = {metric.name for metric in VERIFICATION}

    assert {each["MetricName"] for each in counted} < known
    assert missing["MetricName"] in known
    for each in (*counted, missing):
        assert each["Namespace"] == NAMESPACE
        assert each["Dimensions"] == [{"Name": "table", "Value": "user-limits"}]
    assert (differ["TreatMissingData"], missing["TreatMissingData"]) == ("notBreaching", "breaching")
    assert differ["AlarmActions"] == missing["AlarmActions"] == ["arn:topic"]
