"""docs/how-to/operate.md explains each alert, each note of the status, each line of the log."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.admin.status import Problem, Quarantine, Shard, Status, Stream, shards, workers
from consumer.cli import status_tables
from consumer.leases.kcl_tables import Layout, Lease, Lock, Tables
from consumer.monitoring import metrics, worker_emf
from consumer.settings import Settings
from deploy import alerts as alerting

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "how-to" / "operate.md").read_text()
HEADINGS = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
LOGGED = re.compile(
    r'\b(?:log|logging\.getLogger\(__name__\))\.(?:info|warning|error|critical|exception)\(\s*"([^"%]+)"'
)


def anchor(heading: str) -> str:
    """The anchor that GitHub generates."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[str]:
    return [rule["alert"] for rule in rules() if "alert" in rule]


def pages(rule: dict[str, Any]) -> bool:
    """Whether the rule pages somebody, or is part of one that does."""
    return "record" in rule or rule["labels"]["severity"] == "critical"


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for each in value.values() for key in keys(each)}
    return {key for each in value for key in keys(each)} if isinstance(value, list) else set()


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    assert alerts()
    assert [heading for heading in HEADINGS if heading.startswith("Consumer")] == alerts()


def test_every_row_of_the_dashboard_is_explained() -> None:
    panels = json.loads((ROOT / "deploy" / "grafana" / "consumer.json").read_text())["panels"]
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows
    assert [row for row in rows if f"**{row}**" not in TEXT] == []


@pytest.mark.parametrize("problem", Problem)
def test_every_problem_of_a_shard_is_explained(problem: Problem) -> None:
    note, _ = status_tables._NOTES[problem]
    assert f"| {note}, `{problem}` |" in TEXT


def test_every_field_of_the_status_is_named() -> None:
    tables = Tables(Layout.ONE_TABLE, [Lease("s", "w", "1", 0, 1, 0)], [], Lock("w", "1"))
    stream = Stream("events", "ACTIVE", 24, [Shard("s", True)])
    lines, quarantine = shards(stream.shards, tables, {}, []), Quarantine("dir:q", 0)
    found = Status(0.0, "a", stream, tables, lines, workers(tables, 0.0, 1.0), quarantine)
    document = found.to_json()
    assert sorted(key for key in keys(document) if f"`{key}`" not in TEXT and f"`{key}[]`" not in TEXT) == []
    assert all(f"`{layout}`" in TEXT for layout in Layout)


def test_every_message_of_the_log_is_named() -> None:
    """The messages of the service, not those of the Lambda functions and the daemon."""
    paths = [path for path in (ROOT / "consumer").rglob("*.py") if path.parent.name != "aws_lambda"]
    sources = [path.read_text() for path in paths]
    messages = {message for source in sources for message in LOGGED.findall(source)}
    assert {"batch", "quarantined", "waiting", "daemon started", "log lines dropped: nobody read stderr"} <= messages
    assert sorted(message for message in messages if f"`{message}`" not in TEXT) == []


def test_every_metric_it_names_exists() -> None:
    known = {metric.name for metric in (*metrics.ALL, *worker_emf.LINE)}
    assert [name for name in re.findall(r"`(consumer_\w+)`", TEXT) if name not in known] == []


def test_every_metric_of_the_line_for_cloudwatch_is_explained() -> None:
    section = TEXT.partition("## Metrics without Prometheus\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(consumer_\w+)` \|", section, re.MULTILINE) == [each.name for each in worker_emf.LINE]


def test_the_collector_scrapes_the_worker_and_keeps_what_the_alerts_that_page_need() -> None:
    config = yaml.safe_load(TEXT.partition("### OTLP\n")[2].partition("```yaml\n")[2].partition("```")[0])
    (scrape,) = config["receivers"]["prometheus"]["config"]["scrape_configs"]
    (relabel,) = scrape["metric_relabel_configs"]
    (text,) = re.findall(r"consumer_\(([a-z_|]+)\)", relabel["regex"])
    kept = {f"consumer_{name}" for name in text.split("|")}
    of_a_worker = {metric.name for metric in (*metrics.CORE, *metrics.SHARD, *metrics.WORKER)}
    needed = {name for rule in rules() if pages(rule) for name in re.findall(r"\bconsumer_\w+", rule["expr"])}
    (pipeline,) = config["service"]["pipelines"].values()

    assert scrape["job_name"] == alerting.Service().job
    (target,) = scrape["static_configs"]
    assert target["targets"] == [Settings.model_fields["metrics_address"].default]
    assert target["labels"] == {"instance": "${env:HOSTNAME}"}, "the address is the same beside each worker"
    assert needed & of_a_worker <= kept <= of_a_worker
    for kind, names in pipeline.items():
        assert names == list(config[kind])


def test_its_links_resolve() -> None:
    anchors = {anchor(heading) for heading in HEADINGS}
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert [link for link in links if link.startswith("#") and link[1:] not in anchors] == []
    files = [link.partition("#")[0] for link in links if not link.startswith("#")]
    assert [file for file in files if not (ROOT / "docs" / "how-to" / file).exists()] == []
