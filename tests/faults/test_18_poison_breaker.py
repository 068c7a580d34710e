"""Row 18: only poison records, with the breaker set. The worker exits and logs the cause."""

from pathlib import Path

from consumer.limits.sample import Sample
from tests.faults.conftest import Note
from tests.support.driven.leases import lost, owed
from tests.support.driven.scenario import Stage, expected, poison, samples, until_equal
from tests.support.driven.waiting import until
from tests.support.driven.workers import worker
from tests.support.generators import corpus

BREAKER = 25
RESTARTS = 1
POISON = [
    Sample("", entry.content, None, entry.expected[0].reason)
    for entry in corpus.load()
    if entry.file.startswith("schema/") and entry.expected[0].reason
][: 4 * BREAKER]


def test_18_nothing_but_poison(stage: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    """Earlier records are applied. No poison is quarantined, as the service may be wrong; it can be read later."""
    good = [sample for sample in samples(seed, 300, users=20) if not sample.poison_reason]
    settings = {"CONSUMER_BREAKER": str(BREAKER), "CONSUMER_RESTARTS": str(RESTARTS)}
    stage.put([*good, *POISON])
    with worker(stage, tmp_path, "broken", CONSUMER_WORKER_ID="worker", **settings) as running:
        assert running.process.wait(120) == 1
        lines = running.lines()
    broken = [line["error"] for line in lines if line["message"] == "exiting"]
    assert broken
    assert all(f"BreakerOpen: {BREAKER} records in a row were rejected" in why for why in broken)
    assert [line["message"].partition(":")[0] for line in lines[-2:]] == ["giving up", "leases given back"]
    assert sum(line["message"] == "daemon started" for line in lines) == RESTARTS + 1
    assert stage.limits() == expected(good)
    assert not stage.quarantined()
    assert owed(stage) == len(good) + len(POISON)
    assert lost(stage) == []
    note(f"given up after {len(broken)} record processors have left: {broken[0].splitlines()[-1]}")

    later = [sample for sample in samples(seed + 1, 100, users=5) if not sample.poison_reason]
    with worker(stage, tmp_path, "mended", CONSUMER_WORKER_ID="worker") as running:
        stage.put(later)
        until_equal(stage, [*good, *later])
        until(lambda: owed(stage) == 0, "the last checkpoints")
        assert running.stop() == 0
    assert stage.quarantined() == poison(POISON)
    assert lost(stage) == []
