"""A position as text: it can be pasted into a shell, and is unique."""

import shlex
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.records import Position

ODD = (
    *("", "%", "%25", ".", "..", "a/b", "a b", "\t", "\n", "\x1b[31m"),
    *("'", "$(x)", "\u00e9", "\ud800", "1-1", "-", "-1", "~"),
)
PARTS = st.text(st.characters(exclude_categories=()))


def test_an_ordinary_position_is_written_as_it_is() -> None:
    position = Position("my.stream_1-x", "shardId-000000000001", "4965")
    assert str(position) == "my.stream_1-x/shardId-000000000001/4965"
    assert str(Position("s", "shardId-000000000001", "4965", 2)) == "s/shardId-000000000001/4965-2"


@pytest.mark.parametrize("part", ODD, ids=ascii)
def test_an_odd_position_is_one_word_to_a_shell_and_harmless_to_a_terminal(part: str) -> None:
    text = str(Position(part, part, part, 3))
    assert text.isascii()
    assert text.isprintable()
    assert shlex.quote(text) == text
    assert not text.startswith("-"), "an option"


def test_no_two_positions_are_written_alike() -> None:
    positions = [Position(*parts, sub) for parts in product(ODD, ODD, ODD) for sub in (0, 1)]
    assert len({str(position) for position in positions}) == len(positions)
    assert [Position.parse(str(position)) for position in positions] == positions


@given(PARTS, PARTS, PARTS, st.integers(0, 10**6))
def test_a_position_is_read_as_it_was_written(stream: str, shard: str, sequence: str, sub: int) -> None:
    position = Position(stream, shard, sequence, sub)
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize("text", ["", "4965", "s/4965", "a/s/4965/1", "//4965", "s//4965", "s/x/", "/x/4965"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="STREAM/SHARD/SEQUENCE"):
        Position.parse(text)
