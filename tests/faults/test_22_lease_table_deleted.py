"""Row 22: KCL's lease table is deleted while a worker runs, and with it all checkpoints."""

import time
from pathlib import Path

from tests.faults.conftest import Note
from tests.support.driven.leases import BEGINNING, leases
from tests.support.driven.scenario import Stage, endless
from tests.support.driven.service import consumer, service
from tests.support.driven.trial import Trial
from tests.support.driven.waiting import until

LATER = 100


def test_22_lease_table_deleted(stage: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    """The worker exits with the cause. After `consumer provision` everything is read again, and nothing changes."""
    application = stage.variables["CONSUMER_APPLICATION_NAME"]
    source = endless(seed)
    with service({**stage.variables, "CONSUMER_RESTARTS": "0"}, tmp_path / "first.log") as running:
        trial = Trial(stage, running, source)
        trial.put(400)
        trial.until_settled()
        stage.dynamodb().delete_table(TableName=application)
        trial.put(LATER)
        assert running.process.wait(120) == 1
        (last,) = trial.logged("giving up: the daemon exited more often than allowed")
        assert last["cause"].endswith("CheckpointRefused: InvalidStateException")

    # without the leader lock the next worker need not wait until it expires
    stage.dynamodb().delete_table(TableName=f"{application}-CoordinatorState")
    consumer(stage.variables, "provision")
    assert {lease.checkpoint for lease in leases(stage).values()} == {BEGINNING}
    start = time.monotonic()
    with service(stage.variables, tmp_path / "second.log") as running:
        again = Trial(stage, running, source, trial.made)
        until(lambda: again.running.received() >= len(again.made), "all to be read again", seconds=180)
        again.until_settled()
        note(f"{len(again.made)} records read again and settled {time.monotonic() - start:.1f} s after the start")
        assert again.metric("consumer_state_writes_total") <= LATER, "what was stored is not written again"
        assert again.delivered() == len(again.made), "each once"
        assert running.stop() == 0
