"""The faults that the soak draws, and how it distinguishes growing memory from stable memory."""

from collections.abc import Callable
from itertools import islice

import pytest

from tests.support.driven.memory import JVM, RECORD_PROCESSOR, SUPERVISOR, Reading, longest_lives
from tests.support.driven.soak import Plan, memory_problems
from tests.support.faults.chaos import ACTIONS, KILL, draw

LONG = Plan(seconds=600, seed=1)


def test_a_seed_draws_the_same_faults_again() -> None:
    assert list(islice(draw(7), 50)) == list(islice(draw(7), 50))
    assert list(islice(draw(7), 50)) != list(islice(draw(8), 50))


@pytest.mark.parametrize("seed", range(5))
def test_the_first_one_is_a_kill(seed: int) -> None:
    assert next(draw(seed)).name == KILL


def test_every_fault_comes_before_one_comes_twice() -> None:
    drawn = [fault.name for fault in islice(draw(7), 2 * len(ACTIONS))]
    assert sorted(drawn[: len(ACTIONS)]) == sorted(ACTIONS) == sorted(drawn[len(ACTIONS) :])


def taken(size: Callable[[int], float], seconds: int = 300) -> list[Reading]:
    """One process of each role, every second. `size`: MiB of the record processor at a time."""
    roles = {SUPERVISOR: lambda _: 40.0, JVM: lambda _: 400.0, RECORD_PROCESSOR: size}
    return [
        Reading(time, role, number, of(time))
        for time in range(seconds)
        for number, (role, of) in enumerate(roles.items())
    ]


def problems(readings: list[Reading], plan: Plan = LONG) -> list[str]:
    return memory_problems(plan, readings, longest_lives(readings, plan.warm_up, record_processors=1))


def test_memory_that_stays_is_no_problem() -> None:
    assert problems(taken(lambda time: 70.0 + time % 10)) == []


def test_growth_while_it_warms_up_does_not_count() -> None:
    assert problems(taken(lambda time: min(70.0, 10.0 + time))) == []


def test_growing_memory_is_reported() -> None:
    assert problems(taken(lambda time: 40.0 + time / 10)) == ["record processor grew by 23.9 MiB in 239 s"]


def test_too_much_memory_is_reported_even_for_the_shortest_life() -> None:
    assert problems([*taken(lambda _: 70.0), Reading(1, RECORD_PROCESSOR, 9, 500.0)]) == [
        "record processor used 500 MiB"
    ]


def test_the_absence_of_long_lives_is_reported() -> None:
    assert problems(taken(lambda _: 70.0, seconds=50)) == [
        f"no {role} lived long enough to show growth" for role in (JVM, RECORD_PROCESSOR, SUPERVISOR)
    ]


@pytest.mark.parametrize("seconds", [60.0, 299.0])
def test_a_short_run_is_checked_only_for_the_maximum(seconds: float) -> None:
    growing = taken(lambda time: 40.0 + time)
    assert problems(growing, Plan(seconds=seconds, seed=1)) == ["record processor used 339 MiB"]
