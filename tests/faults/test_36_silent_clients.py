"""Row 36: a scanner holds hundreds of connections to the metrics port and says nothing. Whoever asks is answered."""

import time
from pathlib import Path

from consumer.monitoring.server import CONNECTIONS, SECONDS
from tests.faults.conftest import Tell
from tests.support.driven.clients import slow_clients
from tests.support.driven.scenario import Stage, endless
from tests.support.driven.service import Service, consumer
from tests.support.driven.trial import started_trial, undisturbed

SILENT = 10 * CONNECTIONS
CHECKS = 40


def test_36_silent_clients(stage: Stage, seed: int, tmp_path: Path, tell: Tell) -> None:
    """From this machine, so that nothing tells them from the container's own check; one that is cut off comes back."""
    with started_trial(stage, stage.variables, tmp_path, endless(seed)) as trial, undisturbed(trial):
        port = int(trial.running.address.rpartition(":")[2])
        with slow_clients(port, SILENT):
            took = [checked(trial.running) for _ in range(CHECKS)]
            assert [consumer(stage.variables, "doctor", "--live") for _ in range(5)] == ["ok\n"] * 5
            trial.put(500)
            trial.until_settled()
        tell(f"{CHECKS} of {CHECKS} checks answered among {SILENT} silent clients, after {max(took):.2f} s at the most")


def checked(running: Service) -> float:
    """The seconds that a check took, as an orchestrator makes it: within its timeout, and not tried again."""
    start = time.monotonic()
    assert running.get("/livez")[0] == 200
    seconds = time.monotonic() - start
    assert seconds < SECONDS
    return seconds
