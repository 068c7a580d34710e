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


# With an archive

ARCHIVED = CheckpointState(last=1_000, archives=True)


def test_what_is_not_archived_is_not_checkpointed() -> None:
    state = ARCHIVED.advance(position(2), 100)
    assert state.position is None
    assert not state.due(POLICY, 9_999)


def test_what_is_archived_and_not_settled_is_not_checkpointed() -> None:
    assert ARCHIVED.archive(position(2)).position is None
    assert not ARCHIVED.archive(position(2)).due(POLICY, 9_999)


@pytest.mark.parametrize(("settled", "archived"), [(9, 10), (10, 9), (9, 9)])
def test_the_lower_position_counts(settled: int, archived: int) -> None:
    state = ARCHIVED.advance(position(settled), 100).archive(position(archived))
    assert state.position == position(9)
    assert state.due(POLICY, 1_000)


def test_sequence_numbers_are_compared_as_numbers() -> None:
    nine, ten = (position()._replace(sequence=number) for number in ("9", "10"))
    assert ARCHIVED.advance(ten, 1).archive(nine).position == nine


@pytest.mark.parametrize("first", [1, 2])
def test_what_a_checkpoint_leaves_is_checkpointed_later(first: int) -> None:
    """Either part may be ahead of the other when a checkpoint is made."""
    state = ARCHIVED.advance(position(first), 100).archive(position(3 - first)).done(1_004)
    assert (state.position, state.records, state.last) == (None, 0, 1_004)
    later = state.advance(position(2), 1).archive(position(2))
    assert later.position == position(2)
    assert later.done(1_009).position is None
