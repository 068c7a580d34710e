"""The contract's table of outcomes: the effect on a record, on its neighbours, and on its bytes.

tests/corpus covers the table row by row. This file covers all wrong values of each field, and sequences of records.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome
from consumer.engine.processor import BatchResult
from consumer.engine.records import Record
from consumer.limits import event_types
from tests.support.generators import kpl
from tests.support.generators.events import (
    LIMIT,
    START,
    Event,
    created,
    encode,
    foreign,
    position,
    progress_changed,
    reset,
)
from tests.support.generators.spoiled import ABSENT, ENVELOPE, OPTIONAL, REQUIRED, SOUND, with_field
from tests.support.simulation.core import Core

APPLIED, DUPLICATE, STALE = Outcome.APPLIED, Outcome.DUPLICATE, Outcome.STALE
CHANGED = "USER_LIMIT_PROGRESS_CHANGED"
IGNORED, QUARANTINED = Outcome.IGNORED, Outcome.QUARANTINED

# records that can never be applied: the reason, and the field that the detail names


def in_base64(text: object) -> Record:
    return Record.from_base64(position(2), text, START)


def test_broken_base64_is_kept_as_it_came() -> None:
    core = Core()
    core.deliver(in_base64("e30#="), in_base64(None))
    assert [entry.record.data for entry in core.quarantine.entries()] == [b""]
    core.deliver(in_base64("e30#="))
    assert [entry.record.data for entry in core.quarantine.entries()] == [b"e30#="]


# every field


Path = tuple[str, ...]


def spoiled() -> Iterator[tuple[Event, Path, Sequence[object]]]:
    """Every field of every event type, with its invalid values."""
    for sound in SOUND:
        for name, wrong in ENVELOPE.items():
            yield sound, (name,), (ABSENT, *wrong)
        for name, wrong in REQUIRED[sound["type"]].items():
            yield sound, ("payload", name), (ABSENT, *wrong)
        for name, wrong in OPTIONAL[sound["type"]].items():
            yield sound, ("payload", name), wrong


@pytest.mark.parametrize(
    ("sound", "path", "wrong"),
    [pytest.param(*each, id=f"{each[0]['type'].lower()}-{'.'.join(each[1])}") for each in spoiled()],
)
def test_a_field_that_is_missing_or_wrong_is_named(sound: Event, path: Path, wrong: Sequence[object]) -> None:
    for value in wrong:
        refused(encode(with_field(sound, path, value)), Reason.SCHEMA, ".".join(path))


def test_what_a_record_says_is_not_in_the_refusal() -> None:
    core = Core()
    for sound, path, wrong in spoiled():
        core.deliver(with_field(sound, path, "s3cr3t\0"))
        for value in wrong:
            core.deliver(with_field(with_field(sound, path, value), (*path[:-1], "secret"), "s3cr3t"))
    assert not [entry.detail for entry in core.quarantine.entries() if "s3cr3t" in entry.detail]


@pytest.mark.parametrize(
    ("data", "reason", "kind"),
    [
        (b"poison", Reason.JSON, "UNREADABLE"),
        (b'{"type": 7}', Reason.SCHEMA, "UNREADABLE"),
        (encode(with_field(created(), ("payload", "value"), "x")), Reason.SCHEMA, "USER_LIMIT_CREATED"),
        (encode(with_field(progress_changed(), ("aggregateId",), "u-other")), Reason.IDENTITY, CHANGED),
        (encode(created(10**10)), Reason.SEQUENCE, "USER_LIMIT_CREATED"),
        (encode(created(5, currencyCode="USD")), Reason.IDENTITY, "USER_LIMIT_CREATED"),
        (kpl.aggregate(), Reason.AGGREGATE, "UNREADABLE"),
    ],
)
def test_an_entry_has_the_type_of_its_event_as_far_as_it_is_known(data: bytes, reason: Reason, kind: str) -> None:
    core = Core()
    core.deliver(created(currencyCode="EUR"))
    core.deliver(data)
    assert [(entry.reason, entry.type) for entry in core.quarantine.entries()] == [(reason, kind)]


def test_a_late_event_may_be_any_number_behind() -> None:
    assert Core().deliver(progress_changed(5_000_000), created(1)).outcomes == {APPLIED: 2}


# aggregates


def test_each_record_of_an_aggregate_has_its_own_outcome() -> None:
    core = Core()
    delivered = core.deliver(kpl.aggregate(encode(created(1)), b"[]", encode(progress_changed(2))))
    assert [record_outcome and record_outcome.outcome for record_outcome in delivered.record_outcomes] == [
        APPLIED,
        QUARANTINED,
        APPLIED,
    ]
    assert [(entry.record.position.sub_sequence, entry.record.data) for entry in core.quarantine.entries()] == [
        (1, b"[]")
    ]
    assert core.limit()["progress"] == "10"


# records of other types

OURS_NOT = (
    "LIMIT_USER_CREATED",
    "LIMIT_USER_PENDING_PAYMENT_CREATED",
    "LIMIT_USER_PENDING_PAYMENT_PROCESSED",
    "USER_LIMIT_CHANGE_SOURCE_ADDED",
)


@pytest.mark.parametrize("kind", OURS_NOT)
def test_a_known_type_that_is_not_ours_is_ignored_whatever_its_payload(kind: str) -> None:
    delivered = Core().deliver(foreign(kind), {"type": kind}, {"type": kind, "payload": [], "sequenceNumber": -1})
    assert delivered.by_type == {(kind, IGNORED): 3}


@pytest.mark.parametrize(
    "kind", ["__proto__", "constructor", "__class__", "", "user_limit_created", "USER_LIMIT_CREATED ", "\ud800", "NEW"]
)
def test_an_unknown_type_is_ignored_and_counted_apart(kind: str) -> None:
    delivered = Core().deliver(foreign(kind), {"type": kind})
    assert delivered.by_type == {("UNKNOWN", IGNORED): 2}


# records that are applied with warnings


def test_a_progress_of_a_limit_never_created_makes_an_incomplete_limit() -> None:
    core = Core()
    assert core.deliver(progress_changed(remainingAmount="90", amount="10")).outcomes == {APPLIED: 1}
    limit = core.limit()
    assert (limit["complete"], limit["progress"], limit["value"], limit["remaining"]) == (False, "10", "100", "90")
    assert not limit.keys() & {"type", "period", "status", "activeFrom", "createdAt"}


def test_a_reset_of_a_limit_never_created_makes_an_incomplete_limit() -> None:
    core = Core()
    assert core.deliver(reset(resetAmount="25", unusedAmount="75")).outcomes == {APPLIED: 1}
    limit = core.limit()
    assert (limit["complete"], limit["progress"], limit["value"]) == (False, "0", "100")
    assert (limit["type"], limit["period"]) == ("DEPOSIT", "DAY")


@pytest.mark.parametrize("newer", [progress_changed(6, amount="7"), reset(6)], ids=["progress", "reset"])
def test_a_creation_after_newer_events_fills_the_definition_and_keeps_their_progress(newer: Event) -> None:
    core = Core()
    core.deliver(newer)
    before = core.limit()
    assert core.deliver(created(5, progress="500")).outcomes == {APPLIED: 1}
    after = core.limit()
    assert (after["complete"], after["value"], after["status"]) == (True, "1000", "ACTIVE")
    assert (after["progress"], after["lastSequenceNumber"]) == (before["progress"], 6)


def test_the_same_event_again_is_a_duplicate() -> None:
    core = Core()
    first, again = core.deliver(created(1), progress_changed(2)), core.deliver(created(1), progress_changed(2))
    assert (first.outcomes, again.outcomes) == ({APPLIED: 2}, {DUPLICATE: 2})
    assert (first.writes, again.writes) == (1, 0)


def test_an_event_older_than_what_is_stored_is_stale() -> None:
    core = Core()
    core.deliver(created(1), progress_changed(5, amount="50"))
    delivered = core.deliver(progress_changed(4, amount="40"))
    assert (delivered.outcomes, delivered.writes) == ({STALE: 1}, 0)
    assert core.limit()["progress"] == "50"


def test_a_negative_amount_is_warned_of_also_when_the_event_comes_late() -> None:
    core = Core()
    core.deliver(created(5))
    delivered = core.deliver(progress_changed(4, amount="-1"))
    assert delivered.outcomes == {APPLIED: 1}
    assert delivered.warnings == {event_types.NEGATIVE_AMOUNT: 1, event_types.NEGATIVE_PROGRESS: 1}


@pytest.mark.parametrize("amount", ["0", "-0.00", "0.01"])
def test_an_amount_that_is_not_negative_is_no_cause_for_a_warning(amount: str) -> None:
    assert Core().deliver(created(1), progress_changed(2, amount=amount)).warnings == Counter()


def test_an_event_that_comes_again_is_not_warned_of_again() -> None:
    core = Core()
    odd = created(1), progress_changed(2, amount="-1"), progress_changed(3, previousProgress="5", amount="-6")
    assert core.deliver(*odd).warnings[event_types.NEGATIVE_AMOUNT] == 2
    assert core.deliver(*odd).warnings == Counter()


def test_sound_events_are_applied_without_a_warning() -> None:
    core = Core()
    delivered = core.deliver(
        created(1),
        progress_changed(2, remainingAmount="990"),
        progress_changed(4, previousProgress="10.00", amount="990", remainingAmount="0.00"),
        reset(5, resetAmount="1000", unusedAmount="0"),
        created(6, value="500"),
        progress_changed(7, remainingAmount="490"),
    )
    assert (delivered.outcomes, delivered.warnings) == ({APPLIED: 6}, Counter())


def test_an_older_event_is_not_held_against_the_state() -> None:
    core = Core()
    core.deliver(created(1), progress_changed(5, amount="50"))
    assert core.deliver(progress_changed(4, previousProgress="5")).warnings == Counter()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_events_of_one_sequence_number_are_reported_and_the_higher_event_id_wins(order: tuple[int, int]) -> None:
    core, pair = Core(), (progress_changed(2, "e-a", amount="1"), progress_changed(2, "e-b", amount="2"))
    core.deliver(created(1))
    delivered = core.deliver(*(pair[index] for index in order))
    assert delivered.warnings[event_types.SEQUENCE_CONFLICT] == 1
    assert core.limit()["progress"] == "2"


@pytest.mark.parametrize(
    ("ahead", "warned"), [(1_000_000, Counter[str]()), (1_000_001, Counter({event_types.SEQUENCE_JUMP: 1}))]
)
def test_a_number_far_ahead_of_what_is_stored_is_applied_with_a_warning(ahead: int, warned: Counter[str]) -> None:
    core = Core()
    core.deliver(created(1))
    delivered = core.deliver(progress_changed(1 + ahead))
    assert (delivered.outcomes, delivered.warnings) == ({APPLIED: 1}, warned)
    assert core.deliver(progress_changed(1 + ahead)).warnings == Counter()


def test_a_first_event_has_nothing_that_it_could_be_ahead_of() -> None:
    assert Core().deliver(created(1_000_000_000)).warnings == Counter()


@pytest.mark.parametrize("at", [START + 1, START + 60_000])
@pytest.mark.parametrize(("late", "outcome"), [(created(4), APPLIED), (progress_changed(4), STALE)])
def test_an_event_older_by_number_and_younger_by_time(late: Event, outcome: Outcome, at: int) -> None:
    core = Core()
    core.deliver(progress_changed(5) | {"createdAt": START})
    delivered = core.deliver(late | {"createdAt": at})
    assert (delivered.outcomes, delivered.warnings) == ({outcome: 1}, {event_types.TIME_DRIFT: 1})
    assert core.limit()["lastSequenceNumber"] == 5


@pytest.mark.parametrize("at", [START - 1, START])
def test_an_event_older_by_number_and_not_younger(at: int) -> None:
    core = Core()
    core.deliver(progress_changed(5) | {"createdAt": START})
    assert core.deliver(created(4) | {"createdAt": at}).warnings == Counter()


def test_a_duplicate_is_not_warned_of_for_its_time() -> None:
    core, early = Core(), created(4) | {"createdAt": START + 9}
    core.deliver(early, progress_changed(5) | {"createdAt": START})
    delivered = core.deliver(early)
    assert (delivered.outcomes, delivered.warnings) == ({DUPLICATE: 1}, Counter())


def test_odd_times_are_counted_by_their_place_once_an_event_is_applied() -> None:
    core = Core()
    odd = created(1, activeFrom=0, activeUntil=0, createdAt=0, nextResetTime=0) | {"createdAt": 0}
    places = ("createdAt", *(f"payload.{name}" for name in ("activeFrom", "activeUntil", "createdAt", "nextResetTime")))
    assert core.deliver(odd).warnings == Counter(f"{event_types.ODD_TIME}:{place}" for place in places)
    assert core.deliver(odd).warnings == Counter()


def test_counts_add_up_to_the_records_received() -> None:
    core = Core()
    batch = [created(1), created(1), b"", foreign("NEW"), progress_changed(3), progress_changed(2), in_base64("#")]
    delivered = core.deliver(*batch)
    assert delivered.outcomes == {APPLIED: 2, DUPLICATE: 1, QUARANTINED: 2, IGNORED: 1, STALE: 1}
    assert delivered.outcomes.total() == len(batch)


def refused(data: bytes | Record, reason: Reason, named: str = "", core: Core | None = None) -> None:
    """The record is in the quarantine, complete and with its reason. The records around it are applied."""
    core = core or Core()
    delivered = core.deliver(created(1), data, progress_changed(2), foreign("NEW"))
    assert_refused(delivered, reason, named)
    (entry,) = core.quarantine.entries()
    assert (entry.reason, entry.record.position) == (reason, delivered.records[1].position)
    assert entry.record.data == (data.data if isinstance(data, Record) else data)
    limit = core.limit()
    assert (limit["userLimitId"], limit["progress"], limit["lastSequenceNumber"]) == (LIMIT, "10", 2)


def assert_refused(delivered: BatchResult, reason: Reason, named: str) -> None:
    _, record_outcome, *_ = delivered.record_outcomes
    assert record_outcome
    assert record_outcome.rejected
    assert record_outcome.rejected.reason is reason
    assert named in record_outcome.rejected.detail
    assert delivered.outcomes == {APPLIED: 2, QUARANTINED: 1, IGNORED: 1}
    assert delivered.reasons == {reason: 1}
    assert delivered.unsettled is None
