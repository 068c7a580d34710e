"""Row 36: a scanner keeps hundreds of connections to the metrics port open and sends nothing. Checks still succeed."""

import time
from pathlib import Path

from consumer.monitoring.server import CONNECTIONS, SECONDS
from tests.faults.conftest import Note
from tests.support.driven.clients import slow_clients
from tests.support.driven.scenario import Stage, endless
from tests.support.driven.service import Service, consumer
from tests.support.driven.trial import started_trial, undisturbed
from tests.support.driven.waiting import until

SILENT = 10 * CONNECTIONS
CHECKS = 40


def test_36_silent_clients(stage: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    """Local connections, like those of the container's own check. One that the server closes is opened again."""
    with started_trial(stage, stage.variables, tmp_path, endless(seed)) as trial, undisturbed(trial):
        until(lambda: trial.running.get("/healthz")[0] == 200, "the worker to be healthy")
        port = int(trial.running.address.rpartition(":")[2])
        with slow_clients(port, SILENT):
            took = [checked(trial.running) for _ in range(CHECKS)]
            assert [consumer(stage.variables, "doctor", "--live") for _ in range(5)] == ["ok\n"] * 5
            trial.put(500)
            trial.until_settled()
        note(f"{CHECKS} of {CHECKS} checks answered among {SILENT} silent clients, after {max(took):.2f} s at the most")


def checked(running: Service) -> float:
    """Runs one health check as an orchestrator does, without retry, and returns its duration in seconds."""
    start = time.monotonic()
    assert running.get("/livez")[0] == 200
    seconds = time.monotonic() - start
    assert seconds < SECONDS
    return seconds
