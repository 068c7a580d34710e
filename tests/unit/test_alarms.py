"""The CloudWatch alarms of the templates: what they are about, what missing data means, which lines of the log they
count, and which of them roll a deployment back."""

import ast
import functools
import json
import logging
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from consumer.daemon.jars import jars_directory
from consumer.engine.errors import Unavailable
from consumer.engine.retry_policy import Backoff
from consumer.kcl.record_processor import CheckpointRefused, guarded
from consumer.kcl.retry import Runtime, UntilStopped
from consumer.monitoring.emf import NAMESPACE
from consumer.monitoring.logs import JsonLines
from consumer.monitoring.metrics import RETENTION
from consumer.monitoring.worker_emf import LINE
from consumer.settings import variable
from deploy.alerts import Service
from deploy.alerts import rules as prometheus_rules
from tests.support.emulators.aws import ROOT
from tests.support.emulators.cloudformation import container, resolved, resources, template
from tests.support.emulators.filter_patterns import fields, matches

ALARM, FILTER = "AWS::CloudWatch::Alarm", "AWS::Logs::MetricFilter"
SERVICES = ("fargate.yaml", "lambda.yaml", "lambda-api.yaml", "monitoring.yaml", "notices.yaml")
SCALING = "ScaleOnLagAlarm"
"""It only scales: it informs nobody."""
RUNBOOK = re.compile(r"docs/how-to/([\w-]+\.md)#([\w-]+)")

parsed = functools.cache(template)
each_service = pytest.mark.parametrize("name", SERVICES)


def alarms(name: str) -> dict[str, dict[str, Any]]:
    return {alarm: each for alarm, each in resources(parsed(name), ALARM).items() if alarm != SCALING}


def anchors(page: str) -> set[str]:
    """The anchors that GitHub generates."""
    headings = re.findall(r"^#+ (.*)$", Path(ROOT, "docs", "how-to", page).read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- Descriptions and the table of docs/how-to/deploy.md -----------------------------------------------------------


@each_service
def test_every_alarm_says_how_urgent_it_is_and_names_an_existing_section(name: str) -> None:
    for alarm, each in alarms(name).items():
        found = RUNBOOK.findall(each["AlarmDescription"])
        assert re.match(r"(Critical|Warning): ", each["AlarmDescription"]), alarm
        assert found, alarm
        assert [anchor for page, anchor in found if anchor not in anchors(page)] == [], alarm
        assert each["AlarmActions"] == each["OKActions"] != [], alarm


@each_service
def test_the_table_lists_every_alarm_with_its_sections(name: str) -> None:
    text = Path(ROOT, "docs", "how-to", "deploy.md").read_text(encoding="utf-8")
    section = text.partition(f"### Alarms of `{name}`\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    rows = {row[1]: row[0] for row in re.finditer(r"^\| \w+ \| `(\w+Alarm)` \|.*$", section, re.MULTILINE)}

    assert rows.keys() == alarms(name).keys()
    for alarm, each in alarms(name).items():
        description = each["AlarmDescription"]
        linked = {
            (page or "deploy.md", anchor)
            for page, anchor in re.findall(r"\]\(([\w-]*(?:\.md)?)#([\w-]+)\)", rows[alarm])
        }
        assert linked == set(RUNBOOK.findall(description)), alarm
        assert f"| {description.partition(':')[0].lower()} |" in rows[alarm], alarm


# --- Missing data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "breaching", "ignored"),
    [
        ("fargate.yaml", set(), set()),
        ("monitoring.yaml", {"DownAlarm", "WorkersMissingAlarm", "ApiDownAlarm"}, {"LagNearRetentionAlarm"}),
        ("lambda.yaml", {"NothingReadsAlarm"}, set()),
        ("lambda-api.yaml", set(), set()),
        ("notices.yaml", set(), set()),
    ],
)
def test_missing_data_is_a_fault_only_where_a_running_service_always_sends_some(
    name: str, breaching: set[str], ignored: set[str]
) -> None:
    expected = dict.fromkeys(alarms(name), "notBreaching")
    expected |= dict.fromkeys(breaching, "breaching") | dict.fromkeys(ignored, "ignore")

    assert {alarm: each["TreatMissingData"] for alarm, each in alarms(name).items()} == expected


# --- Pages ---------------------------------------------------------------------------------------------------------


PAGING = ("monitoring.yaml", "verify.yaml")


def test_whatever_pages_in_prometheus_pages_in_cloudwatch_under_the_same_name() -> None:
    """A service without Prometheus has these alarms, and those of a verification where there is one."""
    rules = [rule for group in yaml.safe_load(prometheus_rules(Service()))["groups"] for rule in group["rules"]]
    pages = {rule["alert"] for rule in rules if rule["labels"].get("severity") == "critical"}
    found = {alarm: each["AlarmDescription"] for name in PAGING for alarm, each in alarms(name).items()}

    assert pages
    for alert in pages:
        description = found[f"{alert.removeprefix('Consumer')}Alarm"]
        assert description.startswith("Critical: "), alert
        assert description.endswith(f"docs/how-to/operate.md#{alert.lower()}"), alert


# --- The workers' metrics ------------------------------------------------------------------------------------------


def measured(name: str) -> Iterator[tuple[str, Any]]:
    """Each metric of the workers that an alarm of a template watches, or computes with, and its dimensions."""
    for each in alarms(name).values():
        parts = [part["MetricStat"]["Metric"] for part in each.get("Metrics", ()) if "MetricStat" in part]
        for metric in parts or [each]:
            if metric["Namespace"] == NAMESPACE and isinstance(metric["MetricName"], str):
                yield metric["MetricName"], metric["Dimensions"]


def test_every_metric_of_a_worker_is_in_its_line_under_its_only_dimension() -> None:
    found = list(measured("monitoring.yaml"))

    assert found
    assert {metric for metric, _ in found} <= {metric.name for metric in LINE}
    assert all(each == [{"Name": "application", "Value": {"Ref": "ApplicationName"}}] for _, each in found)


def test_a_worker_has_one_value_in_each_period_of_its_alarms() -> None:
    (logged_every,) = (
        int(each["Value"])
        for each in container(resolved("fargate.yaml"))["Environment"]
        if each["Name"] == variable("emf_seconds")
    )
    periods = {each["Period"] for each in alarms("monitoring.yaml").values() if each.get("Statistic") == "SampleCount"}
    computed = {
        part["MetricStat"]["Period"]
        for each in alarms("monitoring.yaml").values()
        for part in each.get("Metrics", ())
        if "MetricStat" in part
    }

    assert periods == computed == {logged_every}


def test_the_dashboard_shows_every_metric_of_the_line_and_every_alarm() -> None:
    monitoring = resolved("monitoring.yaml", LogGroup="workers")
    widgets = json.loads(monitoring.properties("Dashboard")["DashboardBody"])["widgets"]
    shown = [metric for each in widgets for metric in each["properties"].get("metrics", ())]
    (states,) = (each["properties"]["alarms"] for each in widgets if each["type"] == "alarm")
    always = [name for name, each in monitoring.template["Resources"].items() if "Condition" not in each]

    assert {each[1] for each in shown if each[0] == NAMESPACE} == {metric.name for metric in LINE} - {RETENTION.name}
    assert {tuple(each[2:4]) for each in shown if each[0] == NAMESPACE} == {("application", "limits-consumer")}
    assert {each.rpartition(":")[2] for each in states} == {name for name in always if name.endswith("Alarm")}


# --- Lines of the log ----------------------------------------------------------------------------------------------


@each_service
def test_every_count_of_lines_has_an_alarm_and_the_other_way_round(name: str) -> None:
    counted = {json.dumps(each["MetricTransformations"][0]["MetricName"]) for each in filters(name).values()}
    named = [each["MetricName"] for each in alarms(name).values() if each.get("Namespace") == NAMESPACE]

    assert counted == {json.dumps(each) for each in named if isinstance(each, dict)}, "those named after the stack"
    assert {each["MetricTransformations"][0]["MetricNamespace"] for each in filters(name).values()} == {NAMESPACE}


def filters(name: str) -> dict[str, dict[str, Any]]:
    return resources(parsed(name), FILTER)


def logged() -> Iterator[tuple[str, set[str] | None]]:
    """The message of every call of a logger in consumer/, and its additional fields, None if they are not literal."""
    for path in Path(ROOT, "consumer").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_logger(node.func):
                message = node.args[0]
                if isinstance(message, ast.Constant):
                    yield str(message.value), _extra(node)


def _is_logger(function: ast.Attribute) -> bool:
    levels = ("debug", "info", "warning", "error", "critical", "exception")
    return function.attr in levels and isinstance(function.value, ast.Name) and function.value.id == "log"


def _extra(call: ast.Call) -> set[str] | None:
    extra = next((keyword.value for keyword in call.keywords if keyword.arg == "extra"), ast.Dict([], []))
    if not isinstance(extra, ast.Dict) or None in extra.keys:
        return None
    return {str(key.value) for key in extra.keys if isinstance(key, ast.Constant)}


LOGGED = list(logged())
OF_EVERY_LINE = {"time", "level", "logger", "message", "error"}


def line(message: str, **more: object) -> str:
    """A line that the code can log: the message exists, with these fields."""
    known = [extra for each, extra in LOGGED if each == message]
    assert known, f"nothing logs {message}"
    assert any(extra is None or more.keys() <= extra | OF_EVERY_LINE for extra in known), (message, more)
    return json.dumps({"level": "WARNING", "message": message, **more})


OTHER_LINES = (
    line("waiting", part="store", attempt=7, cause="throttled", waited_seconds=239),
    line("exiting", shard="shardId-0", error="BreakerOpen: 1000 records in a row"),
    line("shard started", shard="shardId-0"),
    line("batch"),
    line("notices", records=2, notices=1, unsent=1),
    line("stopped gracefully"),
    line("leases cannot be read", cause="EndpointConnectionError"),
    line("metrics"),
    "consumer: CONSUMER_STREAM_NAME: stream limit-events does not exist",
    '{"level":"INFO","logger":"software.amazon.kinesis.lifecycle.InitializeTask","message":"Initializing"}',
    '{"level":"ERROR","logger":"software.amazon.kinesis.coordinator.Scheduler","message":"Caught exception: "}',
)
QUARANTINED = line("quarantined", position="a/b/1", reason="JSON", detail="no object")
FAILED_CHECKPOINT = line("checkpoint failed", shard="shardId-0", cause="RuntimeException after 2 attempts")
REFUSED_IDENTITY = line("quarantined", position="a/b/1", reason="IDENTITY", detail="payload.brandId")
COUNTED: Mapping[str, Mapping[str, list[str]]] = {
    "fargate.yaml": {
        "CheckpointsFailingFilter": [FAILED_CHECKPOINT],
        "EnvironmentFailingFilter": [line("waiting", part="load", attempt=64, cause="denied", waited_seconds=240)],
        "QuarantinedFilter": [QUARANTINED, REFUSED_IDENTITY],
        "RestartsFilter": [line("daemon exited unexpectedly")],
    },
    "monitoring.yaml": {
        "CheckpointRefusedFilter": [
            line("exiting", shard="shardId-0", error="a\nb.CheckpointRefused: InvalidStateException")
        ],
        "CheckpointsFailingFilter": [FAILED_CHECKPOINT],
        "GivingUpFilter": [line("giving up: the daemon exited more often than allowed")],
        "IdentityRefusedFilter": [REFUSED_IDENTITY],
        "LeasesOfAnotherStreamFilter": [line("leases of another stream", cause="made at T")],
        "OutOfMemoryFilter": [
            line("out of memory: restarting with a larger heap"),
            line("out of memory: restarting with smaller, slower fetches; container_mib of memory is enough"),
            line("out of memory with the smallest fetches: increase the container's memory to container_mib"),
        ],
        "ShardNotReadFilter": [
            '{"level":"ERROR","logger":"software.amazon.kinesis.lifecycle.InitializeTask","message":"Caught exception"}'
        ],
        "TrimmedFilter": [
            line("records may have been trimmed before they were read"),
            line("the aggregate at the checkpoint has expired: its last records may be lost"),
        ],
        "WorkerStartsFilter": [line("worker", worker_id="a")],
    },
    "notices.yaml": {
        "NoticesFailingFilter": [line("giving up", part="bus", seconds_left=9.0)],
        "UnreadableFilter": [line("unreadable image", record="1", detail="definition.status: wrong")],
    },
    "lambda-api.yaml": {
        "NobodyAuthenticatedFilter": [line("AWS has authenticated no caller")],
    },
    "lambda.yaml": {
        "EnvironmentFailingFilter": [line("giving up", part="store", seconds_left=9.0)],
        "IdentityRefusedFilter": [REFUSED_IDENTITY],
        "QuarantinedFilter": [QUARANTINED, REFUSED_IDENTITY],
    },
}


@each_service
def test_every_filter_counts_its_lines_and_no_others(name: str) -> None:
    every = {each for lines in COUNTED[name].values() for each in lines} | set(OTHER_LINES)
    found = {
        each: {text for text in every if matches(filters(name)[each]["FilterPattern"], text)} for each in filters(name)
    }

    assert found == {each: set(lines) for each, lines in COUNTED[name].items()}


@each_service
def test_every_message_of_a_filter_is_logged(name: str) -> None:
    """A message that is renamed in the code would silence its alarm."""
    messages = {message for message, _ in LOGGED}
    for each, properties in filters(name).items():
        named = re.findall(r'\$\.message = "([^"*]+)(\*?)"', properties["FilterPattern"])
        unknown = [text for text, star in named if not any(m.startswith(text) if star else m == text for m in messages)]
        assert unknown == [], each
        assert named or "logger" in fields(properties["FilterPattern"]), each


def test_the_class_of_kcl_that_reports_unread_shards_exists() -> None:
    (wanted,) = re.findall(r'\$\.logger = "([^"]+)"', filters("monitoring.yaml")["ShardNotReadFilter"]["FilterPattern"])
    (jar,) = jars_directory().glob("amazon-kinesis-client-[0-9]*.jar")
    with zipfile.ZipFile(jar) as archive:
        assert b"Caught exception: " in archive.read(f"{wanted.replace('.', '/')}.class")


def test_a_wait_is_counted_from_four_minutes_on_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    """In each period of the alarm, so that it does not end before the wait."""
    time = [0.0]

    def sleep(seconds: float) -> None:
        time[0] += seconds

    runtime = Runtime(lambda: time[0], lambda: time[0], sleep, lambda: 1.0, lambda: False, _exit)
    policy = UntilStopped(runtime, 10.0, lambda: None, lambda _part: None, Backoff())
    counted, attempt = [], 0
    pattern = filters("fargate.yaml")["EnvironmentFailingFilter"]["FilterPattern"]
    while time[0] < 3_600:
        attempt += 1
        caplog.clear()
        now = time[0]
        policy.wait("store", attempt, Unavailable("throttled"))
        counted += [now for record in caplog.records if matches(pattern, JsonLines().format(record))]
    period = alarms("fargate.yaml")["EnvironmentFailingAlarm"]["Period"]

    assert 240 <= counted[0] <= 240 + period
    assert max(later - earlier for earlier, later in zip(counted, [*counted[1:], 3_600.0], strict=True)) <= period


def test_a_refused_checkpoint_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    @guarded
    def callback(_consumer: Any) -> None:
        raise CheckpointRefused("InvalidStateException")

    runtime = SimpleNamespace(exit=lambda _code: None)
    consumer = SimpleNamespace(shard="shardId-0", runtime=runtime, busy=nullcontext)
    with caplog.at_level(logging.CRITICAL):
        cast("Callable[[Any], None]", callback)(consumer)
    (record,) = caplog.records

    assert matches(filters("monitoring.yaml")["CheckpointRefusedFilter"]["FilterPattern"], JsonLines().format(record))


def _exit(code: int) -> Any:
    raise SystemExit(code)


# --- Thresholds ----------------------------------------------------------------------------------------------------


def test_thresholds_fit_the_defaults_of_the_other_parameters() -> None:
    workers = parsed("fargate.yaml")["Parameters"]["MaxTasks"]["Default"]
    starts = parsed("monitoring.yaml")["Parameters"]["WorkerStartsAlarmCount"]["Default"]

    assert starts >= 3 * workers


# --- Deployments ---------------------------------------------------------------------------------------------------

HEALTHY_AFTER, START = 60, 30
"""Seconds: the default of CONSUMER_HEALTHY_AFTER_SECONDS, and three times what a start takes on two cores."""


def test_a_good_version_becomes_healthy_before_failures_count_and_a_broken_one_is_replaced_in_minutes() -> None:
    check = container(resolved("fargate.yaml"))["HealthCheck"]

    assert HEALTHY_AFTER + START + check["Interval"] + check["Timeout"] <= check["StartPeriod"]
    assert check["StartPeriod"] + check["Retries"] * check["Interval"] <= 240
    assert check["Retries"] * check["Interval"] >= 60, "a machine that is slow for a while is no reason"
    assert check["Interval"] >= 5
    assert check["StartPeriod"] <= 300


def test_a_failed_deployment_is_rolled_back() -> None:
    deployment = resolved("fargate.yaml").properties("Service")["DeploymentConfiguration"]

    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True, "ResetOnHealthyTask": False}
    assert (deployment["Alarms"]["Enable"], deployment["Alarms"]["Rollback"]) == (True, True)
    assert deployment["Alarms"]["AlarmNames"] == [name.lower() for name in ROLLING_BACK]
    assert alarms("fargate.yaml").keys() == set(ROLLING_BACK), "the others are in monitoring.yaml"


ROLLING_BACK = ("RestartsAlarm", "EnvironmentFailingAlarm", "CheckpointsFailingAlarm", "QuarantineFloodAlarm")


def test_alarms_can_be_left_out_of_a_deployment() -> None:
    first = resolved("fargate.yaml", RollBackOnAlarms="false").properties("Service")["DeploymentConfiguration"]

    assert first["Alarms"]["Enable"] is False
    assert first["DeploymentCircuitBreaker"]["Enable"] is True


def test_alarms_of_a_deployment_are_quiet_before_it_and_fast_enough_for_it() -> None:
    """An alarm in ALARM when a deployment starts makes ECS ignore all of them."""
    deployment = parsed("fargate.yaml")["Resources"]["Service"]["Properties"]["DeploymentConfiguration"]
    for alarm in deployment["Alarms"]["AlarmNames"]:
        each = alarms("fargate.yaml")[alarm["Ref"]]
        assert each["TreatMissingData"] == "notBreaching"
        assert each["Period"] * each["EvaluationPeriods"] <= deployment["BakeTimeInMinutes"] * 60
        assert "Service" not in needed("fargate.yaml", alarm["Ref"])


def needed(name: str, resource: str) -> set[str]:
    """The resources that must exist before this one."""
    made = parsed(name)["Resources"]
    found: set[str] = set()
    left = [resource]
    while left:
        text = json.dumps(made[left.pop()])
        names = set(re.findall(r'\{"Ref": "(\w+)"\}', text)) | set(re.findall(r'\{"Fn::GetAtt": \["(\w+)"', text))
        names |= {each.partition(".")[0] for each in re.findall(r"\$\{([\w.]+)\}", text)}
        left += (names & made.keys()) - found
        found |= names & made.keys()
    return found
