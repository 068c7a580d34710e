"""Row 15: the checkpoint at a shard's end fails, for a while or forever. The children start once it is made.

KCL starts the children once the parent's checkpoint is SHARD_END, and it reports the end only once. A record processor
that ignored the failure would leave the children unread forever.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from consumer.engine.checkpoints import CheckpointPolicy
from consumer.kcl.record_processor import ShardRules
from tests.faults.conftest import Note, stage_of
from tests.support.driven.leases import END, leases
from tests.support.driven.scenario import endless
from tests.support.driven.service import service
from tests.support.driven.shards import Shard, logged_at, shards, split
from tests.support.driven.trial import Trial, with_endpoints
from tests.support.driven.waiting import until
from tests.support.driven.workers import FAST_REBALANCING, consuming_since, with_properties
from tests.support.emulators.aws import Emulator
from tests.support.faults.proxy import FAILING, FaultProxy, Request, fault_proxy

pytestmark = pytest.mark.conformance

SECONDS = 5.0
ANSWER = "KinesisClientLibDependencyException"
SHARD_END_SECONDS = ShardRules(CheckpointPolicy(1, 1), batch_deadline=1).shard_end


@dataclass(frozen=True)
class Play:
    """The daemon reaches its leases through the proxy."""

    trial: Trial
    leases: FaultProxy

    def shard(self) -> Shard:
        """An open shard."""
        return next(shard for shard in shards(self.trial.stage).values() if shard.open)

    def ended(self, shard: Shard) -> bool:
        return leases(self.trial.stage)[shard.name].checkpoint == END

    def until_read(self, children: list[Shard]) -> None:
        """Waits until records of the children are settled, and checks the result."""

        def some() -> bool:
            self.trial.put(50)
            return {child.name for child in children} <= consuming_since(self.trial.running, 0)

        until(some, "records of the children", every=0.5)
        self.trial.until_settled()

    def in_order(self, parent: Shard, children: list[Shard]) -> bool:
        """Whether every child started after the end of its parent."""
        ended, started = (logged_at([self.trial.running], message) for message in ("shard ended", "shard started"))
        return all(started[child.name][0] > ended[parent.name][-1] for child in children)


@pytest.fixture(scope="module")
def play(streams: Emulator, tables: Emulator, seed: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    directory: Path = tmp_path_factory.mktemp("shard-end")
    stage = stage_of(1, streams, tables, directory, "shard-end")
    with fault_proxy(tables.endpoint, seed) as proxy:
        variables = {
            **stage.variables,
            **with_properties(directory, **FAST_REBALANCING),
            "AWS_ENDPOINT_URL_DYNAMODB": proxy.endpoint,
            "CONSUMER_FAILOVER_MILLIS": "20000",  # this tests the checkpoint, so the lease must not expire
        }
        command = with_endpoints(AWS_ENDPOINT_URL_DYNAMODB=tables.endpoint)
        with service(variables, directory / "log", command) as running:
            started = Play(Trial(stage, running, endless(seed)), proxy)
            started.trial.put(300)
            started.trial.until_settled()
            yield started
            assert running.stop() == 0


def test_15_checkpoint_at_shard_end_fails_for_5_seconds(play: Play, note: Note) -> None:
    """The same record processor retries it."""
    trial, parent = play.trial, play.shard()
    jvm, begun = trial.running.jvm(), time.monotonic()
    with play.leases.fault(FAILING, when=is_shard_end) as fault:
        children = split(trial.stage, parent)
        trial.put(100)
        until(lambda: failures(trial) >= 2 and time.monotonic() - begun > SECONDS, "it to fail twice")
        assert not play.ended(parent)
        assert trial.logged("shard ended") == []
    play.until_read(children)
    note(f"{failures(trial):.0f} tries failed, {fault.hits.total()} requests")
    assert play.ended(parent)
    assert play.in_order(parent, children)
    assert trial.logged("exiting") == []
    assert trial.running.jvm() == jvm


def test_15_checkpoint_at_shard_end_fails_for_ever(play: Play, note: Note) -> None:
    """The record processor finally exits; the restarted daemon reaches the end of the shard again."""
    trial, parent = play.trial, play.shard()
    processes = trial.processes()
    with play.leases.fault(FAILING, when=is_shard_end) as fault:
        children, begun = split(trial.stage, parent), time.monotonic()
        trial.put(100)
        trial.until_logged("exiting", shard=parent.name, callback="shard_ended", seconds=SHARD_END_SECONDS + 120)
        gave_up = time.monotonic() - begun
        until(lambda: len(trial.logged("daemon started")) == 2, "the daemon to start again")
        assert not play.ended(parent)
        assert not {child.name for child in children} & logged_at([trial.running], "shard started").keys()
    healed = time.monotonic()
    play.until_read(children)
    note(
        f"given up after {gave_up:.0f} s and {fault.hits.total()} requests;"
        f" children read and all settled {time.monotonic() - healed:.1f} s after healing"
    )
    assert gave_up > SHARD_END_SECONDS
    assert [line["error"].splitlines()[-1].partition(":")[0] for line in trial.logged("exiting")] == [
        "consumer.kcl.record_processor.NotCheckpointed"
    ]
    assert play.ended(parent)
    assert play.in_order(parent, children)
    assert not trial.processes() & processes


def is_shard_end(request: Request) -> bool:
    return request.operation == "UpdateItem" and END.encode() in request.body


def failures(trial: Trial) -> float:
    return trial.metric("consumer_checkpoints_total", result=ANSWER)
