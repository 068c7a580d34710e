"""Limits in files lead to the same as limits in memory."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.admin.partitions import Partitions, Value, hash_of, share_of
from consumer.engine.repository import Unreadable
from consumer.limits.state import LimitState, merge
from tests.support.generators.events import created, progress_changed, reset
from tests.unit.limits.test_comparison import state_of

STATES = [
    state_of(create(number, userId=f"u-{user}", userLimitId=f"l-{limit}"))
    for number, create in enumerate((created, progress_changed, reset), 1)
    for user in range(5)
    for limit in range(2)
]


def joined(left: Value, right: Value) -> Value:
    assert isinstance(left, LimitState)
    assert isinstance(right, LimitState)
    return merge(left, right)


def filled(folder: Path, states: list[LimitState], count: int, most: int) -> dict[tuple[str, ...], Value]:
    folder.mkdir(exist_ok=True)
    made = Partitions(folder, count, joined, most)
    for state in states:
        made.add((state.user_id, state.user_limit_id), state)
    parts = list(made.partitions())
    assert len(parts) == count
    found: dict[tuple[str, ...], Value] = {}
    for part in parts:
        assert not part.keys() & found.keys()
        found |= part
    return found


@given(st.lists(st.sampled_from(STATES)), st.integers(2, 4), st.integers(1, 5))
def test_any_order_in_any_number_of_files(
    tmp_path_factory: pytest.TempPathFactory, states: list[LimitState], count: int, most: int
) -> None:
    folders = (tmp_path_factory.mktemp("spilled"), tmp_path_factory.mktemp("kept"))
    assert filled(folders[0], states, count, most) == filled(folders[1], states, 1, most)


def test_a_single_partition_is_in_memory(tmp_path: Path) -> None:
    assert len(filled(tmp_path, STATES, 1, 1)) == 10
    assert list(tmp_path.iterdir()) == []


def test_rows_that_cannot_be_read_are_kept(tmp_path: Path) -> None:
    made = Partitions(tmp_path, 2, lambda _, right: right, 1)
    row = Unreadable(("u", "l"), "row 0: no number")
    made.add(("u", "l"), row)
    assert [part for part in made.partitions() if part] == [{("u", "l"): row}]


def test_a_user_has_the_same_place_always() -> None:
    assert hash_of("u-1") == 2885068504905809513
    shares = [share_of(f"u-{number}") for number in range(2_000)]
    assert 60 < sum(share < 0.05 for share in shares) < 140
