"""Writes the Grafana dashboard: `python -m deploy.dashboard deploy/grafana/consumer.json`, or `make docs`.

Import the file into Grafana 10 or later; it asks for nothing but a Prometheus data source, which is a variable of the
dashboard, as are job and instances.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

TITLE = "Limits consumer"
WIDTH = 24
"""Columns of Grafana's grid."""
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
CHOSEN = 'job="$job", instance=~"$instance"'
"""What `{}` stands for in the queries below."""


@dataclass(frozen=True)
class Panel:
    """`queries`: PromQL by legend. `limits`: values from which a single figure is yellow, and red."""

    title: str
    about: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    limits: Sequence[float] = ()
    stacked: bool = False


@dataclass(frozen=True)
class Row:
    """Panels side by side, `across` in a line, each so many grid units high."""

    title: str
    panels: Sequence[Panel]
    across: int = 3
    height: int = 8


def rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{}}[$__rate_interval]))"


def quantiles(metric: str) -> dict[str, str]:
    """The median, and what one of a hundred exceeds."""
    buckets = rate(f"{metric}_bucket", "le")
    return {name: f"histogram_quantile({share}, {buckets})" for name, share in (("p50", 0.5), ("p99", 0.99))}


def mean(metric: str) -> str:
    return f"sum(rate({metric}_sum{{}}[$__rate_interval])) / sum(rate({metric}_count{{}}[$__rate_interval]))"


def age(metric: str) -> str:
    return f"max by (shard) (time() - {metric}{{}})"


def figure(title: str, about: str, query: str, unit: str = "short", limits: Sequence[float] = ()) -> Panel:
    return Panel(title, about, {"": query}, unit, "stat", limits)


ROWS = (
    Row(
        "At a glance",
        (
            figure("Daemons up", "Workers whose JVM runs.", "sum(consumer_daemon_up{})"),
            figure("Leases held", "Shards with a record processor.", "sum(consumer_leases_held{})"),
            figure(
                "Lag",
                "Of the shard that is furthest behind the tip of the stream.",
                "max(consumer_shard_behind_latest_seconds{})",
                "s",
                (60, 300),
            ),
            figure("Records", "Settled a second.", "sum(rate(consumer_records_total{}[$__rate_interval]))", "reqps"),
            figure(
                "Quarantined",
                "Records in the time shown. Each wants to be looked at.",
                "sum(increase(consumer_quarantined_records_total{}[$__range]))",
                limits=(1, 100),
            ),
            figure(
                "Restarts",
                "Of the daemon in the time shown.",
                "sum(increase(consumer_daemon_restarts_total{}[$__range]))",
                limits=(1, 3),
            ),
        ),
        across=6,
        height=4,
    ),
    Row(
        "Lag",
        (
            Panel(
                "Behind the stream",
                "How old the last batch's end was. Grows while a batch waits.",
                {"{{shard}}": "max by (shard) (consumer_shard_behind_latest_seconds{})"},
                "s",
            ),
            Panel(
                "From event to effect",
                "Of the oldest event of each batch: `createdAt` to settled.",
                quantiles("consumer_event_lag_seconds"),
                "s",
            ),
            Panel(
                "Since the last batch",
                "Empty batches count. A line that climbs is a shard that gets nothing, or a batch that waits.",
                {"{{shard}}": age("consumer_shard_last_batch_timestamp_seconds")},
                "s",
            ),
            Panel(
                "Since the last checkpoint",
                "Climbs on an idle shard too: there is nothing to checkpoint.",
                {"{{shard}}": age("consumer_shard_last_checkpoint_timestamp_seconds")},
                "s",
            ),
            Panel(
                "Since the last sign of life",
                "Of each record processor. Waiting for a store is life.",
                {"{{shard}}": age("consumer_shard_heartbeat_timestamp_seconds")},
                "s",
            ),
            Panel(
                "Leases by worker",
                "They should be spread, and add up to the open shards.",
                {"{{instance}}": "sum by (instance) (consumer_leases_held{})"},
                stacked=True,
            ),
            Panel(
                "Leases that nothing reads",
                "Owned by a worker without a record processor. Right after a start some are; it must go back to 0.",
                {"{{instance}}": "sum by (instance) (consumer_leases_owned{} - consumer_leases_held{})"},
            ),
        ),
    ),
    Row(
        "Records",
        (
            Panel(
                "By outcome",
                "Duplicates and stale ones are normal after a restart or a replay.",
                {"{{outcome}}": rate("consumer_records_total", "outcome")},
                "reqps",
                stacked=True,
            ),
            Panel(
                "By type",
                "UNKNOWN is a type never heard of, UNREADABLE could not be decoded.",
                {"{{type}}": rate("consumer_records_total", "type")},
                "reqps",
                stacked=True,
            ),
            Panel(
                "Quarantined, by reason",
                "`consumer quarantine list` shows them.",
                {"{{reason}}": "sum by (reason) (increase(consumer_quarantined_records_total{}[$__rate_interval]))"},
            ),
            Panel(
                "Warnings, by kind",
                "Events that were applied although they contradict what is stored, or themselves.",
                {"{{kind}}": rate("consumer_warnings_total", "kind")},
                "reqps",
            ),
            Panel("Batch size", "Records a batch.", quantiles("consumer_batch_records")),
            Panel("Batch seconds", "From receiving to settled.", quantiles("consumer_batch_seconds"), "s"),
        ),
    ),
    Row(
        "Phases and checkpoints",
        (
            Panel(
                "Seconds a batch, by phase",
                "The mean. Store grows with the table's trouble, decode and fold with the batch.",
                {phase: mean(f"consumer_{phase}_seconds") for phase in ("decode", "fold", "store", "quarantine")},
                "s",
                stacked=True,
            ),
            Panel(
                "Checkpoints, by result",
                "ShutdownException: the lease was lost. Others are tried again, or end the worker.",
                {"{{result}}": rate("consumer_checkpoints_total", "result")},
                "reqps",
            ),
            Panel("Checkpoint seconds", "Until KCL answers.", quantiles("consumer_checkpoint_seconds"), "s"),
        ),
    ),
    Row(
        "The stores",
        (
            Panel(
                "Requests",
                "To DynamoDB and S3, each try counted.",
                {"{{operation}} {{result}}": rate("consumer_store_requests_total", "operation, result")},
                "reqps",
            ),
            Panel(
                "Throttles",
                "Requests, statements and keys that were throttled.",
                {"{{operation}}": rate("consumer_store_throttles_total", "operation")},
                "reqps",
            ),
            Panel(
                "Waits for the environment",
                "By the part that failed.",
                {"{{part}}": rate("consumer_environment_retries_total", "part")},
                "reqps",
            ),
            Panel(
                "Writes, and what folding saved",
                "A second.",
                {
                    "writes": "sum(rate(consumer_state_writes_total{}[$__rate_interval]))",
                    "saved": "sum(rate(consumer_writes_saved_total{}[$__rate_interval]))",
                },
                "wps",
                stacked=True,
            ),
            Panel(
                "Conflicts",
                "The share of writes that met another writer. More than a little: two workers are at one shard.",
                {
                    "conflicts": "sum(rate(consumer_write_conflicts_total{}[$__rate_interval]))"
                    " / sum(rate(consumer_state_writes_total{}[$__rate_interval]))"
                },
                "percentunit",
            ),
            Panel(
                "Trimmed by the stream",
                "Shards that started at a checkpoint whose record is no longer kept: others may be lost unread.",
                {"{{instance}}": "sum by (instance) (consumer_trimmed_starts_total{})"},
            ),
        ),
    ),
    Row(
        "The workers",
        (
            Panel(
                "Memory of the JVM",
                "Resident.",
                {"{{instance}}": "sum by (instance) (consumer_daemon_resident_memory_bytes{})"},
                "bytes",
            ),
            Panel(
                "Memory of the record processors",
                "Resident, one process a shard.",
                {"{{shard}}": "max by (shard) (consumer_shard_resident_memory_bytes{})"},
                "bytes",
                stacked=True,
            ),
            Panel(
                "What runs",
                "More than one line while a deployment is under way.",
                {
                    "{{version}}, amazon_kclpy {{kclpy}}, Python {{python}}": "sum by (version, kclpy, python)"
                    " (consumer_build_info{})"
                },
                stacked=True,
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """As Grafana exports one."""
    return {
        "uid": "limits-consumer",
        "title": TITLE,
        "description": "What the limits consumer tells Prometheus: docs/reference/metrics.md, docs/how-to/operate.md.",
        "tags": ["kinesis", "limits-consumer"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "templating": {"list": list(_variables())},
        "annotations": {"list": [_alerts()]},
        "panels": list(_panels(ROWS)),
    }


def text() -> str:
    return json.dumps(dashboard(), indent=2) + "\n"


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    held = "consumer_leases_held"
    yield _variable("job", "Job", f"label_values({held}, job)")
    every = {"multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": ["$__all"]}}
    yield _variable("instance", "Worker", f'label_values({held}{{job="$job"}}, instance)') | every


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
    }


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"Consumer.*", alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{shard}} {{instance}} {{reason}}",
    }


def _panels(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    numbers, top = count(1), 0
    for row in rows:
        place = {"h": 1, "w": WIDTH, "x": 0, "y": top}
        yield {
            "id": next(numbers),
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        top += 1
        width = WIDTH // row.across
        for index, panel in enumerate(row.panels):
            line, column = divmod(index, row.across)
            place = {"h": row.height, "w": width, "x": column * width, "y": top + line * row.height}
            yield _panel(panel, next(numbers), place)
        top += row.height * -(-len(row.panels) // row.across)


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _FIGURE if panel.kind == "stat" else _LINES,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": query.replace("{}", f"{{{CHOSEN}}}"),
                "legendFormat": legend or "__auto",
            }
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


_FIGURE = {
    "colorMode": "value",
    "graphMode": "area",
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    "textMode": "value",
}
_LINES = {
    "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
    "tooltip": {"mode": "multi", "sort": "desc"},
}


def _field(panel: Panel) -> dict[str, Any]:
    colours = ("green", "yellow", "red")
    steps = [{"color": colour, "value": limit} for colour, limit in zip(colours, (None, *panel.limits), strict=False)]
    shared = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "stat":
        return shared
    stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
    fill = 30 if panel.stacked else 5
    return shared | {"custom": {"fillOpacity": fill, "lineWidth": 1, "showPoints": "never", "stacking": stacking}}


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the Grafana dashboard.")
    parser.add_argument("file", type=Path, help="where to, for instance deploy/grafana/consumer.json")
    parser.parse_args().file.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
