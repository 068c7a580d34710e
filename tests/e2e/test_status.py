"""`consumer status` with the real daemon: before, during and after a run, and after the shards have changed."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.driven.leases import leases
from tests.support.driven.scenario import Stage, samples, until_received
from tests.support.driven.service import service
from tests.support.driven.waiting import until
from tests.support.emulators import kcl_tables
from tests.support.faults.proxy import fault_proxy, refuse

SHARDS = ("shardId-000000000000", "shardId-000000000001")


def run(variables: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "consumer", "status", *arguments]
    return subprocess.run(command, env=variables, check=False, capture_output=True, text=True)


def seen(variables: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    answer = run(variables, "--json", *arguments)
    assert answer.returncode == 0, answer.stderr
    status: dict[str, Any] = json.loads(answer.stdout)
    return status


def problems(status: Mapping[str, Any]) -> dict[str, list[str]]:
    return {shard["shard"]: shard["problems"] for shard in status["shards"]}


def is_at_tip(status: Mapping[str, Any]) -> bool:
    return all(shard["lagSeconds"] == 0 for shard in status["shards"])


def test_a_service_from_its_first_start_to_its_end(stage: Stage, tmp_path: Path) -> None:
    variables = {**stage.variables, "CONSUMER_WORKER_ID": "worker-1"}
    made = samples(seed=6, count=600)

    fresh = seen(variables)
    assert problems(fresh) == {name: ["unowned"] for name in SHARDS}
    assert (fresh["leader"], fresh["workers"], fresh["quarantine"]["records"]) == (None, [], 0)
    stage.put(made)
    waiting = seen(variables)
    assert all(found == ["unowned", "at-trim-horizon"] for found in problems(waiting).values())
    assert all(shard["lagSeconds"] > 0 for shard in waiting["shards"])

    with service(variables, tmp_path / "log") as running:
        until_received(running, len(made))
        until(lambda: is_at_tip(seen(variables)), "all to be checkpointed", every=1)
        until(lambda: seen(variables)["leader"], "a leader", every=1)
        until(lambda: not any(problems(seen(variables)).values()), "all to be well", every=1)
        working = seen(variables)
        assert {shard["owner"] for shard in working["shards"]} == {"worker-1"}
        known = leases(stage)
        assert {shard["shard"]: shard["checkpoint"] for shard in working["shards"]} == {
            name: lease.checkpoint for name, lease in known.items()
        }
        (worker,) = working["workers"]
        assert (worker["worker"], worker["leases"], worker["alive"], worker["leader"]) == ("worker-1", 2, True, True)
        assert (working["layout"], working["stream"]["state"]) == ("three tables", "ACTIVE")
        assert working["quarantine"]["records"] == stage.quarantined().total() > 0
        unread = seen(variables, "--no-lag")
        assert {shard["lagUnknown"] for shard in unread["shards"]} == {"not requested"}
        text = run(variables).stdout
        assert "every shard has a live owner" in text
        assert all(len(line) <= 80 for line in text.splitlines())
        assert running.stop() == 0

    stopped = seen(variables)
    assert problems(stopped) == {name: ["unowned"] for name in SHARDS}
    assert (stopped["leader"], stopped["workers"]) == (None, [])
    with service(variables, tmp_path / "log"):
        until(lambda: not any(problems(seen(variables)).values()), "all to be well again", every=1)
    until(lambda: "owner-silent" in str(problems(seen(variables))), "the silence to be noticed", every=1)
    assert "shards have problems" in run(variables).stdout


def test_watch_ends_with_ctrl_c(stage: Stage) -> None:
    command = [sys.executable, "-m", "consumer", "status", "--watch", "--every", "1"]
    with subprocess.Popen([*command, "--json"], env=stage.variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert second["at"] > first["at"]

    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env={**stage.variables, "TERM": "xterm"}, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        text = b""
        while text.count(b"no owner") < 4:
            text += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    os.close(ours)
    assert b"\x1b[" in text


def test_it_reads_the_one_table_of_kcl_3_5(stage: Stage) -> None:
    application, dynamodb = stage.variables["CONSUMER_APPLICATION_NAME"], stage.dynamodb()
    for table in (f"{application}-WorkerMetricStats", f"{application}-CoordinatorState"):
        dynamodb.delete_table(TableName=table)
        dynamodb.get_waiter("table_not_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
    # ahead, so that a slow machine does not make the worker silent
    recent = [{**row, "lut": {"N": str(int(time.time()) + 60)}} for row in kcl_tables.METRICS]
    for row in kcl_tables.one_table(kcl_tables.LEASES, recent, kcl_tables.COORDINATOR):
        dynamodb.put_item(TableName=application, Item=row)

    status = seen(stage.variables, "--no-lag")
    assert (status["layout"], status["leader"]) == ("one table", kcl_tables.WORKER)
    assert problems(status) == {name: [] for name in SHARDS}
    assert [(worker["worker"], worker["leases"], worker["alive"]) for worker in status["workers"]] == [
        (kcl_tables.WORKER, 2, True)
    ]


def test_a_lag_that_cannot_be_read_has_a_reason(stage: Stage) -> None:
    with fault_proxy(stage.variables["AWS_ENDPOINT_URL"]) as proxy:
        proxy.impose(refuse(400, "ProvisionedThroughputExceededException"), "GetRecords")
        status = seen({**stage.variables, "AWS_ENDPOINT_URL_KINESIS": proxy.endpoint})
    assert {shard["lagUnknown"] for shard in status["shards"]} == {"ProvisionedThroughputExceededException"}
    assert {shard["lagSeconds"] for shard in status["shards"]} == {None}


def test_unreadable_tables_are_reported_and_are_a_failure(stage: Stage) -> None:
    elsewhere = {**stage.variables, "CONSUMER_APPLICATION_NAME": "nobody"}
    missing = run(elsewhere)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "lease table nobody does not exist" in missing.stderr
    no_stream = run({**stage.variables, "CONSUMER_STREAM_NAME": "nowhere"}, "--json")
    assert no_stream.returncode == 1
    assert "stream nowhere: ResourceNotFoundException" in no_stream.stderr
