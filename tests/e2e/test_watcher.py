"""`consumer status --serve`: a process that is not a worker, seen by Prometheus and by the container runtime."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consumer.cli.probe import probe
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Position, Record
from tests.support.driven.leases import checkpoint_at
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.scenario import Stage, samples, until_received
from tests.support.driven.service import Service, consumer, environment, service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator
from tests.support.faults.proxy import ACCESS_DENIED, fault_proxy, swallow

SHARDS = ("shardId-000000000000", "shardId-000000000001")
LAG, OWNER, PROBLEM = "consumer_checkpoint_lag_seconds", "consumer_lease_owner_info", "consumer_shard_problem_info"
AT = "consumer_status_timestamp_seconds"


@contextmanager
def watcher(variables: Mapping[str, str], log: Path, host: str = LOOPBACK) -> Iterator[Service]:
    """The watcher, which checks every second."""
    port = free_port()
    command = ("consumer", "status", "--serve", f"{host}:{port}", "--every", "1")
    with service({**variables, "CONSUMER_METRICS_ADDRESS": f"{LOOPBACK}:{port}"}, log, command) as running:
        yield running


def until_checked(running: Service, after: float = 0.0) -> None:
    """Waits until `/metrics`, which is renewed once a second, has a check later than `after`."""
    until(lambda: values(running, AT).get((), 0) > after, "a check")


def values(running: Service, metric: str) -> dict[tuple[str, ...], float]:
    """The values of a metric, by the values of its labels, the shard first."""
    found = [each for each in running.samples() if each.name == metric]
    return {tuple(value for _, value in sorted(each.labels.items(), reverse=True)): each.value for each in found}


def reasons(running: Service, path: str) -> str:
    status, body = running.get(path)
    document: dict[str, Any] = json.loads(body)
    assert (status == http.client.OK) == document["ok"]
    return "; ".join(document["reasons"])


def logged(running: Service, message: str) -> list[str]:
    return [line.get("cause", "") for line in running.lines() if line["message"] == message]


def test_it_shows_a_service_from_before_its_start_to_after_its_death(stage: Stage, tmp_path: Path) -> None:
    made = samples(seed=16, count=400)
    with watcher(stage.variables, tmp_path / "watcher") as watching:
        until_checked(watching)
        assert values(watching, "consumer_stream_open_shards") == {(): 2}
        assert values(watching, "consumer_stream_retention_seconds") == {(): 86_400}
        assert values(watching, LAG) == {(shard,): 0 for shard in SHARDS}
        assert values(watching, PROBLEM) == {(shard, "unowned"): 1 for shard in SHARDS}
        assert (values(watching, OWNER), values(watching, "consumer_workers_alive")) == ({}, {(): 0})
        until(lambda: values(watching, "consumer_quarantine_records") == {(): 0}, "the quarantine to be counted")

        stage.put(made)
        until(lambda: all(values(watching, LAG).values()), "the lag to grow")
        assert values(watching, PROBLEM).keys() >= {(shard, "at-trim-horizon") for shard in SHARDS}

        with service({**stage.variables, "CONSUMER_WORKER_ID": "worker-1"}, tmp_path / "log") as running:
            until_received(running, len(made))
            until(lambda: values(watching, OWNER) == {(shard, "worker-1"): 1 for shard in SHARDS}, "the owner")
            until(lambda: set(values(watching, LAG).values()) == {0}, "the lag to fall to 0")
            until(lambda: not values(watching, PROBLEM), "all to be well")
            assert values(watching, "consumer_workers_alive") == {(): 1}
            assert running.stop() == 0

        until(lambda: values(watching, "consumer_workers_alive") == {(): 0}, "the death to be noticed")
        assert values(watching, PROBLEM)
        assert watching.stop() == 0
    assert {line["level"] for line in watching.lines()} == {"INFO"}


def test_it_counts_the_quarantine_and_has_no_lag_where_none_is_known(stage: Stage, tmp_path: Path) -> None:
    stage.put(samples(seed=17, count=50))
    checkpoint_at(stage, SHARDS[0], "LATEST", 0)
    position = Position(stage.variables["CONSUMER_STREAM_NAME"], SHARDS[0], "1")
    stage.quarantine().put([Quarantined(Record(position, b"poison", 0), "JSON", "put there by a test")])
    with watcher(stage.variables, tmp_path / "watcher") as watching:
        until(lambda: values(watching, "consumer_quarantine_records") == {(): 1}, "the quarantine to be counted")
        until_checked(watching)
        assert values(watching, LAG).keys() == {(SHARDS[1],)}
        assert logged(watching, "lag cannot be read") == ["the checkpoint is LATEST"]


def test_without_tables_it_is_not_ready_and_keeps_trying(aws: Emulator, tmp_path: Path) -> None:
    variables = environment("not-there-yet", tmp_path, AWS_ENDPOINT_URL=aws.endpoint)
    with watcher(variables, tmp_path / "watcher") as watching:
        until(lambda: "ResourceNotFoundException" in watching.get("/readyz")[1], "the reason")
        assert watching.get("/livez")[0] == watching.get("/healthz")[0] == http.client.OK
        assert {sample.name for sample in watching.samples()} <= {"consumer_quarantine_records"}
        stream = Stage(variables).kinesis()
        stream.create_stream(StreamName=variables["CONSUMER_STREAM_NAME"], ShardCount=2)
        until(lambda: "lease table not-there-yet-app does not exist" in watching.get("/readyz")[1], "the next reason")
        consumer(variables, "provision")
        until_checked(watching)
        assert values(watching, "consumer_stream_open_shards") == {(): 2}
        assert watching.stop() == 0
    assert logged(watching, "status can be read again") == [""]


def test_in_an_outage_facts_vanish_and_the_watcher_lives_and_stops_at_once(stage: Stage, tmp_path: Path) -> None:
    with fault_proxy(stage.variables["AWS_ENDPOINT_URL"]) as proxy:
        variables = {**stage.variables, "AWS_ENDPOINT_URL": proxy.endpoint}
        with watcher(variables, tmp_path / "watcher") as watching:
            until_checked(watching)
            with proxy.fault(ACCESS_DENIED):
                until(lambda: not values(watching, LAG), "the facts to vanish")
                (seen,) = values(watching, AT).values()
                assert values(watching, "consumer_stream_open_shards") == values(watching, OWNER) == {}
                assert "AccessDeniedException" in reasons(watching, "/readyz")
                assert reasons(watching, "/livez") == reasons(watching, "/healthz") == ""
                assert probe({"CONSUMER_METRICS_ADDRESS": watching.address}).ok, "the health check of a container"
            until_checked(watching, after=seen)
            assert reasons(watching, "/readyz") == ""
            assert set(values(watching, LAG)) == {(shard,) for shard in SHARDS}
            causes = logged(watching, "status cannot be read")
            assert len(causes) == len(set(causes))

            with proxy.fault(swallow) as hole:
                until(lambda: hole.hits, "a request that is not answered")
                assert watching.get("/metrics")[0] == http.client.OK
                assert watching.stop(within=5) == 0


def test_one_refused_read_hides_one_figure(stage: Stage, tmp_path: Path) -> None:
    with fault_proxy(stage.variables["AWS_ENDPOINT_URL"]) as proxy:
        proxy.impose(ACCESS_DENIED, "GetRecords")
        with watcher({**stage.variables, "AWS_ENDPOINT_URL_KINESIS": proxy.endpoint}, tmp_path / "watcher") as watching:
            until_checked(watching)
            assert values(watching, LAG) == {}
            assert values(watching, "consumer_stream_open_shards") == {(): 2}
            until(lambda: logged(watching, "lag cannot be read"), "the cause in the log")
            assert set(logged(watching, "lag cannot be read")) == {"AccessDeniedException"}
