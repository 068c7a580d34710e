"""Commands that run for long outlast an outage of some minutes, and no longer one."""

from collections.abc import Iterator

import pytest

from consumer.admin.retries import TRIES, for_minutes
from consumer.engine.errors import Unavailable


def answers(failures: int) -> Iterator[str]:
    for number in range(failures):
        yield f"failure {number}"
    yield "done"


def attempt(found: Iterator[str]) -> str:
    answer = next(found)
    if answer != "done":
        raise Unavailable(answer)
    return answer


@pytest.mark.parametrize("failures", [0, 1, TRIES - 1])
def test_an_outage_is_outlasted(failures: int) -> None:
    found, slept = answers(failures), list[float]()
    assert for_minutes("read", lambda: attempt(found), slept.append) == "done"
    assert len(slept) == failures


def test_a_longer_one_ends_with_its_last_cause() -> None:
    found, slept = answers(TRIES), list[float]()
    with pytest.raises(Unavailable, match=f"failure {TRIES - 1}"):
        for_minutes("read", lambda: attempt(found), slept.append)
    assert 120 < sum(slept) < 360
