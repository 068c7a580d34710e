"""A replay has the same outcomes as delivery, and drops only settled entries."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from consumer.admin.replay import Replayed, replay, replayer
from consumer.engine.errors import Reason, Unavailable
from consumer.engine.folding import Outcome
from consumer.engine.quarantine import InMemoryQuarantine, Quarantined
from consumer.engine.records import Position, Record
from tests.support.generators.events import created, encode, foreign, progress_changed
from tests.support.generators.kpl import aggregate
from tests.support.simulation.core import Core, Fate, FlakyRepository, memory

APPLIED, DUPLICATE, STALE = Outcome.APPLIED, Outcome.DUPLICATE, Outcome.STALE
IGNORED, QUARANTINED = Outcome.IGNORED, Outcome.QUARANTINED
POISON = b"poison"
NEW = encode(foreign("LIMIT_USER_NICKNAME_CHANGED"))


def entry(data: bytes, number: int = 1, sub: int = 0, reason: Reason | str = Reason.SCHEMA) -> Quarantined:
    return Quarantined(Record(Position("s", "shardId-0", str(number), sub), data, 1), reason, "a detail")


def kept(*entries: Quarantined) -> InMemoryQuarantine:
    made = InMemoryQuarantine()
    made.put(entries)
    return made


def replayed(core: Core, quarantine: InMemoryQuarantine) -> Sequence[Replayed]:
    return list(replay(replayer(core.processor), quarantine, quarantine.entries()))


@pytest.mark.parametrize(
    ("data", "outcome", "left"),
    [
        (encode(progress_changed(4)), APPLIED, False),
        (encode(created(3)), DUPLICATE, False),
        (encode(created(1)), STALE, False),
        (NEW, IGNORED, True),
        (POISON, QUARANTINED, True),
        (aggregate(encode(created(3)), encode(progress_changed(4))), APPLIED, False),
        (aggregate(encode(created(1)), encode(created(3))), DUPLICATE, False),
        (aggregate(encode(progress_changed(4)), NEW), IGNORED, True),
        (aggregate(POISON, encode(progress_changed(4)), NEW), QUARANTINED, True),
        (aggregate(), QUARANTINED, True),
    ],
    ids=lambda value: str(value)[:12],
)
def test_an_entry_is_dropped_only_if_all_its_events_are_settled(data: bytes, outcome: Outcome, left: bool) -> None:
    core = Core()
    core.deliver(created(3))
    quarantine = kept(entry(data))
    (result,) = replayed(core, quarantine)
    assert (result.outcome, result.left) == (outcome, left)
    assert list(quarantine.entries()) == ([entry(data)] if left else []), "whole and unchanged"


def test_the_reason_says_why_an_entry_is_left_and_counts_the_outcomes_of_an_aggregate() -> None:
    core = Core()
    entries = [
        entry(POISON, 1),
        entry(NEW, 2),
        entry(aggregate(encode(created()), POISON, NEW), 3),
        entry(aggregate(encode(created()), encode(progress_changed())), 4),
        entry(encode(created()), 5),
    ]
    reasons = [each.reason for each in replayed(core, kept(*entries))]
    assert reasons[0].startswith("JSON: ")
    assert reasons[1].startswith("not applied: this version does not know the type (")
    assert reasons[2].endswith("(1 applied, 1 ignored, 1 quarantined)")
    assert reasons[3:] == ["(1 applied, 1 duplicate)", ""]


def test_an_entry_that_was_replaced_meanwhile_stays() -> None:
    """The service quarantines the record again between reading and dropping."""
    quarantine = kept(entry(encode(created())))
    other = replace(entry(encode(created())), detail="put meanwhile")

    def put_other() -> bool:
        quarantine.put([other])
        return False

    repository = FlakyRepository(memory(), unreadable=put_other)
    (result,) = replayed(Core(repository), quarantine)
    assert (result.outcome, result.left) == (APPLIED, True)
    assert "another entry" in result.reason
    assert list(quarantine.entries()) == [other]


def test_a_store_that_fails_in_the_middle_leaves_the_rest() -> None:
    repository = FlakyRepository(memory(), lambda key: Fate.THROTTLED if key[1] == "l-2" else Fate.STORED)
    entries = [entry(encode(created(userLimitId=f"l-{number}")), number) for number in (1, 2, 3)]
    quarantine = kept(*entries)
    replaying = replay(replayer(Core(repository).processor), quarantine, list(quarantine.entries()))
    done = next(replaying)
    with pytest.raises(Unavailable, match="not stored; s/shardId-0/2 and the entries after it were not replayed"):
        next(replaying)
    assert (str(done.position), done.left) == ("s/shardId-0/1", False)
    assert list(quarantine.entries()) == entries[1:]


def test_a_store_that_fails_within_an_aggregate_leaves_it_whole() -> None:
    repository = FlakyRepository(memory(), lambda key: Fate.THROTTLED if key[1] == "l-2" else Fate.STORED)
    whole = entry(aggregate(POISON, *(encode(created(userLimitId=f"l-{number}")) for number in (1, 2))))
    quarantine = kept(whole)
    with pytest.raises(Unavailable):
        replayed(Core(repository), quarantine)
    assert list(quarantine.entries()) == [whole]


def test_neither_the_breaker_nor_the_quarantine_of_the_core_is_used() -> None:
    core = Core(breaker=1)
    quarantine = kept(entry(POISON, 1), entry(POISON, 2))
    assert [each.outcome for each in replayed(core, quarantine)] == [QUARANTINED] * 2
    assert list(core.quarantine.entries()) == []


def test_a_record_that_is_too_large_is_left_as_on_delivery() -> None:
    quarantine = kept(entry(encode(created())))
    assert [each.outcome for each in replayed(Core(record_cap=100), quarantine)] == [QUARANTINED]
    assert [each.outcome for each in replayed(Core(), quarantine)] == [APPLIED]


# records that a replay could interpret differently from delivery


def test_text_that_is_not_base64_is_not_replayed_as_the_data_of_a_record() -> None:
    """The entry contains the text. Here it is an unencoded event, which no producer sends."""
    core = Core()
    text = encode(created()).decode()
    core.deliver(Record.from_base64(Position("s", "shardId-0", "1"), text, 1))
    (rejected,) = core.quarantine.entries()
    assert (rejected.reason, rejected.record.data) == (Reason.RECORD_DATA, encode(created()))
    (result,) = replayed(Core(), kept(rejected))
    assert (result.outcome, result.left) == (QUARANTINED, True)


def test_empty_data_is_left() -> None:
    (result,) = replayed(Core(), kept(entry(b"", reason=Reason.RECORD_DATA)))
    assert (result.outcome, result.left) == (QUARANTINED, True)
    assert "empty" in result.reason


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("reason", [None, Reason.ENCODING], ids=["now", "earlier-version"])
def test_an_aggregate_inside_another_is_not_unpacked(place: int, reason: Reason | None) -> None:
    """Delivery rejects it. Earlier versions treated it as a record whose data is not text."""
    core = Core()
    parts = [encode(foreign("NEW"))] * 2
    parts[place] = aggregate(encode(created()))
    core.deliver(aggregate(*parts))
    (rejected,) = core.quarantine.entries()
    assert rejected.record.position.sub_sequence == place
    if reason:
        rejected = replace(rejected, reason=reason, detail="not UTF-8")
    again = Core()
    (result,) = replayed(again, kept(rejected))
    assert (result.outcome, result.left) == (QUARANTINED, True)
    assert again.limits("u-7Qd2") == {}
