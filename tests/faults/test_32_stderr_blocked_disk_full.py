"""Row 32: stderr is not read, or the disk is full. The service keeps running and loses nothing."""

import os
import signal
from http import HTTPStatus
from itertools import tee
from pathlib import Path

import pytest

from consumer.engine.errors import Reason
from consumer.limits.sample import Sample
from consumer.settings import Settings
from consumer.supervisor.relay import LINES
from tests.faults.conftest import Note
from tests.support.driven.leases import lost, owed
from tests.support.driven.scenario import Stage, endless, poison, until_equal
from tests.support.driven.service import RUN, service
from tests.support.driven.trial import Trial
from tests.support.driven.waiting import until
from tests.support.faults.small_disk import fill, seen_by

SHARDS = 2
DISK = "32m"


def test_32_stderr_full(stage: Stage, seed: int, tmp_path: Path) -> None:
    """The pipe is full from the start. More is logged than is buffered, and the daemon is restarted meanwhile."""
    with service(stage.variables, tmp_path / "log", ("tests.support.faults.blocked_stderr", "full", *RUN)) as running:
        trial = Trial(stage, running, endless(seed))
        trial.put(500)
        trial.put_these([Sample(f"{n}", b"%d" % n, None, Reason.NOT_OBJECT) for n in range(LINES + 200)])
        trial.until_settled()
        before = trial.processes()
        os.kill(running.record_processors()[0], signal.SIGKILL)
        until(lambda: len(trial.processes() - before) == 1 + SHARDS, "the daemon to start again", seconds=120)
        trial.put(500)
        trial.until_settled()
        assert running.stop() == 0
    assert not running.log.read_bytes(), "all that was said went to stderr"


def test_32_stderr_closed(stage: Stage, seed: int, tmp_path: Path) -> None:
    with service(stage.variables, tmp_path / "log", ("tests.support.faults.blocked_stderr", "closed", *RUN)) as running:
        trial = Trial(stage, running, endless(seed))
        trial.put(500)
        trial.until_settled()
        assert running.stop() == 0
    assert not running.log.read_bytes()


def test_32_disk_full(stage: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    """The run directory with its metrics files, the quarantine, what is temporary: all on one small disk.

    Limits are kept all the while. The daemon can start again; its record processors, without room for metrics files,
    work without. A record that cannot be quarantined waits, and no checkpoint passes it.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    variables = {
        **stage.variables,
        "TMPDIR": str(disk),
        "CONSUMER_QUARANTINE": f"dir:{disk / 'quarantine'}",
        "CONSUMER_JAVA_OPTIONS": f"{Settings.model_fields['java_options'].default} -Djava.io.tmpdir={disk}",
    }
    history, again = tee(endless(seed))
    sound = (sample for sample in again if not sample.poison_reason)
    with service(variables, tmp_path / "log", ("tests.support.faults.small_disk", str(disk), DISK, *RUN)) as running:
        inside = seen_by(running.process.pid, disk)
        seen = Stage({**variables, "CONSUMER_QUARANTINE": f"dir:{inside / 'quarantine'}"})
        trial = Trial(seen, running, sound)
        trial.put(500)
        trial.until_settled()
        before = trial.processes()
        filler = fill(inside)
        with pytest.raises(OSError, match="No space left"):
            (inside / "more").write_bytes(bytes(1))

        trial.put(500)
        settled(trial)
        assert trial.processes() == before, "nothing ended"
        os.kill(running.record_processors()[0], signal.SIGKILL)
        # no requests to the supervisor meanwhile: it would clean up and free space
        # The daemon may start one more before it exits.
        until(lambda: len(trial.logged("shard started")) >= 2 * SHARDS, "all to start again", seconds=120)
        assert len(trial.logged("metrics disabled: no free space for their files")) >= SHARDS
        trial.put(500)
        settled(trial)

        fill(inside)  # the exited processes left free space for a few records
        trial.source = history
        trial.put(1_600)
        trial.until_logged("waiting", part="quarantine")
        assert owed(seen) > 0
        assert lost(seen) == []
        assert running.get("/livez")[0] == HTTPStatus.OK
        filler.unlink()
        settled(trial)
        assert poison(trial.made)
        assert list(inside.rglob("*.tmp")) == [], "nothing half written is left"
        assert len(trial.logged("daemon started")) == 2
        assert running.stop() == 0
    note(f"{len(trial.logged('waiting'))} lines about waiting for room")


def settled(trial: Trial) -> None:
    """Like Trial.until_settled, without the counts: record processors without free space keep no metrics."""
    until(lambda: owed(trial.stage) == 0, "the checkpoints")
    until_equal(trial.stage, trial.made)
    assert trial.stage.quarantined() == poison(trial.made)
    assert lost(trial.stage) == []
