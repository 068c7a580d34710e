"""The history of a user's limits: order of arrival, what each event changed, and what was refused."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome
from consumer.engine.records import Position, Record
from consumer.limits import answers
from consumer.limits.claims import Claims, claims
from consumer.limits.history import AHEAD_MILLIS, Change, History, HistoryReader, Step, in_order, last_states, steps
from consumer.limits.projection import Limits
from tests.support.generators.events import (
    BRAND,
    LIMIT,
    START,
    USER,
    Event,
    created,
    encode,
    foreign,
    progress_changed,
    reset,
)

CAP = 262_144


def record(event: Event | bytes, sequence: int, *, at: int = START, shard: str = "shard-1", sub: int = 0) -> Record:
    data = event if isinstance(event, bytes) else encode(event)
    return Record(Position("limits", shard, str(sequence), sub), data, at)


def history(*events: Event | bytes) -> list[Step]:
    return list(steps(Limits(), [record(each, number) for number, each in enumerate(events, 1)], CAP))


def test_each_event_says_what_it_changed_and_the_state_after_it() -> None:
    first, second, third = history(created(1), progress_changed(2, amount="50"), reset(3, resetAmount="50"))
    assert [step.outcome.outcome for step in (first, second, third)] == [Outcome.APPLIED] * 3
    assert Change("value", None, "1000") in first.changes
    assert second.changes == (Change("progress", "0", "50"), Change("remaining", "1000", "950"))
    assert third.changes == (Change("progress", "50", "0"), Change("remaining", "950", "1000"))
    shown = answers.step(second).to_json()["state"]
    assert (shown["progress"], shown["value"]) == ("50", "1000")


def test_what_comes_again_or_late_changes_nothing_and_is_named() -> None:
    found = history(progress_changed(5, amount="50"), progress_changed(5, amount="50"), progress_changed(2), created(1))
    assert [step.outcome.outcome for step in found] == [
        Outcome.APPLIED,
        Outcome.DUPLICATE,
        Outcome.STALE,
        Outcome.APPLIED,
    ]
    assert [bool(step.changes) for step in found] == [True, False, False, True]
    assert Change("complete", False, True) in found[-1].changes
    assert [step.state for step in found[:3]] == [found[0].state] * 3


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        (created(2, currencyCode="EUR"), Reason.IDENTITY),
        (progress_changed(2, amount="ten"), Reason.SCHEMA),
        (progress_changed(10**12), Reason.SEQUENCE),
        (created(2) | {"aggregateId": "u-other"}, Reason.IDENTITY),
    ],
)
def test_poison_is_refused_and_leaves_the_limit_as_it_was(poison: Event, reason: Reason) -> None:
    before, refused = history(created(1), poison)
    assert refused.is_refused
    assert refused.outcome.rejected is not None
    assert refused.outcome.rejected.reason is reason
    assert (refused.about.limit, refused.about.event_id) == (LIMIT, poison["eventId"])
    assert (refused.changes, refused.state) == ((), before.state)
    shown = answers.step(refused).to_json()
    assert (shown["outcome"], shown["reason"]) == ("quarantined", reason)
    assert shown["state"]["value"] == "1000"


def test_a_record_that_is_too_large_is_refused_unparsed() -> None:
    (refused,) = steps(Limits(), [record(created(1), 1)], 10)
    assert refused.outcome.rejected is not None
    assert refused.outcome.rejected.reason is Reason.TOO_LARGE
    assert refused.about.limit == LIMIT


def test_other_types_have_no_step() -> None:
    assert history(foreign("LIMIT_USER_CREATED"), foreign("SOMETHING_NEW")) == []


def test_the_json_of_a_step() -> None:
    _, step = history(created(1), progress_changed(2, amount="1200"))
    shown = answers.step(step).to_json()
    assert json.loads(json.dumps(shown)) == shown
    assert {name: shown[name] for name in shown if name != "state"} == {
        "position": "limits/shard-1/2",
        "arrivedAt": START,
        "userLimitId": LIMIT,
        "eventId": "e-0002",
        "type": "USER_LIMIT_PROGRESS_CHANGED",
        "sequenceNumber": 2,
        "createdAt": START + 2_000,
        "outcome": "applied",
        "warnings": ["over_limit"],
        "changes": [
            {"field": "progress", "before": "0", "after": "1200"},
            {"field": "remaining", "before": "1000", "after": "-200"},
        ],
    }
    assert (shown["state"]["brandId"], shown["state"]["remaining"]) == (BRAND, "-200")


# order


def test_within_a_shard_the_sequence_numbers_give_the_order() -> None:
    tenth, ninth, part = record(created(1), 10), record(created(2), 9, at=START + 5), record(created(3), 9, sub=1)
    assert in_order([tenth, part, ninth]) == [ninth, part, tenth]


def test_between_shards_the_arrival_gives_the_order() -> None:
    parent = [record(created(1), 1, at=START), record(created(2), 2, at=START + 20)]
    child = [
        record(created(3), 1, at=START + 10, shard="shard-2"),
        record(created(4), 2, at=START + 30, shard="shard-2"),
    ]
    assert in_order([*child, *parent]) == [parent[0], child[0], parent[1], child[1]]


def test_a_position_counts_once() -> None:
    assert len(in_order([record(created(1), 1), record(created(1), 1), record(created(1), 1, sub=1)])) == 2


# limits


def test_the_steps_of_a_limit_and_the_last_states() -> None:
    found = history(created(1), created(2, userLimitId="l-2"), progress_changed(3), b"[]")
    whole = History(START, found, ())
    assert [step.about.event_id for step in whole.of_limit(LIMIT)] == ["e-0001", "e-0003"]
    assert whole.of_limit(None) == found
    states = last_states(found)
    assert states.keys() == {LIMIT, "l-2"}
    assert states[LIMIT] == found[2].state


@dataclass
class Found:
    """Implements RecordFinder: some records, in any order, and what was asked for."""

    records: Sequence[Record]
    unreadable: Sequence[str] = ()
    asked: list[tuple[str, int, int | None]] = field(default_factory=list)

    def records_of(self, user: str, until: int, most_objects: int | None = None) -> "Found":
        self.asked.append((user, until, most_objects))
        return self


def test_a_reader_reads_until_now_or_until_a_time() -> None:
    found = Found([record(progress_changed(2), 2), record(created(1), 1), record(created(1), 1)], ["damaged"])
    reader = HistoryReader(found, Limits(), CAP, lambda: START)
    read = reader.of_user(USER)
    assert [step.about.event_id for step in read.steps] == ["e-0001", "e-0002"]
    assert (read.as_of, read.unreadable) == (START, ["damaged"])
    assert reader.of_user(USER, START - 5, 7).as_of == START - 5
    assert reader.of_user(USER, START * 2).as_of == START * 2
    latest = START + AHEAD_MILLIS
    assert found.asked == [(USER, latest, None), (USER, START - 5, 7), (USER, latest, None)]


# claims


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (encode(created(1)), Claims(frozenset({USER}), LIMIT, "e-0001", "USER_LIMIT_CREATED")),
        (b"\xef\xbb\xbf" + encode(created(1)), Claims(frozenset({USER}), LIMIT, "e-0001", "USER_LIMIT_CREATED")),
        (encode({"aggregateId": "a", "payload": {"userId": "b"}}), Claims(frozenset({"a", "b"}))),
        (encode({"aggregateId": 5, "payload": {"userId": "b", "userLimitId": None}}), Claims(frozenset({"b"}))),
        (encode({"aggregateId": "a", "payload": [], "extra": "\ud800"}), Claims(frozenset({"a"}))),
        (b"[]", Claims()),
        (b"nothing", Claims()),
        (b"\xff", Claims()),
        (b"", Claims()),
    ],
)
def test_claims_are_found_in_whatever_is_an_object(data: bytes, found: Any) -> None:
    assert claims(data) == found
