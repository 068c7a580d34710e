"""Row 22: KCL's lease table is deleted under a worker, which cannot know any more what it has read."""

import time
from pathlib import Path

from tests.faults.conftest import Tell
from tests.support.driven.leases import BEGINNING, leases
from tests.support.driven.scenario import Stage, endless
from tests.support.driven.service import consumer, service
from tests.support.driven.trial import Trial
from tests.support.driven.waiting import until

LATER = 100


def test_22_lease_table_deleted(stage: Stage, seed: int, tmp_path: Path, tell: Tell) -> None:
    """The worker ends, saying why; made again by `consumer provision`, all is read once more, and nothing changes."""
    application = stage.variables["CONSUMER_APPLICATION_NAME"]
    source = endless(seed)
    with service({**stage.variables, "CONSUMER_RESTARTS": "0"}, tmp_path / "first.log") as running:
        trial = Trial(stage, running, source)
        trial.put(400)
        trial.until_settled()
        stage.dynamodb().delete_table(TableName=application)
        trial.put(LATER)
        assert running.process.wait(120) == 1
        (last,) = trial.logged("giving up: the daemon ended more often than allowed")
        assert last["cause"].endswith("CheckpointRefused: InvalidStateException")

    # with the leader's lock the next worker need not wait until it has run out
    stage.dynamodb().delete_table(TableName=f"{application}-CoordinatorState")
    consumer(stage.variables, "provision")
    assert {lease.checkpoint for lease in leases(stage).values()} == {BEGINNING}
    start = time.monotonic()
    with service(stage.variables, tmp_path / "second.log") as running:
        again = Trial(stage, running, source, trial.made)
        until(lambda: again.running.received() >= len(again.made), "all to be read again", seconds=180)
        again.until_settled()
        tell(f"{len(again.made)} records read again and settled {time.monotonic() - start:.1f} s after the start")
        assert again.metric("consumer_state_writes_total") <= LATER, "what was stored is not written again"
        assert again.delivered() == len(again.made), "each once"
        assert running.stop() == 0
