"""The benchmark measures the record processors of a worker as the service starts them: alone, or as forks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench import forks, load, shards
from bench.child import Failed, Shape
from bench.contenders import Service
from bench.forks import FORK_FROM
from bench.load import Load
from bench.store import Store, in_memory
from tests.support.driven.service import command_line, gone
from tests.support.driven.waiting import until

FEW = 200
"""Users of a shard, and paid events."""


@pytest.fixture
def store() -> Iterator[Store]:
    with in_memory() as running:
        yield running


def loads(count: int) -> Sequence[Load]:
    return [load.realistic(FEW, first=FEW * number) for number in range(count)]


def test_enough_record_processors_are_forks(store: Store, tmp_path: Path) -> None:
    made = loads(FORK_FROM)
    store.create("forked")
    with forks.started(Service().command(store, "forked", tmp_path), FORK_FROM, tmp_path) as group:
        before = group.cpu_seconds()
        for child, each in zip(group.children, made, strict=True):
            child.deliver(each.events, Shape(), first=1)
        processors, waiting = group.record_processors(), {each.pid for each in group.children}
        until(lambda: not any("consumer" in command_line(each) for each in waiting), "the small programs")

        assert len(processors) == len(waiting) == FORK_FROM
        assert {command_line(each).endswith("consumer fork-server") for each in processors} == {True}
        assert group.all_processes() == processors | waiting | {group.fork_server}
        assert group.cpu_seconds() > before
        everything = list(group.all_processes())
    gone(everything)
    Service().check(store.items("forked"), [event for each in made for event in each.events])


def test_fewer_are_not(store: Store, tmp_path: Path) -> None:
    store.create("alone")
    count = FORK_FROM - 1
    with forks.started(Service().command(store, "alone", tmp_path), count, tmp_path) as group:
        assert group.all_processes() == group.record_processors() == {each.pid for each in group.children}
        assert len(group.children) == count
        everything = list(group.all_processes())
    gone(everything)


def test_record_processors_that_were_not_forked_are_an_error(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "FORK_SERVER", "unknown-command")
    starting = forks.started(Service().command(store, "none", tmp_path), FORK_FROM, tmp_path)
    with pytest.raises(Failed, match=f"(?s)0 of {FORK_FROM} record processors were forked: .*unknown-comm"), starting:
        pass


def test_the_memory_a_shard_is_less_when_it_is_shared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "COUNTS", (1, FORK_FROM))
    monkeypatch.setattr(shards, "WARM", FEW)
    monkeypatch.setattr(shards, "TOGETHER", 10 * FEW)  # more than the clock's tick of 10 ms
    figures, (memory, cpu) = shards.measure(store, lambda _: None)

    alone, forked = figures
    assert (alone.key, forked.key) == ("memory-1", f"memory-{FORK_FROM}")
    assert forked.value < 0.9 * alone.value
    assert memory.points == [(1, alone.value), (FORK_FROM, forked.value)]
    assert [at for at, _ in cpu.points] == [1, FORK_FROM]
    assert all(micros > 0 for _, micros in cpu.points)
