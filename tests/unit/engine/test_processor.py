"""What the processor settles, and what it leaves unsettled, while the environment fails."""

from collections.abc import Callable, Iterable
from itertools import count, cycle
from random import Random
from typing import Any

import pytest

from consumer.engine.aggregation import SLICE_RECORDS, deaggregate
from consumer.engine.errors import BreakerOpen, Reason, Unavailable
from consumer.engine.folding import Outcome
from consumer.engine.processor import (
    PARTS,
    QUARANTINE_GROUP,
    QUARANTINE_GROUP_BYTES,
    BatchResult,
    Known,
    Processor,
)
from consumer.engine.projection import Key
from consumer.engine.quarantine import InMemoryQuarantine, PartlyKept, Quarantined
from consumer.engine.records import Record
from consumer.engine.repository import InMemoryRepository, Versioned
from consumer.engine.retry_policy import NoRetry
from consumer.engine.window import LEAST, MOST, Window
from consumer.limits.state import LimitState
from tests.support.generators import kpl
from tests.support.generators.events import (
    LIMIT,
    USER,
    Event,
    created,
    encode,
    foreign,
    position,
    progress_changed,
    record,
    records,
)
from tests.support.generators.kpl import aggregate
from tests.support.generators.small_projection import Peak, Peaks, Reading
from tests.support.simulation.core import (
    Core,
    FakeRetryPolicy,
    Fate,
    FlakyQuarantine,
    FlakyRepository,
    UnreadableRepository,
    found,
    memory,
    times,
)

APPLIED, DUPLICATE, STALE = Outcome.APPLIED, Outcome.DUPLICATE, Outcome.STALE
IGNORED, QUARANTINED = Outcome.IGNORED, Outcome.QUARANTINED
POISON = b"poison"


def outcomes(delivered: BatchResult) -> list[Outcome | None]:
    return [record_outcome.outcome if record_outcome else None for record_outcome in delivered.record_outcomes]


def numbers(settled: object) -> str:
    return str(settled).rpartition("/")[2].lstrip("0")


def of_limit(limit: str, sequence: int = 1, **payload: Any) -> Event:
    return created(sequence, userLimitId=limit, **payload)


# batches


def test_an_empty_batch_is_settled_and_touches_nothing() -> None:
    repository = FlakyRepository(memory())
    delivered = Core(repository).deliver()
    assert (delivered.settled, delivered.unsettled, delivered.outcomes.total()) == (None, None, 0)
    assert (repository.loads, repository.saves) == ([], [])


def test_a_settled_batch_is_settled_to_its_last_record() -> None:
    delivered = Core().deliver(created(1), foreign("NEW"), POISON)
    assert (numbers(delivered.settled), delivered.unsettled) == ("3", None)


def test_all_events_of_a_limit_are_one_write() -> None:
    repository = FlakyRepository(memory())
    delivered = Core(repository).deliver(*(progress_changed(n, amount=f"{n}") for n in range(1, 101)))
    assert (delivered.writes, len(repository.saves)) == (1, 1)
    assert delivered.outcomes == {APPLIED: 100}


def test_what_changes_nothing_is_not_written() -> None:
    repository = FlakyRepository(memory())
    core = Core(repository)
    core.deliver(created(1), progress_changed(2))
    repository.saves.clear()
    assert outcomes(core.deliver(created(1), progress_changed(2))) == [DUPLICATE, DUPLICATE]
    assert outcomes(core.deliver(POISON, foreign("NEW"))) == [QUARANTINED, IGNORED]
    assert repository.saves == []


def test_many_limits_are_saved_in_rounds_and_all_are_settled() -> None:
    repository = FlakyRepository(memory())
    delivered = Core(repository).deliver(*(of_limit(f"l-{number}") for number in range(2 * MOST + 1)))
    assert delivered.outcomes == {APPLIED: 2 * MOST + 1}
    assert [len(save) for save in repository.saves] == [MOST, MOST, 1]


def test_the_time_of_each_phase_is_reported() -> None:
    clock = iter([0.0, 1.0, 10.0, 12.0, 20.0, 25.0, 30.0, 48.0, 100.0, 400.0])
    kept = InMemoryRepository(Peaks())
    processor = Processor(Peaks(), kept, InMemoryQuarantine(), lambda: next(clock))
    result = processor.process(records({"place": "hill", "number": 5}), NoRetry())
    assert result.seconds == {"decode": 1.0, "fold": 5.0, "store": 20.0, "quarantine": 300.0}


def test_any_projection_will_do() -> None:
    kept = InMemoryRepository(Peaks())
    processor: Processor[Reading, Peak] = Processor(Peaks(), kept, InMemoryQuarantine(), map(float, count()).__next__)
    batch = records(*({"place": place, "number": number} for place in ("hill", "dale") for number in (3, 9, -1, 7)))
    result = processor.process(batch, NoRetry())
    assert result.by_type == {("READING", APPLIED): 4, ("READING", QUARANTINED): 2, ("READING", STALE): 2}
    assert kept.partition("north") == [Peak("dale", 9), Peak("hill", 9)]


# concurrent writers


def test_a_writer_that_came_first_is_not_overwritten() -> None:
    table = memory()
    other, ours = Core(table), Core(FlakyRepository(table))
    ours.deliver(created(1))
    other.deliver(progress_changed(3, amount="30"))
    delivered = ours.deliver(progress_changed(2, amount="20"), created(4, value="400"))
    assert (delivered.conflicts, outcomes(delivered)) == (1, [STALE, APPLIED])
    assert (ours.limit()["progress"], ours.limit()["value"]) == ("30", "400")


def test_a_writer_that_came_between_reading_and_writing_is_merged_with() -> None:
    table = memory()
    other, first = Core(table), times(1)
    repository = FlakyRepository(table, before_save=lambda: first() and other.deliver(progress_changed(3, amount="30")))
    delivered = Core(repository).deliver(created(1))
    assert (delivered.conflicts, outcomes(delivered)) == (1, [APPLIED])
    assert (other.limit()["progress"], other.limit()["value"]) == ("30", "1000")


def test_a_writer_that_was_faster_with_the_same_events_leaves_duplicates() -> None:
    table = memory()
    other = Core(table)
    repository = FlakyRepository(table, before_save=lambda: other.deliver(created(1), progress_changed(2)))
    delivered = Core(repository).deliver(created(1), progress_changed(3))
    assert outcomes(delivered) == [DUPLICATE, APPLIED]


def test_a_writer_that_is_always_faster_delays_but_loses_nothing() -> None:
    table, sequence, again = memory(), count(100), times(50)
    other = Core(table)
    repository = FlakyRepository(
        table, before_save=lambda: again() and other.deliver(progress_changed(next(sequence), amount="5"))
    )
    delivered = Core(repository).deliver(created(1))
    assert (delivered.conflicts, outcomes(delivered)) == (50, [APPLIED])
    assert (other.limit()["complete"], other.limit()["lastSequenceNumber"]) == (True, 149)


def test_an_item_that_vanished_is_made_again() -> None:
    repository = FlakyRepository(memory())
    core = Core(repository)
    core.deliver(created(1))
    repository.kept = memory()
    assert outcomes(core.deliver(progress_changed(2))) == [APPLIED]
    assert (core.limit()["complete"], core.limit()["progress"]) == (False, "10")


def test_another_writers_brand_counts_when_it_came_first() -> None:
    table = memory()
    other = Core(table)
    repository = FlakyRepository(table, before_save=lambda: other.deliver(created(1, brandId="theirs")))
    delivered = Core(repository).deliver(progress_changed(2, brandId="ours"))
    assert (outcomes(delivered), delivered.reasons) == ([QUARANTINED], {Reason.IDENTITY: 1})
    assert other.limit()["brandId"] == "theirs"


# the cache


def test_what_was_stored_last_need_not_be_read() -> None:
    repository = FlakyRepository(memory())
    core = Core(repository)
    core.deliver(created(1))
    core.deliver(progress_changed(2))
    core.deliver(progress_changed(3, previousProgress="10"))
    assert repository.loads == [[(USER, "l-day")]]
    assert core.limit()["progress"] == "20"


def test_what_was_only_read_need_not_be_read_again_either() -> None:
    repository = FlakyRepository(memory())
    Core(repository.kept).deliver(created(1))
    core = Core(repository)
    core.deliver(created(1))
    core.deliver(progress_changed(2))
    assert (len(repository.loads), len(repository.saves)) == (1, 1)


def test_what_was_forgotten_is_read_again() -> None:
    repository = FlakyRepository(memory())
    core = Core(repository)
    core.deliver(created(1))
    core.processor.known.forget()
    core.deliver(progress_changed(2))
    assert len(repository.loads) == 2


STATES = {("u", name): Versioned(name, name) for name in "abc"}
A, B, C = STATES


@pytest.mark.parametrize(
    "use",
    [lambda known: known.get([A]), lambda known: known.learn({A: STATES[A]})],
    ids=["asked for", "learnt again"],
)
def test_the_least_recently_used_is_forgotten_first(use: Callable[[Known[str]], object]) -> None:
    known: Known[str] = Known(2)
    known.learn({A: STATES[A], B: STATES[B]})
    use(known)
    known.learn({C: STATES[C]})
    assert known.get(STATES) == {A: STATES[A], C: STATES[C]}


def test_without_room_to_know_anything_all_is_read() -> None:
    repository = FlakyRepository(memory())
    core = Core(repository, cached=0)
    core.deliver(created(1))
    core.deliver(progress_changed(2))
    assert len(repository.loads) == 2
    assert core.limit()["progress"] == "10"


def test_stale_knowledge_rejects_nothing() -> None:
    table = memory()
    ours, other = Core(table), Core(table)
    ours.deliver(created(1, currencyCode="EUR"))
    assert table.forget((USER, LIMIT), found(table, (USER, LIMIT)))
    other.deliver(created(1))
    assert outcomes(ours.deliver(progress_changed(2, amount="15"))) == [APPLIED]
    assert ours.limit()["progress"] == "15"


def test_only_what_is_stored_makes_a_duplicate() -> None:
    repository = FlakyRepository(memory())
    core = Core(repository)
    history = [created(1), progress_changed(2), created(3, userLimitId="l-2")]
    core.deliver(*history)
    before = core.limits(USER)
    repository.kept = memory()
    assert outcomes(core.deliver(*history)) == [APPLIED] * 3
    assert core.limits(USER) == before, "a replay fills a new table, whatever is cached"


def test_a_brand_is_not_held_against_one_that_is_only_remembered() -> None:
    repository = FlakyRepository(memory())
    core = Core(repository)
    core.deliver(created(1, brandId="before"))
    repository.kept = memory()
    assert outcomes(core.deliver(created(2, brandId="after"))) == [APPLIED]
    assert core.limit()["brandId"] == "after"


def test_what_is_still_wrong_when_read_again_is_rejected() -> None:
    repository = FlakyRepository(memory())
    core = Core(repository)
    core.deliver(created(1))
    repository.loads.clear()
    wrong = progress_changed(2, currencyCode="EUR")
    assert outcomes(core.deliver(wrong, created(2, userLimitId="l-2"))) == [QUARANTINED, APPLIED]
    assert repository.loads == [[(USER, "l-2")], [(USER, "l-day")]]


# failing writes


def fates(*of_first_write: Fate) -> Callable[[Key], Fate]:
    """The results of the first writes. Every later write is stored."""
    left = iter(of_first_write)
    return lambda _key: next(left, Fate.STORED)


@pytest.mark.parametrize("fate", [Fate.REPLY_LOST, Fate.THROTTLED])
@pytest.mark.parametrize("failures", [1, 3])
def test_a_write_of_unknown_outcome_is_made_again(fate: Fate, failures: int) -> None:
    core = Core(FlakyRepository(memory(), fates(*[fate] * failures)))
    delivered = core.deliver(created(1), progress_changed(2))
    assert outcomes(delivered) == [APPLIED, APPLIED]
    assert core.retry_policy.waits == [("store", fate.value)] * failures
    assert core.limit()["progress"] == "10"


@pytest.mark.parametrize("fate", [Fate.REPLY_LOST, Fate.THROTTLED])
def test_an_update_of_unknown_outcome_is_made_again(fate: Fate) -> None:
    repository = FlakyRepository(memory())
    core = Core(repository)
    core.deliver(created(1))
    repository.fate = fates(fate)
    assert outcomes(core.deliver(progress_changed(2))) == [APPLIED]
    assert core.limit()["progress"] == "10"


def test_random_throttling_is_not_waited_for() -> None:
    random = Random(1)
    core = Core(FlakyRepository(memory(), lambda _key: Fate.THROTTLED if random.random() < 0.3 else Fate.STORED))
    delivered = core.deliver(*(of_limit(f"l-{number}") for number in range(2_000)))
    assert (delivered.outcomes, core.retry_policy.waits) == ({APPLIED: 2_000}, [])


def test_a_store_at_its_capacity_is_asked_for_less_and_waited_for() -> None:
    accepts = iter(cycle([True, *[False] * 9]))
    repository = FlakyRepository(memory(), lambda _key: Fate.STORED if next(accepts) else Fate.THROTTLED)
    core = Core(repository)
    delivered = core.deliver(*(of_limit(f"l-{number}") for number in range(MOST)))
    assert delivered.outcomes == {APPLIED: MOST}
    assert len(core.retry_policy.waits) > 0.9 * len(repository.saves)
    assert [len(save) for save in repository.saves[:5]] == [MOST, MOST // 2, MOST // 4, LEAST, LEAST]


def test_a_throttled_limit_does_not_hold_up_the_others() -> None:
    throttled = count()
    stuck = FlakyRepository(
        memory(), lambda key: Fate.THROTTLED if key[1] == "l-0" and next(throttled) < 5 else Fate.STORED
    )
    Core(stuck).deliver(*(of_limit(f"l-{number}") for number in range(3 * MOST)))
    assert [len(save) for save in stuck.saves[:3]] == [MOST] * 3
    assert (USER, "l-0") in stuck.saves[-1]


def test_a_window_grows_back_to_its_size() -> None:
    window = Window()
    window.learn(MOST, MOST)
    sizes = [window.size]
    while window.size < MOST:
        window.learn(window.size, window.size // 2)
        sizes.append(window.size)
    assert sizes == [100, 125, 150, 175, 200]


def test_a_lost_reply_and_then_another_writer_leave_both_in_place() -> None:
    table, second = memory(), iter([False, True])
    other = Core(table)
    repository = FlakyRepository(
        table,
        fates(Fate.REPLY_LOST),
        before_save=lambda: next(second, False) and other.deliver(progress_changed(3, amount="30")),
    )
    delivered = Core(repository).deliver(created(1), progress_changed(2))
    assert delivered.unsettled is None
    assert (other.limit()["progress"], other.limit()["value"]) == ("30", "1000")


def test_only_what_was_throttled_is_written_again() -> None:
    throttled = {(USER, f"l-{number}"): iter([Fate.THROTTLED]) for number in (2, 3)}
    repository = FlakyRepository(memory(), lambda key: next(throttled.get(key, iter(())), Fate.STORED))
    delivered = Core(repository).deliver(*(of_limit(f"l-{number}") for number in range(5)))
    assert delivered.outcomes == {APPLIED: 5}
    assert [len(save) for save in repository.saves] == [5, 2]
    assert set(repository.saves[1]) == set(throttled)


def test_a_read_that_fails_is_made_again() -> None:
    core = Core(FlakyRepository(memory(), unreadable=times(3)))
    assert outcomes(core.deliver(created(1))) == [APPLIED]
    assert core.retry_policy.waits == [("load", "reading failed")] * 3


def test_the_attempts_are_counted_from_1_after_a_success() -> None:
    attempts: list[int] = []
    repository = FlakyRepository(memory(), fates(Fate.THROTTLED, Fate.THROTTLED))
    core = Core(repository)
    retry_policy = Counting(attempts)
    core.processor.process(records(created(1)), retry_policy)
    repository.fate = fates(Fate.THROTTLED)
    core.processor.process(records(progress_changed(2)), retry_policy)
    assert attempts == [1, 2, 1]


class Counting:
    """Records the attempts after which it had to wait."""

    def __init__(self, attempts: list[int]) -> None:
        self._attempts = attempts

    def wait(self, _part: str, attempt: int, _cause: Exception) -> None:
        self._attempts.append(attempt)


# giving up


def impatient(repository: FlakyRepository[LimitState]) -> Core:
    return Core(repository, retry_policy=FakeRetryPolicy(most=2))


def test_giving_up_on_one_limit_leaves_its_first_record_unsettled() -> None:
    stuck = impatient(FlakyRepository(memory(), lambda key: Fate.THROTTLED if key[1] == "l-stuck" else Fate.STORED))
    delivered = stuck.deliver(of_limit("l-1"), foreign("NEW"), of_limit("l-stuck"), of_limit("l-2"), of_limit("l-1", 2))
    assert outcomes(delivered) == [APPLIED, IGNORED, None, APPLIED, APPLIED]
    assert (numbers(delivered.settled), numbers(delivered.unsettled)) == ("2", "3")


def test_giving_up_on_the_first_record_settles_nothing() -> None:
    stuck = impatient(FlakyRepository(memory(), lambda _key: Fate.REPLY_LOST))
    delivered = stuck.deliver(created(1), foreign("NEW"))
    assert outcomes(delivered) == [None, IGNORED]
    assert (delivered.settled, numbers(delivered.unsettled)) == (None, "1")


def test_giving_up_while_reading_leaves_all_but_the_ignored_unsettled() -> None:
    stuck = impatient(FlakyRepository(memory(), unreadable=lambda: True))
    delivered = stuck.deliver(foreign("NEW"), created(1), POISON)
    assert outcomes(delivered) == [IGNORED, None, None]
    assert (numbers(delivered.settled), numbers(delivered.unsettled)) == ("1", "2")
    assert list(stuck.quarantine.entries()) == []


def test_giving_up_in_a_later_round_keeps_the_earlier_ones() -> None:
    late = f"l-{MOST}"
    stuck = impatient(FlakyRepository(memory(), lambda key: Fate.THROTTLED if key[1] == late else Fate.STORED))
    delivered = stuck.deliver(*(of_limit(f"l-{number}") for number in range(MOST + 2)))
    assert numbers(delivered.unsettled) == str(MOST + 1)
    assert delivered.outcomes == {APPLIED: MOST + 1}


def test_what_was_unsettled_is_settled_when_it_comes_again() -> None:
    repository = FlakyRepository(memory(), lambda _key: Fate.REPLY_LOST)
    core = impatient(repository)
    assert outcomes(core.deliver(created(1), progress_changed(2))) == [None, None]
    repository.fate = lambda _key: Fate.STORED
    assert core.deliver(created(1), progress_changed(2)).unsettled is None
    assert (core.limit()["value"], core.limit()["progress"]) == ("1000", "10")


def test_records_after_the_first_unsettled_one_do_not_count_as_settled() -> None:
    batch = records(created(1), created(2), created(3))
    one = Core().deliver(created(1)).record_outcomes[0]
    assert BatchResult(batch, [one, None, one]).settled == position(1)
    assert BatchResult(batch, [None, one, one]).settled is None
    assert BatchResult(batch, [one, one, None]).unsettled == position(3)


@pytest.mark.parametrize("unsettled", range(3))
def test_an_aggregate_is_settled_once_all_its_records_are(unsettled: int) -> None:
    first, second = record(kpl.aggregate(b"", b"", b""), 1), record(kpl.aggregate(b"", b"", b""), 2)
    one = Core().deliver(created(1)).record_outcomes[0]

    def without(*indexes: int) -> BatchResult:
        batch = [*deaggregate(first), *deaggregate(second)]
        return BatchResult(batch, [None if index in indexes else one for index in range(6)])

    assert (without().settled, without().unsettled) == (position(2), None)
    later = without(3 + unsettled)
    assert (later.settled, later.unsettled) == (position(1), position(2))
    both = without(unsettled, 3 + unsettled)
    assert (both.settled, both.unsettled) == (None, position(1))


# the quarantine


def test_a_quarantine_that_is_down_is_waited_for() -> None:
    core = Core(quarantine=FlakyQuarantine(times(3)))
    delivered = core.deliver(created(1), POISON)
    assert outcomes(delivered) == [APPLIED, QUARANTINED]
    assert core.retry_policy.waits == [("quarantine", "the quarantine is down")] * 3
    assert [entry.record.data for entry in core.quarantine.entries()] == [POISON]


def test_a_quarantine_that_is_down_does_not_matter_to_a_batch_without_poison() -> None:
    core = Core(quarantine=FlakyQuarantine(lambda: True))
    assert outcomes(core.deliver(created(1), foreign("NEW"))) == [APPLIED, IGNORED]
    assert core.retry_policy.waits == []


def test_while_the_quarantine_is_down_poison_stays_unsettled_and_the_rest_is_applied() -> None:
    core = Core(quarantine=FlakyQuarantine(lambda: True), retry_policy=FakeRetryPolicy(most=2))
    delivered = core.deliver(created(1), POISON, progress_changed(2))
    assert outcomes(delivered) == [APPLIED, None, APPLIED]
    assert (numbers(delivered.unsettled), delivered.quarantined) == ("2", [])
    assert core.limit()["progress"] == "10"


def test_nothing_is_both_applied_and_quarantined() -> None:
    core = Core()
    core.deliver(created(1), progress_changed(2, brandId="other"), progress_changed(3))
    (entry,) = core.quarantine.entries()
    assert numbers(entry.record.position) == "2"
    assert core.limit()["lastSequenceNumber"] == 3


def test_a_batch_tells_what_it_quarantined() -> None:
    core = Core()
    delivered = core.deliver(created(1), POISON, b"[]")
    assert delivered.quarantined == list(core.quarantine.entries())
    assert delivered.reasons == {Reason.JSON: 1, Reason.NOT_OBJECT: 1}


def spoilt(rejected: int) -> Record:
    """An aggregate of `rejected` invalid records and two valid ones."""
    return record(kpl.aggregate(encode(created(1)), *[POISON] * rejected, encode(progress_changed(2))), 7)


def test_the_rejected_records_of_an_aggregate_are_kept_one_by_one() -> None:
    core = Core()
    delivered = core.deliver(created(1, userLimitId="l-other"), spoilt(PARTS))
    entries = list(core.quarantine.entries())
    assert {entry.record.position.sub_sequence for entry in entries} == set(range(1, PARTS + 1))
    assert {(entry.record.data, entry.reason) for entry in entries} == {(POISON, Reason.JSON)}
    assert len(delivered.quarantined) == PARTS


def test_an_aggregate_with_many_rejected_records_is_kept_whole() -> None:
    core, whole = Core(), spoilt(PARTS + 1)
    delivered = core.deliver(created(1, userLimitId="l-other"), whole, POISON)
    entry, other = delivered.quarantined
    assert sorted(numbers(kept.record.position) for kept in core.quarantine.entries()) == ["2", "7"]
    assert (entry.record, entry.reason, other.record.data) == (whole, Reason.AGGREGATE, POISON)
    assert entry.detail.startswith(f"{PARTS + 1} of its records were rejected, the first one: JSON: ")
    assert delivered.unsettled is None


def test_each_record_of_such_an_aggregate_has_its_own_outcome() -> None:
    core = Core()
    delivered = core.deliver(spoilt(PARTS + 1))
    assert delivered.outcomes == {APPLIED: 2, QUARANTINED: PARTS + 1}
    assert delivered.reasons == {Reason.JSON: PARTS + 1}
    assert core.limit()["progress"] == "10"


def test_many_aggregates_with_rejected_records_are_an_entry_each() -> None:
    core = Core()
    numbered = [spoilt(1_000)._replace(position=position(number)) for number in range(50)]
    assert core.deliver(*numbered).outcomes[QUARANTINED] == 50_000
    assert [entry.record.data for entry in core.quarantine.entries()] == [each.data for each in numbered]


def test_such_an_aggregate_is_not_settled_before_it_is_kept() -> None:
    core = Core(quarantine=FlakyQuarantine(lambda: True), retry_policy=FakeRetryPolicy(most=2))
    delivered = core.deliver(created(1, userLimitId="l-other"), spoilt(PARTS + 1)._replace(position=position(2)))
    assert (numbers(delivered.settled), numbers(delivered.unsettled)) == ("1", "2")
    assert (delivered.outcomes, delivered.quarantined) == ({APPLIED: 3}, [])


def test_such_an_aggregate_is_replayed_once_its_records_can_be_applied() -> None:
    """An event rejected for its brand is accepted by a table without the limit."""
    core, other = Core(), Core()
    packed = kpl.aggregate(*(encode(progress_changed(2 + number, brandId="b")) for number in range(PARTS + 1)))
    core.deliver(created(1, brandId="a"), record(packed, 2))
    (entry,) = core.quarantine.entries()
    assert other.deliver(entry.record).outcomes == {APPLIED: PARTS + 1}


def test_records_that_were_taken_apart_before_are_kept_one_by_one() -> None:
    core = Core()
    core.deliver(*(Record(position(3)._replace(sub_sequence=sub), POISON) for sub in range(PARTS + 5)))
    assert [entry.record.data for entry in core.quarantine.entries()] == [POISON] * (PARTS + 5)


# slices


def big(number: int) -> Record:
    """An aggregate of half the size of a slice."""
    others = [encode(foreign("NEW"))] * (SLICE_RECORDS // 2 - 1)
    return record(kpl.aggregate(encode(created(1, userLimitId=f"l-{number}")), *others), number)


def sliced(core: Core, go_on: Callable[[], bool] = lambda: True) -> list[BatchResult]:
    return list(core.processor.process_in_slices(map(big, range(1, 6)), core.retry_policy, go_on))


def test_the_results_of_slices_are_those_of_the_batch() -> None:
    core = Core()
    results = sliced(core)
    assert [len(result.records) for result in results] == [SLICE_RECORDS, SLICE_RECORDS, SLICE_RECORDS // 2]
    assert [numbers(result.settled) for result in results] == ["2", "4", "5"]
    assert core.limits("u-7Qd2").keys() == {f"l-{number}" for number in range(1, 6)}


def test_after_a_slice_that_is_not_settled_there_is_no_other() -> None:
    core = impatient(FlakyRepository(memory(), lambda key: Fate.THROTTLED if key[1] == "l-4" else Fate.STORED))
    results = sliced(core)
    assert [numbers(result.unsettled) for result in results] == ["None", "4"]
    assert "l-5" not in core.limits("u-7Qd2")


def test_a_slice_that_must_not_start_is_returned_unsettled() -> None:
    core = Core()
    results = sliced(core, times(1))
    assert [numbers(result.unsettled) for result in results] == ["None", "None", "5"]
    assert (results[-1].settled, results[-1].outcomes) == (None, {})
    assert core.limits("u-7Qd2").keys() == {f"l-{number}" for number in range(1, 5)}


def test_the_first_slice_always_starts() -> None:
    assert [numbers(result.unsettled) for result in sliced(Core(), lambda: False)] == ["None", "3"]


def test_the_breaker_counts_over_slices() -> None:
    flood = record(kpl.aggregate(*[POISON] * SLICE_RECORDS), 1)
    core = Core(breaker=SLICE_RECORDS + 1)
    core.processor.aggregate_cap = SLICE_RECORDS
    with pytest.raises(BreakerOpen):
        list(core.processor.process_in_slices([flood, flood], core.retry_policy, lambda: True))
    assert [entry.record.data for entry in core.quarantine.entries()] == [flood.data]


def test_poison_that_comes_again_is_kept_once() -> None:
    core = Core()
    for _ in range(3):
        core.deliver(*records(POISON, created(1)))
    assert len(list(core.quarantine.entries())) == 1


# unreadable rows


def test_a_row_that_cannot_be_read_costs_its_own_limit_alone() -> None:
    core = Core(UnreadableRepository(memory(), {(USER, LIMIT)}))
    delivered = core.deliver(created(1), created(2, userLimitId="l-2"), POISON, progress_changed(3))
    assert outcomes(delivered) == [QUARANTINED, APPLIED, QUARANTINED, QUARANTINED]
    assert delivered.reasons == {Reason.STORED_STATE: 2, Reason.JSON: 1}
    assert delivered.by_type[("USER_LIMIT_CREATED", QUARANTINED)] == 1
    assert (delivered.unsettled, core.retry_policy.waits) == (None, [])
    assert [each.user_limit_id for each in core.repository.partition(USER) if isinstance(each, LimitState)] == ["l-2"]


def test_a_row_that_becomes_unreadable_while_it_is_remembered() -> None:
    table = UnreadableRepository(memory())
    core = Core(table)
    core.deliver(created(1))
    table.odd.add((USER, LIMIT))
    assert outcomes(core.deliver(created(1), progress_changed(2))) == [QUARANTINED] * 2
    table.odd.clear()
    assert outcomes(core.deliver(created(1), progress_changed(2))) == [DUPLICATE, APPLIED]


class Counted(InMemoryQuarantine):
    """Records which entries were put together."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[list[Quarantined]] = []

    def put(self, entries: Iterable[Quarantined]) -> None:
        self.puts.append(list(entries))
        super().put(self.puts[-1])


def test_large_records_are_quarantined_in_small_groups() -> None:
    """The written data is held in memory twice: ten thousand records of 1 MiB must not be written together."""
    counted = Counted()
    core = Core(quarantine=counted)
    core.deliver(*[bytes(2**20)] * 9, bytes(2 * QUARANTINE_GROUP_BYTES), *[POISON] * (2 * QUARANTINE_GROUP))
    sizes = [sum(len(entry.record.data) for entry in put) for put in counted.puts]
    assert [len(put) for put in counted.puts] == [4, 4, 1, 1, QUARANTINE_GROUP, QUARANTINE_GROUP]
    assert [size for size in sizes if size > QUARANTINE_GROUP_BYTES] == [2 * QUARANTINE_GROUP_BYTES], "one alone"


class Partial(InMemoryQuarantine):
    """Stores the first half of the entries, and nothing at the next call."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def put(self, entries: Iterable[Quarantined]) -> None:
        given = list(entries)
        self.sizes.append(len(given))
        if len(self.sizes) % 2 == 0:
            raise Unavailable("none of them")
        half = (len(given) + 1) // 2
        super().put(given[:half])
        if given[half:]:
            raise PartlyKept(given[half:], Unavailable("half of them"))


def test_of_several_records_only_those_that_are_not_kept_are_put_again() -> None:
    partial = Partial()
    core = Core(quarantine=partial)
    delivered = core.deliver(*[POISON] * 8)
    assert partial.sizes == [8, 4, 4, 2, 2, 1, 1]
    assert [cause for _, cause in core.retry_policy.waits[:2]] == ["half of them", "none of them"]
    assert delivered.quarantined == list(partial.entries())
    assert len(delivered.quarantined) == 8


def test_the_first_record_of_an_aggregate_is_put_after_the_others() -> None:
    """It has the position of the aggregate. An earlier entry of the whole is needed until all records have theirs."""
    counted = Counted()
    Core(quarantine=counted).deliver(POISON, *[aggregate(*[POISON] * PARTS)] * 4)
    subs = [entry.record.position.sub_sequence for put in counted.puts for entry in put]
    assert subs == [0, *[sub for _ in range(4) for sub in range(1, PARTS)], 0, 0, 0, 0]
    assert len(counted.puts) > 1


# the breaker


@pytest.fixture
def guarded() -> Core:
    return Core(breaker=3)


def test_the_breaker_opens_before_the_run_reaches_the_quarantine(guarded: Core) -> None:
    with pytest.raises(BreakerOpen, match="3 records in a row"):
        guarded.deliver(created(1), POISON, POISON, POISON, progress_changed(2))
    assert list(guarded.quarantine.entries()) == []


def test_a_breaker_of_one_opens_at_the_first() -> None:
    with pytest.raises(BreakerOpen):
        Core(breaker=1).deliver(created(1), POISON)


def test_the_breaker_counts_over_batches(guarded: Core) -> None:
    guarded.deliver(created(1), POISON)
    guarded.deliver(POISON)
    with pytest.raises(BreakerOpen):
        guarded.deliver(POISON)
    assert len(list(guarded.quarantine.entries())) == 2


@pytest.mark.parametrize("between", [created(1), foreign("NEW")], ids=["applied", "ignored"])
def test_any_valid_record_resets_the_count(guarded: Core, between: Event) -> None:
    delivered = guarded.deliver(POISON, POISON, between, POISON, POISON)
    assert delivered.outcomes[QUARANTINED] == 4


def test_what_only_the_stored_state_condemns_counts_too(guarded: Core) -> None:
    guarded.deliver(created(1))
    with pytest.raises(BreakerOpen, match="brandId"):
        guarded.deliver(*(progress_changed(sequence, brandId="other") for sequence in (2, 3, 4)))


def test_a_row_that_cannot_be_read_opens_no_breaker(guarded: Core) -> None:
    guarded.processor.repository = UnreadableRepository(memory(), {(USER, LIMIT)})
    refused = [progress_changed(sequence) for sequence in range(2, 12)]
    assert guarded.deliver(*refused, created(1, userLimitId="l-2")).reasons == {Reason.STORED_STATE: 10}
    guarded.deliver(POISON, POISON, progress_changed(12))
    with pytest.raises(BreakerOpen, match="3 records in a row"):
        guarded.deliver(POISON)


def test_an_empty_batch_does_not_reset_the_breaker(guarded: Core) -> None:
    guarded.deliver(POISON, POISON)
    guarded.deliver()
    with pytest.raises(BreakerOpen):
        guarded.deliver(POISON)


def test_a_batch_that_comes_again_is_counted_once() -> None:
    core = Core(breaker=3, quarantine=FlakyQuarantine(times(1)), retry_policy=FakeRetryPolicy(most=0))
    assert core.deliver(POISON, POISON).unsettled is not None
    assert core.deliver(POISON, POISON).unsettled is None
    with pytest.raises(BreakerOpen):
        core.deliver(POISON)


def test_without_a_breaker_poison_goes_on_for_ever() -> None:
    assert Core(breaker=0).deliver(*[POISON] * 1_000).outcomes == {QUARANTINED: 1_000}
