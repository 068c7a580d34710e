"""The simulated event source mapping, on which other tests rely, follows AWS's rules."""

from collections.abc import Callable, Sequence

import pytest

from consumer.engine.records import Record
from tests.support.driven.invocations import Clock, LambdaEvent
from tests.support.emulators.mapping import FunctionFailed, Mapping, Settings
from tests.support.generators.events import position, records

FIVE = records(*(str(n).encode() for n in range(1, 6)))
NUMBERS = [1, 2, 3, 4, 5]

Answers = Callable[[LambdaEvent], object]


def numbers(of: Sequence[Record]) -> list[int]:
    return [int(record.position.sequence) for record in of]


def failures(*identifiers: object) -> object:
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in identifiers]}


def sequence(number: int) -> str:
    return position(number).sequence


def in_turn(*answers: object) -> Answers:
    """Returns each answer once, then success; raises an answer that is an exception."""
    left = iter(answers)

    def invoke(_: LambdaEvent) -> object:
        answer = next(left, None)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return invoke


def drained(invoke: Answers, **settings: object) -> Mapping:
    mapping = Mapping(invoke, Clock(FIVE[0].arrived_at / 1000), Settings(**settings))  # type: ignore[arg-type]
    mapping.drain(FIVE)
    assert sorted(numbers([*mapping.done, *mapping.discarded])) == NUMBERS
    return mapping


def delivered(mapping: Mapping) -> list[list[int]]:
    return [numbers(batch) for batch in mapping.batches]


def broken(numbers_of_broken: set[int]) -> Answers:
    """Fails if one of these numbers is in the batch."""
    sequences = {sequence(number) for number in numbers_of_broken}

    def invoke(event: LambdaEvent) -> object:
        if sequences & {entry["kinesis"]["sequenceNumber"] for entry in event["Records"]}:
            raise FunctionFailed
        return None

    return invoke


@pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}])
def test_these_answers_are_successes(answer: object) -> None:
    assert delivered(drained(in_turn(answer))) == [NUMBERS]


@pytest.mark.parametrize(
    "answer",
    [
        failures(""),
        failures(None),
        failures("no such record"),
        failures(sequence(4), "no such record"),
        {"batchItemFailures": [{"itemidentifier": sequence(4)}]},
    ],
)
def test_these_answers_fail_the_whole_batch(answer: object) -> None:
    mapping = drained(in_turn(answer), bisect_batch_on_function_error=False)
    assert delivered(mapping) == [NUMBERS, NUMBERS]


def test_everything_from_the_lowest_identifier_on_is_delivered_again() -> None:
    mapping = drained(in_turn(failures(sequence(5), sequence(3), sequence(4))))
    assert delivered(mapping) == [NUMBERS, [3, 4, 5]]


def test_a_failure_of_the_first_record_alone_halves_nothing() -> None:
    mapping = drained(in_turn(failures(sequence(1))))
    assert delivered(mapping) == [NUMBERS, NUMBERS]


def test_a_mapping_that_ignores_responses_loses_the_failures() -> None:
    mapping = drained(in_turn(failures(sequence(3))), report_batch_item_failures=False)
    assert (delivered(mapping), numbers(mapping.done), mapping.discarded) == ([NUMBERS], NUMBERS, [])


def test_after_an_error_the_batch_is_halved_and_retried_in_order() -> None:
    mapping = drained(in_turn(FunctionFailed(), FunctionFailed()))
    assert delivered(mapping) == [NUMBERS, [1, 2], [1], [2], [3, 4, 5]]


def test_after_an_error_without_bisection_the_whole_batch_is_retried() -> None:
    mapping = drained(in_turn(FunctionFailed()), bisect_batch_on_function_error=False)
    assert delivered(mapping) == [NUMBERS, NUMBERS]


def test_retries_are_counted_and_the_rest_is_discarded() -> None:
    mapping = drained(broken({2}), bisect_batch_on_function_error=False, maximum_retry_attempts=2)
    assert delivered(mapping) == [NUMBERS] * 3
    assert numbers(mapping.discarded) == NUMBERS


def test_halving_uses_up_no_retry_and_isolates_the_record() -> None:
    mapping = drained(broken({2}), maximum_retry_attempts=1)
    assert delivered(mapping) == [NUMBERS, [1, 2], [1], [2], [2], [3, 4, 5]]
    assert numbers(mapping.discarded) == [2]


def test_partial_failures_use_up_retries() -> None:
    answers = in_turn(failures(sequence(2)), failures(sequence(3)), failures(sequence(3)))
    mapping = drained(answers, maximum_retry_attempts=2, bisect_batch_on_function_error=False)
    assert delivered(mapping) == [NUMBERS, [2, 3, 4, 5], [3, 4, 5]]
    assert numbers(mapping.discarded) == [3, 4, 5]


def test_records_that_are_too_old_are_discarded() -> None:
    mapping = drained(broken({1}), bisect_batch_on_function_error=False, maximum_record_age=2.5)
    assert delivered(mapping) == [NUMBERS] * 3
    assert numbers(mapping.discarded) == NUMBERS


def test_batches_follow_one_another() -> None:
    assert delivered(drained(in_turn(failures(sequence(2))), batch_size=2)) == [[1, 2], [2], [3, 4], [5]]
