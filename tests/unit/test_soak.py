"""What the soak draws, and how it tells memory that grows from memory that does not."""

from collections.abc import Callable
from itertools import islice

import pytest

from tests.support.driven.memory import JVM, RECORD_PROCESSOR, SUPERVISOR, Reading, longest_lives
from tests.support.driven.soak import Plan, memory_problems
from tests.support.faults.chaos import ACTIONS, KILL, draw

LONG = Plan(seconds=600, seed=1)


def test_a_seed_draws_the_same_strikes_again() -> None:
    assert list(islice(draw(7), 50)) == list(islice(draw(7), 50))
    assert list(islice(draw(7), 50)) != list(islice(draw(8), 50))


@pytest.mark.parametrize("seed", range(5))
def test_the_first_one_is_a_kill(seed: int) -> None:
    assert next(draw(seed)).name == KILL


def test_every_fault_comes_before_one_comes_twice() -> None:
    drawn = [fault.name for fault in islice(draw(7), 2 * len(ACTIONS))]
    assert sorted(drawn[: len(ACTIONS)]) == sorted(ACTIONS) == sorted(drawn[len(ACTIONS) :])


def taken(size: Callable[[int], float], seconds: int = 300) -> list[Reading]:
    """Every second, one process of each role; `size` is the record processor's at a time, in MiB."""
    roles = {SUPERVISOR: lambda _: 40.0, JVM: lambda _: 400.0, RECORD_PROCESSOR: size}
    return [
        Reading(time, role, number, of(time))
        for time in range(seconds)
        for number, (role, of) in enumerate(roles.items())
    ]


def told(readings: list[Reading], plan: Plan = LONG) -> list[str]:
    return memory_problems(plan, readings, longest_lives(readings, plan.warm_up, record_processors=1))


def test_memory_that_stays_is_no_problem() -> None:
    assert told(taken(lambda time: 70.0 + time % 10)) == []


def test_growth_while_it_warms_up_does_not_count() -> None:
    assert told(taken(lambda time: min(70.0, 10.0 + time))) == []


def test_memory_that_grows_is_told() -> None:
    assert told(taken(lambda time: 40.0 + time / 10)) == ["record processor grew by 23.9 MiB in 239 s"]


def test_too_much_is_told_of_the_shortest_life_too() -> None:
    assert told([*taken(lambda _: 70.0), Reading(1, RECORD_PROCESSOR, 9, 500.0)]) == ["record processor used 500 MiB"]


def test_nobody_who_lived_long_enough_is_told() -> None:
    assert told(taken(lambda _: 70.0, seconds=50)) == [
        f"no {role} lived long enough to show growth" for role in (JVM, RECORD_PROCESSOR, SUPERVISOR)
    ]


@pytest.mark.parametrize("seconds", [60.0, 299.0])
def test_a_short_run_is_asked_for_the_most_alone(seconds: float) -> None:
    growing = taken(lambda time: 40.0 + time)
    assert told(growing, Plan(seconds=seconds, seed=1)) == ["record processor used 339 MiB"]
