"""Events are merged one by one, and each has an outcome."""

import pytest

from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome, RecordOutcome, fold
from tests.support.generators.small_projection import Peak, Peaks, Reading


def readings(*numbers: int) -> list[Reading]:
    return [Reading("hill", number) for number in numbers]


def outcomes(stored: Peak | None, *numbers: int) -> list[Outcome]:
    return [record_outcome.outcome for record_outcome in fold(Peaks(), stored, readings(*numbers)).record_outcomes]


def test_nothing_changes_nothing() -> None:
    stored = Peak("hill", 5)
    assert fold(Peaks(), stored, []).state == stored
    assert fold(Peaks(), None, []).state is None


def test_the_first_event_makes_the_state() -> None:
    folded = fold(Peaks(), None, readings(5))
    assert folded.state == Peak("hill", 5)
    assert folded.record_outcomes == [RecordOutcome("READING", Outcome.APPLIED)]


def test_the_state_is_that_of_all_events_together() -> None:
    assert fold(Peaks(), Peak("hill", 1), readings(5, 9, 7)).state == Peak("hill", 9)


def test_what_moves_the_state_is_applied_what_repeats_it_is_a_duplicate_what_is_behind_is_stale() -> None:
    assert outcomes(None, 5, 5, 4, 6) == [Outcome.APPLIED, Outcome.DUPLICATE, Outcome.STALE, Outcome.APPLIED]
    assert outcomes(Peak("hill", 5), 5, 4, 6) == [Outcome.DUPLICATE, Outcome.STALE, Outcome.APPLIED]


def test_a_rejected_event_leaves_the_state_and_the_others_as_they_are() -> None:
    folded = fold(Peaks(), None, readings(5, -1, 6))
    assert folded.state == Peak("hill", 6)
    assert folded.rejects
    refused = folded.record_outcomes[1]
    assert refused.outcome is Outcome.QUARANTINED
    assert refused.rejected
    assert refused.rejected.reason is Reason.SCHEMA


def test_when_all_are_rejected_there_is_no_state() -> None:
    assert fold(Peaks(), None, readings(-1, -2)).state is None


@pytest.mark.parametrize(("number", "warnings"), [(1_000, ()), (1_001, ("high",))])
def test_warnings_go_with_the_event_that_caused_them(number: int, warnings: tuple[str, ...]) -> None:
    folded = fold(Peaks(), None, readings(5, number))
    assert [record_outcome.warnings for record_outcome in folded.record_outcomes] == [(), warnings]
    assert not folded.rejects
