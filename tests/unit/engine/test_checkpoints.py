"""The checkpoint policy."""

import pytest

from consumer.engine.checkpoints import CheckpointPolicy, CheckpointState
from tests.support.generators.events import position

POLICY = CheckpointPolicy(seconds=5, records=100)
FRESH = CheckpointState(last=1_000)


@pytest.mark.parametrize(
    ("records", "now", "due"),
    [
        (1, 1_000, False),
        (99, 1_004.9, False),
        (1, 1_005, True),
        (100, 1_000, True),
        (10_000, 1_000, True),
    ],
    ids=["at once", "just before both", "time is up", "enough records", "many records"],
)
def test_after_so_much_time_or_so_many_records(records: int, now: float, due: bool) -> None:
    assert FRESH.advance(position(1), records).due(POLICY, now) is due


def test_records_of_several_batches_count_together() -> None:
    state = FRESH.advance(position(1), 60)
    assert not state.due(POLICY, 1_000)
    assert state.advance(position(2), 40).due(POLICY, 1_000)


@pytest.mark.parametrize("now", [1_000, 9_999])
def test_never_when_nothing_is_settled(now: float) -> None:
    assert not FRESH.due(POLICY, now)
    assert not FRESH.advance(None, 10_000).due(POLICY, now)


def test_at_the_last_position_that_is_settled() -> None:
    assert FRESH.advance(position(1), 1).advance(position(2), 1).settled == position(2)


def test_a_batch_that_settled_nothing_does_not_move_it() -> None:
    assert FRESH.advance(position(1), 1).advance(None, 1).settled == position(1)


def test_a_checkpoint_resets_the_state() -> None:
    state = FRESH.advance(position(1), 100).done(1_004)
    assert state == CheckpointState(last=1_004)
    assert not state.due(POLICY, 1_100)
    again = state.advance(position(2), 1)
    assert not again.due(POLICY, 1_008.9)
    assert again.due(POLICY, 1_009)
