"""A replay has the same outcomes as delivery, and drops only settled entries."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from consumer.admin.replay import BATCH, TRIES, Pace, Replay, Replayed, replayer
from consumer.engine.errors import Reason, Unavailable
from consumer.engine.folding import Outcome
from consumer.engine.quarantine import InMemoryQuarantine, Listed, Quarantined
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
    return list(replaying(core, quarantine).of(quarantine.listing()))


def replaying(core: Core, quarantine: InMemoryQuarantine, *, dry_run: bool = False) -> Replay:
    return Replay(replayer(core.processor, dry_run=dry_run), quarantine, dry_run, pause=lambda _: None)


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


def test_a_store_that_fails_leaves_what_is_not_stored() -> None:
    repository = FlakyRepository(memory(), lambda key: Fate.THROTTLED if key[1] == "l-2" else Fate.STORED)
    entries = [entry(encode(created(userLimitId=f"l-{number}")), number) for number in range(1, BATCH + 2)]
    quarantine = kept(*entries)
    done: list[Replayed] = []
    with pytest.raises(Unavailable) as raised:
        done.extend(replaying(Core(repository), quarantine).of(quarantine.listing()))
    assert str(raised.value).startswith("not stored; s/shardId-0/2 and 0 more of its batch, and the entries after it,")
    in_order = sorted(entries, key=lambda each: str(each.record.position))
    later = in_order[BATCH:]
    assert list(quarantine.entries()) == sorted([*later, entries[1]], key=lambda each: str(each.record.position))


def test_a_store_that_fails_a_few_times_ends_nothing() -> None:
    fates = iter([Fate.THROTTLED] * (TRIES - 1))
    repository = FlakyRepository(memory(), lambda _: next(fates, Fate.STORED))
    quarantine = kept(entry(encode(created())))
    pauses: list[float] = []
    replay = Replay(replayer(Core(repository).processor), quarantine, pause=pauses.append)
    assert [each.outcome for each in replay.of(quarantine.listing())] == [APPLIED]
    assert len(pauses) == TRIES - 1
    assert pauses == sorted(pauses)


def test_many_entries_are_replayed_in_batches() -> None:
    repository = FlakyRepository(memory())
    entries = [entry(encode(created(userLimitId=f"l-{number}")), number) for number in range(3 * BATCH)]
    quarantine = kept(*entries)
    assert [each.outcome for each in replayed(Core(repository), quarantine)] == [APPLIED] * 3 * BATCH
    assert quarantine.size() == 0
    assert len(repository.loads) <= 3 * 25, "not one for each entry"


def test_an_aggregate_and_its_second_record_in_one_batch_are_told_apart() -> None:
    quarantine = kept(entry(aggregate(encode(created()), POISON), 1), entry(encode(progress_changed()), 1, sub=1))
    by_position = {str(each.position): each.outcome for each in replayed(Core(), quarantine)}
    assert by_position == {"s/shardId-0/1": QUARANTINED, "s/shardId-0/1-1": APPLIED}
    assert [str(each.record.position) for each in quarantine.entries()] == ["s/shardId-0/1"]


def test_a_dry_run_has_the_same_outcomes_and_changes_nothing() -> None:
    entries = [
        entry(encode(created()), 1),
        entry(encode(progress_changed()), 2),
        entry(encode(created()), 3),
        entry(POISON, 4),
        *(entry(encode(created(userLimitId=f"l-{number}")), 10 + number) for number in range(2 * BATCH)),
    ]
    core = Core()
    quarantine = kept(*entries)
    dry = list(replaying(core, quarantine, dry_run=True).of(quarantine.listing()))
    assert core.limits("u-7Qd2") == {}
    assert quarantine.size() == len(entries)
    assert dry == replayed(core, quarantine)
    assert [str(each.record.position) for each in quarantine.entries()] == ["s/shardId-0/4"]


@dataclass
class Clock:
    """Time passes only in pauses."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def read(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(("rate", "seconds"), [(10, 24.0), (250, 0.8), (0, 0.0)])
def test_a_rate_is_kept(rate: int, seconds: float) -> None:
    """The time until the last of 250 entries is replayed. The first ones need not wait."""
    clock = Clock()
    quarantine = kept(*(entry(encode(created(userLimitId=f"l-{number}")), number) for number in range(250)))
    replay = Replay(replayer(Core().processor), quarantine, pace=Pace(rate, clock.read, clock.pause))
    assert len(list(replay.of(quarantine.listing()))) == 250
    assert clock.now == pytest.approx(seconds)


def test_what_could_not_be_dropped_is_a_duplicate_next_time() -> None:
    """As after a crash between the table and the quarantine."""
    core, quarantine = Core(), kept(entry(encode(created())))
    with pytest.raises(Unavailable, match="cannot be removed"):
        list(replaying(core, Stuck(quarantine)).of(quarantine.listing()))
    assert list(quarantine.entries()) == [entry(encode(created()))]
    assert [each.outcome for each in replayed(core, quarantine)] == [DUPLICATE]
    assert quarantine.size() == 0


class Stuck(InMemoryQuarantine):
    """A quarantine that can be read but not changed."""

    def __init__(self, kept: InMemoryQuarantine) -> None:
        self._kept = kept._kept

    def drop(self, listed: Sequence[Listed]) -> Sequence[bool]:
        raise Unavailable(f"{len(listed)} entries cannot be removed")


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
