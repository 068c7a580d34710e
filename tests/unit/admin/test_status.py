"""The problems of each shard, and states that only resemble problems."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from consumer.admin import status
from consumer.admin.status import Lag, Problem, Quarantine, Seen, Shard, ShardStatus, Status, Stream
from consumer.leases.kcl_tables import Layout, Lease, Lock, Report, Tables

OPEN, CLOSED = True, False
AT_TIP = Lag(0.0)


def lease(shard: str = "a", owner: str | None = "w1", checkpoint: str = "123", counter: int = 1) -> Lease:
    return Lease(shard, owner, checkpoint, 0, counter, 0)


def tables(*leases: Lease, reports: Sequence[Report] = (), leader: str | None = "w1") -> Tables:
    return Tables(Layout.THREE_TABLES, leases, reports, Lock(leader, "1") if leader else None)


def statuses(
    shards: Sequence[Shard], *leases: Lease, stale: Sequence[str] = (), lags: Mapping[str, Lag] | None = None
) -> dict[str, ShardStatus]:
    """By shard; w1 is alive."""
    found = status.shards(shards, tables(*leases), lags or {}, alive=["w1"], stale=stale)
    return {each.name: each for each in found}


def problems(shards: Sequence[Shard], *leases: Lease, stale: Sequence[str] = ()) -> dict[str, Sequence[str]]:
    return {name: each.problems for name, each in statuses(shards, *leases, stale=stale).items() if each.problems}


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (lease(), None),
        (lease(owner=None), Problem.UNOWNED),
        (lease(owner="w2"), Problem.OWNER_SILENT),
        (lease(checkpoint="TRIM_HORIZON"), Problem.AT_TRIM_HORIZON),
        (lease(owner=None, checkpoint="SHARD_END"), None),
    ],
)
def test_the_problem_of_a_lease(found: Lease, problem: Problem | None) -> None:
    assert problems([Shard("a", OPEN)], found) == ({"a": (problem,)} if problem else {})


def test_an_open_shard_without_a_lease_is_a_problem() -> None:
    assert problems([Shard("a", OPEN)]) == {"a": (Problem.NO_LEASE,)}


def test_a_lease_that_is_not_renewed_is_a_problem_although_its_owner_reports() -> None:
    assert problems([Shard("a", OPEN)], lease(), stale=["a"]) == {"a": (Problem.NOT_RENEWED,)}


def test_an_empty_shard_needs_no_checkpoint() -> None:
    found = statuses([Shard("a", OPEN)], lease(checkpoint="TRIM_HORIZON"), lags={"a": AT_TIP})
    assert found["a"].problems == ()


def test_a_checkpoint_that_the_stream_refuses_is_a_problem() -> None:
    found = statuses([Shard("a", OPEN)], lease(), lags={"a": Lag(None, "InvalidArgumentException", refused=True)})
    assert found["a"].problems == (Problem.CHECKPOINT_REFUSED,)


@pytest.mark.parametrize(("origins", "foreign"), [([], None), ([None, "here"], None), (["here", "there"], "there")])
def test_leases_of_another_stream_are_a_problem_of_all(origins: list[str | None], foreign: str | None) -> None:
    leases = [replace(lease(str(number)), origin=origin) for number, origin in enumerate(origins)]
    stream = Stream("events", "ACTIVE", 24, [], "here")
    found = Status(0.0, "app", stream, tables(*leases), [], [], Quarantine("dir:q", 0))
    assert found.foreign == foreign
    assert found.to_json()["problems"] == (["leases-of-another-stream"] if foreign else [])


def test_a_shard_that_expired_before_it_was_read_is_a_problem() -> None:
    assert problems([], lease(), lease("b", checkpoint="SHARD_END")) == {"a": (Problem.LEFT_UNREAD,)}


FAMILY = [Shard("p", CLOSED), Shard("a", OPEN, ("p",)), Shard("b", OPEN, ("p",))]


def test_children_without_a_lease_wait_for_their_parent() -> None:
    found = statuses(FAMILY, lease("p"))
    assert {name: each.waits_for for name, each in found.items()} == {"p": (), "a": ("p",), "b": ("p",)}
    assert all(not each.problems and not each.done for each in found.values())


def test_a_child_with_a_lease_at_its_start_waits_without_a_problem() -> None:
    found = statuses(FAMILY, lease("p"), lease("a", checkpoint="TRIM_HORIZON"))
    assert (found["a"].waits_for, found["a"].problems) == (("p",), ())


def test_once_the_parent_has_ended_its_children_must_have_leases() -> None:
    found = statuses(FAMILY, lease("p", checkpoint="SHARD_END"), lease("a"))
    assert found["b"].problems == (Problem.NO_LEASE,)
    assert (found["p"].done, found["a"].done) == (True, False)


def test_a_parent_whose_lease_was_removed_is_done() -> None:
    found = statuses(FAMILY, lease("a"), lease("b"))
    assert found["p"].done
    assert all(not each.problems and not each.waits_for for each in found.values())


def test_a_closed_shard_that_was_never_started_is_a_problem() -> None:
    assert problems(FAMILY) == {"p": (Problem.NO_LEASE,)}


def test_no_shard_waits_for_a_parent_that_has_left_the_stream() -> None:
    assert problems([Shard("a", OPEN, ("gone",))]) == {"a": (Problem.NO_LEASE,)}


def test_a_merged_shard_waits_for_both_parents() -> None:
    shards = [Shard("p", CLOSED), Shard("q", CLOSED), Shard("a", OPEN, ("p", "q"))]
    assert statuses(shards, lease("p"), lease("q"))["a"].waits_for == ("p", "q")
    assert statuses(shards, lease("p", checkpoint="SHARD_END"), lease("q"))["a"].waits_for == ("q",)


def test_workers_are_those_that_report_own_leases_or_lead() -> None:
    found = status.workers(
        tables(lease(), lease("b"), lease("c", "gone"), lease("d", "w2", "SHARD_END"), reports=[Report("w1", 95, {})]),
        now=100.0,
        silent_after=6.0,
    )
    assert [(each.name, each.leases, each.silent_seconds, each.alive, each.leader) for each in found] == [
        ("gone", 1, None, False, False),
        ("w1", 2, 5.0, True, True),
    ]


def test_a_worker_is_silent_when_its_report_is_old() -> None:
    (worker,) = status.workers(tables(reports=[Report("w1", 90, {})]), now=100.0, silent_after=6.0)
    assert (worker.alive, worker.silent_seconds) == (False, 10.0)


def test_no_worker_is_silent_because_the_local_clock_is_behind() -> None:
    (worker,) = status.workers(tables(reports=[Report("w1", 110, {})]), now=100.0, silent_after=6.0)
    assert (worker.alive, worker.silent_seconds) == (True, 0.0)


def test_a_lease_is_not_renewed_if_its_counter_is_unchanged_for_too_long() -> None:
    first = status.watched({}, [lease(counter=7), lease("b"), lease("c", None)], now=10.0)
    second = status.watched(first, [lease(counter=7), lease("b", counter=2), lease("c", None)], now=14.0)
    assert status.not_renewed(second, 14.0, seconds=5.0) == frozenset()
    third = status.watched(second, [lease(counter=7), lease("b", counter=2), lease("c", None)], now=18.0)
    assert status.not_renewed(third, 18.0, seconds=5.0) == {"a"}
    assert third["b"] == Seen(2, "w1", 14.0)
    moved = status.watched(third, [lease(owner="w2", counter=7)], now=30.0)
    assert status.not_renewed(moved, 30.0, seconds=5.0) == frozenset()
