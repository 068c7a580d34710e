"""The proof: what it puts on the stream, whom it kills, and how it reports a promise that is not kept."""

from collections import Counter
from itertools import islice, pairwise

import pytest

from tests.support.driven.proof import DISORDER, Plan, Result, checked, disordered
from tests.support.faults.chaos import KILL, kills

PLAN = Plan(events=2_000, kills=3, seed=5)


def test_events_are_duplicated_spoiled_and_out_of_order() -> None:
    made = disordered(PLAN)
    assert (len(made), disordered(PLAN)) == (PLAN.events, made)
    assert max(Counter(sample.data for sample in made).values()) > 1
    assert sum(sample.poison_reason is not None for sample in made) > 20
    times = [sample.event["createdAt"] for sample in made if sample.event]
    late = sum(later < earlier for earlier, later in pairwise(times))
    assert late > len(times) / 3
    assert max(times[: DISORDER // 2]) < min(times[-DISORDER // 2 :])


def test_only_kills_are_drawn_and_the_first_is_of_a_record_processor() -> None:
    drawn = [fault.name for fault in islice(kills(3), 8)]
    assert drawn[0] == KILL
    assert {name: name.startswith("kill -9") for name in drawn} == dict.fromkeys(drawn, True)
    assert len(set(drawn)) == 4


def test_a_promise_that_is_kept_has_its_figures() -> None:
    result = checked("nothing is lost", lambda: "7 records")
    assert (result.promise, result.found.partition(",")[0], result.wrong) == ("nothing is lost", "7 records", "")


@pytest.mark.parametrize(
    ("broken", "wrong"),
    [(AssertionError("2 lost"), "2 lost"), (AssertionError(), "not kept"), (TimeoutError("waited"), "waited")],
)
def test_a_promise_that_is_not_kept_says_why(broken: Exception, wrong: str) -> None:
    def check() -> str:
        raise broken

    assert checked("nothing is lost", check) == Result("nothing is lost", wrong=wrong)
