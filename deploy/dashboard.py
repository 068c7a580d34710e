"""Writes the Grafana dashboard: `python -m deploy.dashboard deploy/grafana/consumer.json`, or `make docs`.

Import the file into Grafana 10 or later. It needs only a Prometheus data source. Data source, job and instances are
variables of the dashboard.
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
"""Replaces `{}` in the queries below."""
OUTSIDE = '{job="$job-watcher"}'
"""Selects the watcher, whose job is named after that of the workers."""
API = '{job="$job-api"}'
"""Selects the servers of the HTTP API, whose job is named in the same way."""
VERIFY = '{job="$job-verify"}'
"""Selects the file of `consumer verify`."""


@dataclass(frozen=True)
class Panel:
    """`queries`: PromQL by legend. `limits`: values from which a single figure is yellow, then red."""

    title: str
    about: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    limits: Sequence[float] = ()
    stacked: bool = False


@dataclass(frozen=True)
class Row:
    """Panels side by side, `across` in a line, each `height` grid units high."""

    title: str
    panels: Sequence[Panel]
    across: int = 3
    height: int = 8


def rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{}}[$__rate_interval]))"


def quantiles(metric: str) -> dict[str, str]:
    """Queries for the 50th and the 99th percentile of a histogram."""
    buckets = rate(f"{metric}_bucket", "le")
    return {name: f"histogram_quantile({share}, {buckets})" for name, share in (("p50", 0.5), ("p99", 0.99))}


def mean(metric: str) -> str:
    return f"sum(rate({metric}_sum{{}}[$__rate_interval])) / sum(rate({metric}_count{{}}[$__rate_interval]))"


def age(metric: str) -> str:
    return f"max by (shard) (time() - {metric}{{}})"


def of_api(query: str) -> str:
    return query.replace("{}", API)


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
                "The shard that is furthest behind the tip of the stream.",
                "max(consumer_shard_behind_latest_seconds{})",
                "s",
                (60, 300),
            ),
            figure("Records", "Settled per second.", "sum(rate(consumer_records_total{}[$__rate_interval]))", "reqps"),
            figure(
                "Quarantined",
                "Records in the time shown. Check each of them.",
                "sum(increase(consumer_quarantined_records_total{}[$__range]))",
                limits=(1, 100),
            ),
            figure(
                "Restarts",
                "Restarts of the daemon in the time shown.",
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
                "The age of the end of the last batch. It grows while a batch waits.",
                {"{{shard}}": "max by (shard) (consumer_shard_behind_latest_seconds{})"},
                "s",
            ),
            Panel(
                "From event to effect",
                "From `createdAt` to settled, of the oldest event of each batch.",
                quantiles("consumer_event_lag_seconds"),
                "s",
            ),
            Panel(
                "Since the last batch",
                "Empty batches count, and one at work does. A rising line is a shard without batches, or a hang.",
                {
                    "{{shard}}": age("consumer_shard_last_batch_timestamp_seconds"),
                    "{{shard}}, since its start": age("consumer_shard_start_timestamp_seconds"),
                },
                "s",
            ),
            Panel(
                "Since the last checkpoint",
                "Rises on an idle shard too: there is nothing to checkpoint.",
                {"{{shard}}": age("consumer_shard_last_checkpoint_timestamp_seconds")},
                "s",
            ),
            Panel(
                "Since the last heartbeat",
                "The heartbeat of each record processor. It continues while the processor waits for a store.",
                {"{{shard}}": age("consumer_shard_heartbeat_timestamp_seconds")},
                "s",
            ),
            Panel(
                "Leases by worker",
                "They should be balanced, and add up to the open shards.",
                {"{{instance}}": "sum by (instance) (consumer_leases_held{})"},
                stacked=True,
            ),
            Panel(
                "Shards to read, and shards read",
                "Held should equal open, but for a minute after a worker or a shard has come or gone.",
                {"open": "max(consumer_stream_open_shards{})", "held": "sum(consumer_leases_held{})"},
            ),
            Panel(
                "Lag as a share of the retention",
                "Of the shard that is furthest behind. Records are lost at 100 %.",
                {"lag": "max(consumer_shard_behind_latest_seconds{}) / (max(consumer_stream_retention_seconds{}) > 0)"},
                "percentunit",
            ),
            Panel(
                "Leases taken and given back",
                "Each shard moves once when a worker comes or goes. Between healthy workers none should move.",
                {
                    "taken": "sum(increase(consumer_leases_taken_total{}[$__rate_interval]))",
                    "given back": "sum(increase(consumer_leases_given_back_total{}[$__rate_interval]))",
                    "leader locks removed": "sum(increase(consumer_leader_locks_removed_total{}[$__rate_interval]))",
                },
            ),
            Panel(
                "Seconds without renewal when taken",
                "For how long a lease had not been renewed when another worker took it.",
                quantiles("consumer_lease_still_seconds"),
                "s",
            ),
            Panel(
                "Busy record processors",
                "1 while a record processor works on a message of the daemon.",
                {"{{shard}}": "max by (shard) (consumer_shard_busy{})"},
            ),
            Panel(
                "Leases without a record processor",
                "Owned by a worker without a record processor. Some are right after a start; it must return to 0.",
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
                "UNKNOWN: the type is not known. UNREADABLE: the record could not be decoded.",
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
            Panel("Batch size", "Records per batch.", quantiles("consumer_batch_records")),
            Panel("Batch seconds", "From receiving to settled.", quantiles("consumer_batch_seconds"), "s"),
        ),
    ),
    Row(
        "Phases and checkpoints",
        (
            Panel(
                "Seconds per batch, by phase",
                "The mean. Store grows when the table is slow or throttles, decode and fold grow with the batch.",
                {phase: mean(f"consumer_{phase}_seconds") for phase in ("decode", "fold", "store", "quarantine")},
                "s",
                stacked=True,
            ),
            Panel(
                "Checkpoints, by result",
                "ShutdownException: the lease was lost. Other errors are retried, or end the worker.",
                {"{{result}}": rate("consumer_checkpoints_total", "result")},
                "reqps",
            ),
            Panel("Checkpoint seconds", "Until KCL responds.", quantiles("consumer_checkpoint_seconds"), "s"),
        ),
    ),
    Row(
        "The stores",
        (
            Panel(
                "Requests",
                "To DynamoDB and S3. Every attempt is counted.",
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
                "Writes, and writes avoided by folding",
                "Per second.",
                {
                    "writes": "sum(rate(consumer_state_writes_total{}[$__rate_interval]))",
                    "saved": "sum(rate(consumer_writes_saved_total{}[$__rate_interval]))",
                },
                "wps",
                stacked=True,
            ),
            Panel(
                "Archive",
                "Compressed, per second. Empty without an archive.",
                {"bytes": "sum(rate(consumer_archive_bytes_total{}[$__rate_interval]))"},
                "Bps",
            ),
            Panel(
                "Archive objects",
                "Written per second.",
                {"objects": "sum(rate(consumer_archive_objects_total{}[$__rate_interval]))"},
            ),
            Panel("Archive seconds", "Of an object, including waits.", quantiles("consumer_archive_seconds"), "s"),
            Panel(
                "Conflicts",
                "The share of writes that found another writer's change. If it is high, two workers process one shard.",
                {
                    "conflicts": "sum(rate(consumer_write_conflicts_total{}[$__rate_interval]))"
                    " / sum(rate(consumer_state_writes_total{}[$__rate_interval]))"
                },
                "percentunit",
            ),
            Panel(
                "Trimmed by the stream",
                "Shards that started at a checkpoint whose record is no longer kept: unread records may be lost.",
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
                "Resident, one process per shard.",
                {"{{shard}}": "max by (shard) (consumer_shard_resident_memory_bytes{})"},
                "bytes",
                stacked=True,
            ),
            Panel(
                "Memory of the container",
                "As a share of its limit. At 100 %, the kernel kills a process.",
                {"{{instance}}": "consumer_container_memory_bytes{} / consumer_container_memory_limit_bytes{}"},
                "percentunit",
            ),
            Panel(
                "Running since",
                "How long ago each worker started.",
                {"{{instance}}": "time() - consumer_start_timestamp_seconds{}"},
                "s",
            ),
            Panel(
                "Versions",
                "More than one line during a deployment.",
                {
                    "{{version}}, amazon_kclpy {{kclpy}}, Python {{python}}": "sum by (version, kclpy, python)"
                    " (consumer_build_info{})"
                },
                stacked=True,
            ),
        ),
    ),
    Row(
        "From outside",
        (
            Panel(
                "Lag by checkpoint",
                "How long the first unsettled record has been in the stream. It also grows when no worker runs.",
                {"{{shard}}": f"max by (shard) (consumer_checkpoint_lag_seconds{OUTSIDE})"},
                "s",
            ),
            Panel(
                "Lag by checkpoint, as a share of the retention",
                "Of the shard that is furthest behind. Records are lost at 100 %.",
                {
                    "lag": f"max(consumer_checkpoint_lag_seconds{OUTSIDE})"
                    f" / max(consumer_stream_retention_seconds{OUTSIDE})"
                },
                "percentunit",
            ),
            Panel(
                "Shards by owner",
                "The leases, as in KCL's table.",
                {"{{owner}}": f"count by (owner) (consumer_lease_owner_info{OUTSIDE})"},
                stacked=True,
            ),
            Panel(
                "Problems",
                "Shards with a problem, in the words of `consumer status --json`.",
                {"{{problem}}": f"count by (problem) (consumer_shard_problem_info{OUTSIDE})"},
                stacked=True,
            ),
            Panel(
                "Shards to read, and workers",
                "Shards that should be read now, and workers that report in KCL's table.",
                {
                    "shards": f"max(consumer_stream_open_shards{OUTSIDE})",
                    "workers": f"max(consumer_workers_alive{OUTSIDE})",
                },
            ),
            Panel(
                "Records in the quarantine",
                "Counted every 10 minutes.",
                {"records": f"max(consumer_quarantine_records{OUTSIDE})"},
            ),
            Panel(
                "Since the last check",
                "How old the other figures of this row are.",
                {"age": f"time() - max(consumer_status_timestamp_seconds{OUTSIDE})"},
                "s",
            ),
        ),
    ),
    Row(
        "The HTTP API",
        (
            Panel(
                "Requests, by status",
                "Health checks and scrapes do not count. None: there was no response.",
                {"{{status}}": of_api(rate("consumer_api_requests_total", "status"))},
                "reqps",
                stacked=True,
            ),
            Panel(
                "Requests, by route",
                "Unmatched: the path does not exist. Refused: more requests than are served at the same time.",
                {"{{route}}": of_api(rate("consumer_api_requests_total", "route"))},
                "reqps",
                stacked=True,
            ),
            Panel(
                "Seconds of a request",
                "From its head until its response is sent.",
                {share: of_api(query) for share, query in quantiles("consumer_api_request_seconds").items()},
                "s",
            ),
            Panel(
                "Requests in flight",
                "At the same time. A server refuses more than `CONSUMER_API_MAX_REQUESTS`.",
                {"{{instance}}": f"sum by (instance) (consumer_api_requests_in_flight{API})"},
            ),
            Panel(
                "Refused tokens, by reason",
                "Expired ones are normal. Forbidden: a valid token that does not allow the request.",
                {"{{reason}}": of_api(rate("consumer_api_refused_tokens_total", "reason"))},
                "reqps",
                stacked=True,
            ),
            Panel(
                "Answers of 500 and above",
                "As a share of all requests.",
                {
                    "share": 'sum(rate(consumer_api_requests_total{job="$job-api", status=~"5.."}[$__rate_interval]))'
                    f" / sum(rate(consumer_api_requests_total{API}[$__rate_interval]))"
                },
                "percentunit",
            ),
        ),
    ),
    Row(
        "Verification",
        (
            Panel(
                "Limits that differ",
                "From the archive, in the last verification, and parts of the archive that it could not read.",
                {
                    "missing": f"max by (table) (consumer_verify_missing_limits{VERIFY})",
                    "unexplained": f"max by (table) (consumer_verify_unexplained_limits{VERIFY})",
                    "damages": f"max by (table) (consumer_verify_damages{VERIFY})",
                },
            ),
            Panel(
                "Since the last verification",
                "It also grows when a verification fails.",
                {
                    "{{table}}": f"time() - max by (table) (consumer_verify_timestamp_seconds{VERIFY})",
                    "{{table}} took": f"max by (table) (consumer_verify_duration_seconds{VERIFY})",
                },
                "s",
            ),
            Panel(
                "What was compared",
                "Limits, and the records that were read for them.",
                {
                    "limits": f"max by (table) (consumer_verify_limits{VERIFY})",
                    "records": f"max by (table) (consumer_verify_archived_records{VERIFY})",
                },
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard, in the form of Grafana's export."""
    return {
        "uid": "limits-consumer",
        "title": TITLE,
        "description": "The metrics of the limits consumer: docs/reference/metrics.md, docs/how-to/operate.md.",
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
    parser.add_argument("file", type=Path, help="the file to write, for example deploy/grafana/consumer.json")
    parser.parse_args().file.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
