"""The dashboard and the alert rules query existing metrics and labels."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from consumer.monitoring import metrics
from consumer.monitoring.metrics import Kind, Metric
from consumer.settings import ApiSettings, Settings
from deploy import alerts, dashboard
from deploy.alerts import Service

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana" / "consumer.json"
RULES = [
    rule for group in yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
TESTS = yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text())["tests"]
CASES = [case for test in TESTS for case in test.get("alert_rule_test", ())]
SHOWN = json.loads(GRAFANA.read_text(encoding="utf-8"))
PANELS = [panel for panel in SHOWN["panels"] if panel["type"] != "row"]

SCRAPED = {"job", "instance"}
THEIRS = {"up": SCRAPED, "ALERTS": SCRAPED | {"alertname", "alertstate", "severity", "shard", "operation"}}
"""The series that Prometheus itself creates, and their labels."""


def series(metric: Metric) -> dict[str, set[str]]:
    """The names of a metric's series in Prometheus, and the labels of each."""
    labels = {*metric.labels, *SCRAPED}
    if metric.kind is not Kind.HISTOGRAM:
        return {metric.name: labels}
    return {f"{metric.name}_bucket": labels | {"le"}, f"{metric.name}_sum": labels, f"{metric.name}_count": labels}


KNOWN = {
    **{name: labels for metric in metrics.ALL for name, labels in series(metric).items()},
    **{rule["record"]: {"job", "shard"} for rule in RULES if "record" in rule},
    **THEIRS,
}
COUNTED = {name for name in KNOWN if name.endswith(("_total", "_bucket", "_sum", "_count"))}


def parse(query: str) -> promql.Expr:
    return promql.parse(re.sub(r"\$__(rate_interval|range)", "5m", query))


def nodes(query: promql.Expr) -> list[promql.Expr]:
    found: list[promql.Expr] = []
    promql.walk(query, pre_visit=found.append)
    return found


def selected(query: promql.Expr) -> list[promql.VectorSelector]:
    return [node for node in nodes(query) if isinstance(node, promql.VectorSelector)]


def names(query: promql.Expr) -> set[str]:
    return {str(each.name) for each in selected(query)}


def faults(query: str) -> list[str]:
    """Unknown metrics and labels, and rates of metrics that are not counters."""
    found: list[str] = []
    parsed = parse(query)
    labels = set().union(*(KNOWN.get(name, set()) for name in names(parsed)))
    for node in nodes(parsed):
        if isinstance(node, promql.VectorSelector):
            matched = {matcher.name for matcher in node.matchers.matchers}
            name = str(node.name)
            found += sorted(matched - KNOWN[name]) if name in KNOWN else [name]
        elif isinstance(node, promql.AggregateExpr) and node.modifier:
            found += sorted(set(node.modifier.labels) - labels)
        elif isinstance(node, promql.BinaryExpr) and node.modifier and node.modifier.matching:
            found += sorted(set(node.modifier.matching.labels) - labels)
        elif isinstance(node, promql.Call) and node.func.name in ("rate", "increase"):
            found += sorted(names(node) - COUNTED)
    return found


def queries() -> Iterator[Any]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for annotation in SHOWN["annotations"]["list"]:
        yield pytest.param(annotation["expr"], id=annotation["name"])
    for rule in RULES:
        yield pytest.param(rule["expr"], id=rule.get("alert") or rule["record"])
    for metric in metrics.ALL:
        if metric.query:
            yield pytest.param(metric.query, id=metric.name)
    for number, test in enumerate(TESTS):
        for given in test["input_series"]:
            yield pytest.param(given["series"], id=f"{number} {given['series']}")
        for requested in test.get("promql_expr_test", ()):
            yield pytest.param(requested["expr"], id=requested["expr"])


@pytest.mark.parametrize("query", list(queries()))
def test_a_query_uses_existing_metrics(query: str) -> None:
    assert faults(query) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("sum(rate(consumer_record_total[5m]))", ["consumer_record_total", "consumer_record_total"]),
        ('consumer_leases_held{shard="s"} > 0', ["shard"]),
        ("sum by (outcom) (consumer_records_total)", ["outcom"]),
        ("up and on (zone) consumer_daemon_up", ["zone"]),
        ("histogram_quantile(0.9, consumer_batch_seconds)", ["consumer_batch_seconds"]),
        ("increase(consumer_leases_held[5m])", ["consumer_leases_held"]),
        ("max(consumer_batch_seconds_bucket{le='1'}) unless up offset 5m", []),
    ],
)
def test_an_error_in_a_query_is_found(query: str, found: list[str]) -> None:
    assert faults(query) == found


@pytest.mark.parametrize("query", list(re.findall(r"label_values\((.*)\)", json.dumps(SHOWN["templating"]))))
def test_a_variable_takes_its_values_from_an_existing_metric(query: str) -> None:
    selector, _, label = json.loads(f'"{query.split(")", maxsplit=1)[0]}"').rpartition(", ")
    assert faults(selector) == []
    assert label in KNOWN[str(selected(parse(selector))[0].name)]


# the dashboard


def test_the_dashboard_is_up_to_date_with_its_script() -> None:
    assert GRAFANA.read_text(encoding="utf-8") == dashboard.text(), "the dashboard is out of date: run `make docs`"


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name for panel in PANELS for target in panel["targets"] for name in names(parse(target["expr"]))}
    assert [metric.name for metric in metrics.ALL if not shown & series(metric).keys()] == []


def test_every_panel_has_its_place_its_number_and_its_meaning() -> None:
    assert len({panel["id"] for panel in SHOWN["panels"]}) == len(SHOWN["panels"])
    assert all(panel["description"].endswith(".") and panel["title"] for panel in PANELS)
    places = [set(cells(panel["gridPos"])) for panel in SHOWN["panels"]]
    assert not any(one & other for one, other in combinations(places, 2))
    assert all(0 <= column < dashboard.WIDTH for place in places for column, _ in place)


def cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for column in range(place["x"], place["x"] + place["w"]):
        for line in range(place["y"], place["y"] + place["h"]):
            yield column, line


def test_the_dashboard_names_no_specific_data_source() -> None:
    variables = [variable for variable in SHOWN["templating"]["list"] if variable["type"] == "datasource"]
    assert [(variable["name"], variable["query"]) for variable in variables] == [("datasource", "prometheus")]
    sources = re.findall(r'"uid": "([^"]*)"', GRAFANA.read_text(encoding="utf-8"))
    assert set(sources) == {"${datasource}", SHOWN["uid"]}


# the alerts


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_severity_and_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/how-to/operate.md#{rule['alert'].lower()}"
    labels = set().union(*(KNOWN[name] for name in names(parse(rule["expr"]))))
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"])) <= labels


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_is_tested_both_ways(rule: dict[str, Any]) -> None:
    reported = [case for case in CASES if case["alertname"] == rule["alert"]]
    assert {bool(case["exp_alerts"]) for case in reported} == {True, False}


def test_no_test_is_for_a_removed_alert() -> None:
    assert {case["alertname"] for case in CASES} == {rule["alert"] for rule in ALERTS}


def test_the_jobs_that_are_scraped_are_those_of_the_rules_and_the_address_is_the_default() -> None:
    worker, watcher, api = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text())["scrape_configs"]
    assert (worker["job_name"], watcher["job_name"], api["job_name"]) == (Service.job, Service.watcher, Service.api)
    assert worker["static_configs"] == [{"targets": [Settings.model_fields["metrics_address"].default]}]
    assert api["static_configs"] == [{"targets": [ApiSettings.model_fields["api_address"].default]}]


# the rules for another service

OTHER = Service("limits/eu", "limits-watcher", workers=3, api="limits-http", verify="limits-verify")
OTHER_RULES, OTHER_API = (group["rules"] for group in yaml.safe_load(alerts.rules(OTHER))["groups"])


@pytest.mark.parametrize("rule", OTHER_RULES, ids=str)
def test_every_series_is_selected_by_the_job_of_the_service(rule: dict[str, Any]) -> None:
    for selector in selected(parse(rule["expr"])):
        jobs = {matcher.value for matcher in selector.matchers.matchers if matcher.name == "job"}
        assert jobs < {"limits/eu", "limits-watcher", "limits/eu|limits-watcher", "limits-verify"}, selector
        assert len(jobs) == 1
    assert rule["labels"].get("job", "limits/eu") in ("limits/eu", "limits-watcher", "limits-verify")
    assert "consumer-watcher" not in str(rule)
    assert "consumer-verify" not in str(rule)


@pytest.mark.parametrize("rule", OTHER_API, ids=lambda rule: rule["alert"])
def test_every_series_of_the_api_is_selected_by_its_job(rule: dict[str, Any]) -> None:
    for selector in selected(parse(rule["expr"])):
        assert [each.value for each in selector.matchers.matchers if each.name == "job"] == ["limits-http"]
    assert rule["labels"]["job"] == "limits-http"
    assert "consumer-api" not in str(rule)


def test_without_an_api_there_are_no_rules_for_it() -> None:
    (group,) = yaml.safe_load(alerts.rules(replace(OTHER, api=None)))["groups"]
    assert group["rules"] == OTHER_RULES
    assert "_api" not in alerts.prometheus_rule(replace(OTHER, api=None))


def test_the_number_of_workers_is_the_given_one() -> None:
    (rule,) = [rule for rule in OTHER_RULES if rule["expr"].endswith("< 3")]
    assert rule["alert"] == "ConsumerWorkersMissing"


def test_the_resource_for_the_operator_has_the_same_rules() -> None:
    resource = yaml.safe_load(alerts.prometheus_rule(OTHER))
    assert (resource["apiVersion"], resource["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert resource["metadata"] == {"name": "limits-eu"}
    assert resource["spec"] == yaml.safe_load(alerts.rules(OTHER))


@pytest.mark.parametrize(
    ("of_api", "api"), [([], Service.api), (["--api", "http"], "http"), (["--no-api"], None)], ids=str
)
def test_both_files_are_written(
    of_api: list[str], api: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["--job", "limits/eu", "--watcher", "w", "--workers", "1", *of_api]
    monkeypatch.setattr("sys.argv", ["alerts", *given, str(tmp_path)])
    alerts.main()
    service = Service("limits/eu", "w", 1, api)
    assert (tmp_path / "alerts.yaml").read_text() == alerts.rules(service)
    assert (tmp_path / "prometheus_rule.yaml").read_text() == alerts.prometheus_rule(service)


@pytest.mark.parametrize("job", ["", 'a"b', "a|b", "a b", "é"])
def test_a_name_that_a_selector_cannot_quote_is_refused(
    job: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["alerts", "--job", job, str(tmp_path)])
    with pytest.raises(SystemExit):
        alerts.main()
    assert list(tmp_path.iterdir()) == []
