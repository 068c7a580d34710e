"""The contract of all repositories of limits: in memory, on MiniStack, and on DynamoDB Local."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from consumer.engine.folding import fold
from consumer.engine.projection import Ignored, Key
from consumer.engine.repository import ErasableRepository, PendingWrite, Repository, Saved, Versioned
from consumer.limits.projection import Limits
from consumer.limits.repository import UserLimitRepository, UserLimits
from consumer.limits.state import LimitState
from tests.contract.conftest import Kept
from tests.support.generators.events import DAY, START, USER, Event, created, encode, progress_changed, reset
from tests.support.simulation.core import found, readable

LIMITS = Limits()
KEY: Key = (USER, "l-day")


@pytest.fixture
def repository(place: Kept) -> ErasableRepository[LimitState]:
    return place.limits()


def state(*events: Event) -> LimitState:
    decoded = [LIMITS.decode(encode(event)) for event in events]
    folded = fold(LIMITS, None, [event for event in decoded if not isinstance(event, Ignored)]).state
    assert folded
    return folded


def key_of(kept: LimitState) -> Key:
    return (kept.user_id, kept.user_limit_id)


def inserts(states: Sequence[LimitState]) -> dict[Key, PendingWrite[LimitState]]:
    return {key_of(each): PendingWrite(None, each) for each in states}


def insert(repository: Repository[LimitState], *events: Event) -> Versioned[LimitState]:
    """Stores the limit that the events lead to, where none is stored yet."""
    wanted = inserts([state(*events)])
    (key,) = wanted
    return repository.save(wanted).stored[key]


def update(repository: Repository[LimitState], expected: Versioned[LimitState], *events: Event) -> Saved[LimitState]:
    return repository.save({KEY: PendingWrite(expected, state(*events))})


def many(number: int, make: Callable[..., Event] = created) -> list[LimitState]:
    return [state(make(userLimitId=f"l-{count:04}", userId=f"u-{count % 7}")) for count in range(number)]


def loaded(repository: Repository[LimitState], keys: Sequence[Key]) -> dict[Key, LimitState]:
    return {key: each.state for key, each in repository.load(keys).items() if isinstance(each, Versioned)}


# reading and writing


def test_nothing_is_there_before_it_is_saved(repository: Repository[LimitState]) -> None:
    assert repository.load([KEY]) == {}
    assert repository.partition(USER) == []


def test_no_keys_and_no_writes_are_valid(repository: Repository[LimitState]) -> None:
    assert repository.load([]) == {}
    assert repository.save({}) == Saved()


def test_what_was_saved_is_loaded_with_its_version(repository: Repository[LimitState]) -> None:
    stored = insert(repository, created(1))
    assert stored.state == state(created(1))
    assert repository.load([KEY, (USER, "l-other")]) == {KEY: stored}


def test_what_was_saved_by_one_is_loaded_by_another(place: Kept) -> None:
    stored = insert(place.limits(), created(1))
    assert place.limits().load([KEY]) == {KEY: stored}


def test_a_change_takes_the_place_of_what_it_expected(repository: Repository[LimitState]) -> None:
    first = insert(repository, created(1))
    saved = update(repository, first, created(1), progress_changed(2))
    second = saved.stored[KEY]
    assert (saved.conflicts, saved.unknown) == ({}, {})
    assert second.version != first.version
    assert repository.load([KEY]) == {KEY: second}
    assert second.state == state(created(1), progress_changed(2))


def test_the_version_of_what_was_saved_can_be_expected_at_once(repository: Repository[LimitState]) -> None:
    kept = insert(repository, created(1))
    for sequence in range(2, 8):
        kept = update(repository, kept, created(1), progress_changed(sequence)).stored[KEY]
    assert found(repository, KEY).state == state(created(1), progress_changed(7))


WHOLE: Mapping[str, Sequence[Event]] = {
    "every register": (
        created(1, value="500", nextResetTime=START + DAY, activeUntil=START, progress="1.50"),
        created(2, previousLimitValue="400", progress="-1"),
        progress_changed(3, remainingAmount="990"),
        reset(4),
    ),
    "never created": (progress_changed(2),),
    "38 digits": (created(1, value="9" * 38), progress_changed(2, previousProgress="1" * 38, amount="0")),
    "18 decimals": (
        created(1, value="12345678901234567890.123456789012345678", progress="-0.000000000000000001"),
        progress_changed(2, amount="0.000000000000000001"),
    ),
    "a number that ends in zeros": (created(1, value="1" + "0" * 37),),
    "the largest integers": (created(10**9, activeFrom=-(2**53 - 1), nextResetTime=2**53 - 1),),
    "zeros": (created(1, value="0.00", activeFrom=0), progress_changed(2, amount="0")),
}


@pytest.mark.parametrize("events", WHOLE.values(), ids=WHOLE.keys())
def test_every_state_comes_back_as_it_was(repository: Repository[LimitState], events: Sequence[Event]) -> None:
    stored = insert(repository, *events)
    assert repository.load([KEY]) == {KEY: stored}
    assert repository.partition(USER) == [stored.state]
    again = update(repository, found(repository, KEY), *events).stored[KEY]
    assert again == stored


IDS = ("a b", "\"'", "?", "\u00e9\u20ac", "\U0001f3b2" * 128, "'; DROP", "{}", "a/b#c", "%", "\\", "\u2028", "-")


def test_any_id_will_do(repository: Repository[LimitState]) -> None:
    states = [state(created(userId=user, userLimitId=limit)) for user in IDS for limit in IDS]
    wanted = {key_of(each): each for each in states}
    assert repository.save(inserts(states)).stored.keys() == wanted.keys()
    assert loaded(repository, list(wanted)) == wanted
    assert [each.user_limit_id for each in readable(repository, "\"'")] == sorted(IDS)


# many at once


def test_sixty_changes_in_one_save(repository: Repository[LimitState]) -> None:
    states = many(60)
    saved = repository.save(inserts(states))
    assert ({key: each.state for key, each in saved.stored.items()}, saved.conflicts, saved.unknown) == (
        {key_of(each): each for each in states},
        {},
        {},
    )
    assert repository.load([key_of(each) for each in states]) == saved.stored


def test_230_are_loaded_at_once(repository: Repository[LimitState]) -> None:
    states = many(230)
    repository.save(inserts(states))
    keys = [key_of(each) for each in states]
    assert loaded(repository, [*keys, (USER, "l-none")]) == dict(zip(keys, states, strict=True))


def test_each_change_of_a_save_fares_on_its_own(repository: Repository[LimitState]) -> None:
    states = many(60)
    there = {key_of(each): each for each in states[::3]}
    repository.save(inserts(list(there.values())))
    saved = repository.save(inserts(many(60, progress_changed)))
    assert {key: each.state for key, each in saved.conflicts.items() if isinstance(each, Versioned)} == there
    assert saved.stored.keys() == {key_of(each) for each in states} - there.keys()
    assert saved.unknown == {}


# conflicts


def test_an_insert_over_an_existing_item_brings_that_item(repository: Repository[LimitState]) -> None:
    there = insert(repository, created(1))
    saved = repository.save(inserts([state(progress_changed(2))]))
    assert (saved.stored, saved.conflicts, saved.unknown) == ({}, {KEY: there}, {})
    assert repository.load([KEY]) == {KEY: there}


def test_an_update_of_what_has_changed_brings_what_is_there(repository: Repository[LimitState]) -> None:
    first = insert(repository, created(1))
    second = update(repository, first, created(1), progress_changed(2)).stored[KEY]
    saved = update(repository, first, created(1), progress_changed(3))
    assert (saved.stored, saved.conflicts, saved.unknown) == ({}, {KEY: second}, {})
    assert repository.load([KEY]) == {KEY: second}


def test_what_a_conflict_brought_can_be_built_upon(repository: Repository[LimitState]) -> None:
    insert(repository, created(1))
    current = repository.save(inserts([state(progress_changed(2))])).conflicts[KEY]
    assert isinstance(current, Versioned)
    assert update(repository, current, created(1), progress_changed(2)).stored


def test_an_update_of_what_is_not_there_is_a_conflict_with_nothing(repository: Repository[LimitState]) -> None:
    saved = update(repository, Versioned(state(created(1)), "0" * 32), created(1), progress_changed(2))
    assert (saved.stored, saved.conflicts, saved.unknown) == ({}, {KEY: None}, {})
    assert repository.load([KEY]) == {}


# retried requests after a lost response


def test_an_insert_that_meets_its_own_write_is_stored(repository: Repository[LimitState]) -> None:
    first, again = (repository.save(inserts([state(created(1))])) for _ in range(2))
    assert again == first


def test_an_update_that_meets_its_own_write_is_stored(repository: Repository[LimitState]) -> None:
    there = insert(repository, created(1))
    first, again = (update(repository, there, created(1), progress_changed(2)) for _ in range(2))
    assert again == first


def test_sixty_inserts_that_meet_their_own_writes_are_stored(repository: Repository[LimitState]) -> None:
    first, again = (repository.save(inserts(many(60))) for _ in range(2))
    assert again == first


# all limits of a user


def test_all_limits_of_a_user_and_nobody_elses(repository: Repository[LimitState]) -> None:
    mine = [state(created(userLimitId=name)) for name in ("l-b", "l-a", "L", "l-\U0001f3b2", "l-\ufb00")]
    theirs = [state(created(userId="u-7Qd", userLimitId="l-a"))]
    repository.save(inserts([*mine, *theirs]))
    assert repository.partition(USER) == sorted(mine, key=lambda each: each.user_limit_id)
    assert repository.partition("u-7Qd") == theirs


def test_a_user_with_more_limits_than_fit_in_one_answer(repository: Repository[LimitState]) -> None:
    long = "\U0001f3b2" * 120
    mine = [state(created(1, long, userLimitId=f"{long}{count:04}", brandId=long)) for count in range(800)]
    assert sum(len(repr(LIMITS.dump(each)).encode()) for each in mine) > 1_200_000
    repository.save(inserts(mine))
    assert repository.partition(USER) == mine


def test_the_limits_as_readers_ask_for_them(repository: ErasableRepository[LimitState]) -> None:
    limits = UserLimitRepository(repository, lambda: START + DAY)
    saved = limits.save(
        inserts([state(created(1, nextResetTime=START + DAY)), state(created(2, userLimitId="l-2", value="5.50"))])
    )
    assert limits.load(saved.stored) == saved.stored
    assert [(limit.user_limit_id, limit.reset_overdue) for limit in limits.for_user(USER).limits] == [
        ("l-2", False),
        ("l-day", True),
    ]
    assert limits.for_user("u-nobody") == UserLimits([], [])
