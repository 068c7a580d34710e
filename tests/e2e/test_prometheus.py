"""The service, scraped by a real Prometheus with the packaged configuration, rules and dashboard."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumer.monitoring import metrics
from deploy.dashboard import API, OUTSIDE, VERIFY, dashboard
from tests.support.driven.scenario import Stage, poison, samples, until_received
from tests.support.driven.service import Service, gone, service
from tests.support.driven.waiting import until
from tests.support.emulators.prometheus import Prometheus, prometheus, tool

pytestmark = pytest.mark.conformance

COUNT = 2_000
COUNTED = "sum(consumer_records_total)"
LIVES = (sys.executable, "-m", "consumer", "doctor", "--live")
OF_A_WORKER = (*metrics.CORE, *metrics.SHARD, *metrics.WORKER)
QUIET = {metrics.THROTTLES.name, metrics.MEMORY.name, metrics.MEMORY_LIMIT.name}
"""Metrics without a series as long as there is no error, and those of a container."""


@contextmanager
def watched(stage: Stage, directory: Path) -> Iterator[tuple[Service, Prometheus]]:
    """The service and the Prometheus that scrapes it."""
    folder = directory / "prometheus"
    folder.mkdir()
    with service(stage.variables, directory / "log") as running, prometheus(running.address, folder) as watcher:
        yield running, watcher


def test_prometheus_finds_every_series_and_every_rule_and_panel_works(stage: Stage, tmp_path: Path) -> None:
    made = samples(seed=9, count=COUNT)
    with watched(stage, tmp_path) as (running, watcher):
        stage.put(made)
        until_received(running, COUNT)
        until(lambda: watcher.value(COUNTED) == COUNT, "Prometheus to have counted all records")
        assert watcher.value("sum(consumer_quarantined_records_total)") == poison(made).total()
        assert watcher.value("consumer_leases_held") == 2
        until(lambda: watcher.value("count(consumer_shard_last_checkpoint_timestamp_seconds)") == 2, "checkpoints")
        assert {metric.name for metric in OF_A_WORKER} - QUIET - scraped(watcher) == set()
        until(lambda: watcher.value("consumer_stream_open_shards") == 2, "the worker to have counted the shards")
        assert_targets(watcher)
        until(lambda: all(rule["health"] != "unknown" for rule in watcher.rules()), "the rules to be evaluated")
        assert [rule["name"] for rule in watcher.rules() if rule["health"] != "ok" or rule.get("lastError")] == []
        until(lambda: firing(watcher) == ["ConsumerRecordsQuarantined"], "the alert there is a reason for")
        until(
            lambda: set(empty(watcher)) <= {"Throttles", "Memory of the container"},
            "every other panel to show something",
        )

        assert running.stop() == 0
        until(lambda: watcher.value('up{job="consumer"}') == 0, "Prometheus to notice the end")


def scraped(watcher: Prometheus) -> set[str]:
    """Metrics by their variable name in the module."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in watcher.names()}


def firing(watcher: Prometheus) -> list[str]:
    return [rule["name"] for rule in watcher.rules() if rule.get("state") == "firing"]


def assert_targets(watcher: Prometheus) -> None:
    health = {each["labels"]["job"]: each["health"] for each in watcher.get("targets")["activeTargets"]}
    assert health == {"consumer": "up", "consumer-watcher": "down", "consumer-api": "down"}


def empty(watcher: Prometheus) -> list[str]:
    """The panels of the dashboard without data, apart from those of other processes than a worker."""
    variables = {"$__rate_interval": "30s", "$__range": "1h", "$job": "consumer", "$instance": ".*"}
    found = []
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            if any(other in query for other in (OUTSIDE, API, VERIFY)):
                continue
            for name, value in variables.items():
                query = query.replace(name, value)
            if not watcher.query(query):
                found.append(panel["title"])
    return found


def test_the_page_is_valid_for_prometheus_and_the_worker_reports_its_liveness(stage: Stage, tmp_path: Path) -> None:
    with service(stage.variables, tmp_path / "log") as running:
        stage.put(samples(seed=10, count=200))
        until_received(running, 200)
        _, page = running.get("/metrics")
        assert run([tool("promtool"), "check", "metrics"], page) == (0, "")
        until(lambda: run(LIVES, variables=stage.variables) == (0, "ok\n"), "the worker to be healthy")
        assert running.stop() == 0
        code, said = run(LIVES, variables=stage.variables)
        assert (code, "Connection refused" in said) == (1, True)


def run(command: Sequence[str], text: str = "", variables: Mapping[str, str] = os.environ) -> tuple[int, str]:
    """The exit code and the output."""
    done = subprocess.run(
        command, input=text, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def test_no_counter_decreases_when_a_record_processor_is_killed(stage: Stage, tmp_path: Path) -> None:
    made = samples(seed=11, count=COUNT)
    with watched(stage, tmp_path) as (running, watcher):
        stage.put(made[:1_000])
        until_received(running, 1_000)
        until(lambda: watcher.value(COUNTED) == 1_000, "Prometheus to have counted the first half")
        processors = running.record_processors()
        os.kill(processors[0], signal.SIGKILL)
        gone(processors)
        until(lambda: watcher.query("consumer_shard_heartbeat_timestamp_seconds") == [], "the dead's gauges to vanish")
        stage.put(made[1_000:])
        until_received(running, COUNT)
        until(lambda: (watcher.value(COUNTED) or 0) >= COUNT, "Prometheus to have counted the rest")
        assert gone_back(watcher) == []
        assert watcher.value("consumer_daemon_restarts_total") == 1
        until(lambda: watcher.value("consumer_leases_held") == 2, "both leases to be held again")
        assert running.stop() == 0


def gone_back(watcher: Prometheus) -> list[str]:
    """The counters that were lower than before at any scrape."""
    counters = [name for name in watcher.names() if re.fullmatch(r"consumer_\w+_(total|bucket|sum|count)", name)]
    assert len(counters) > 30
    return [name for name in counters if watcher.value(f"max(resets({name}[10m]))")]
