"""Deleting a limit: only the version that was shown is deleted, and no writer restores it from its cache."""

from collections.abc import Callable
from itertools import count

import pytest

from consumer.engine.errors import Reason
from consumer.engine.repository import ErasableRepository, PendingWrite, Unreadable
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from tests.contract.conftest import Kept
from tests.support.generators.events import LIMIT, USER, Event, created, progress_changed, reset
from tests.support.simulation.core import Core, Fate, FlakyRepository, found, times

KEY = (USER, LIMIT)
NOTHING_ELSE = {"userId", "userLimitId", "brandId", "currencyCode", "progress"}
"""The attributes of a limit after a single PROGRESS_CHANGED."""


@pytest.fixture
def repository(place: Kept) -> ErasableRepository[LimitState]:
    return place.limits()


def forget(repository: ErasableRepository[LimitState]) -> None:
    assert repository.forget(KEY, found(repository, KEY))


def once(act: Callable[[], None], after: int = 0) -> Callable[[], None]:
    """Calls `act` once, at the call after `after` others."""
    calls = count()

    def call() -> None:
        if next(calls) == after:
            act()

    return call


def attributes(repository: ErasableRepository[LimitState]) -> set[str]:
    return set(Limits().dump(found(repository, KEY).state))


# the deletion


def test_what_was_found_is_deleted_and_nothing_else(repository: ErasableRepository[LimitState]) -> None:
    Core(repository).deliver(created(1), created(2, userLimitId="l-other"))
    assert repository.forget(KEY, found(repository, KEY))
    assert repository.load([KEY]) == {}
    assert [each.user_limit_id for each in repository.partition(USER) if isinstance(each, LimitState)] == ["l-other"]


def test_what_has_changed_meanwhile_is_kept(repository: ErasableRepository[LimitState]) -> None:
    core = Core(repository)
    core.deliver(created(1))
    shown = found(repository, KEY)
    core.deliver(progress_changed(2))
    assert not repository.forget(KEY, shown)
    assert found(repository, KEY).state.last.sequence == 2


def test_what_is_gone_already_is_deleted(repository: ErasableRepository[LimitState]) -> None:
    """This is the case for a retried request whose first response was lost."""
    Core(repository).deliver(created(1))
    shown = found(repository, KEY)
    assert repository.forget(KEY, shown)
    assert repository.forget(KEY, shown)
    assert repository.forget(KEY, Unreadable(KEY, "no version", None))


def test_a_sound_limit_is_not_deleted_in_the_place_of_a_row_without_a_version(
    repository: ErasableRepository[LimitState],
) -> None:
    Core(repository).deliver(created(1))
    assert not repository.forget(KEY, Unreadable(KEY, "no version", None))
    assert repository.load([KEY])


def test_a_limit_can_be_stored_where_one_was_deleted(repository: ErasableRepository[LimitState]) -> None:
    Core(repository).deliver(created(1))
    shown = found(repository, KEY)
    forget(repository)
    assert repository.save({KEY: PendingWrite(None, shown.state)}).stored == {KEY: shown}


# writers with the limit in their cache


@pytest.mark.parametrize("event", [progress_changed(5, amount="50"), progress_changed(3)], ids=["new", "again"])
def test_a_writer_that_has_it_cached_begins_with_nothing(
    repository: ErasableRepository[LimitState], event: Event
) -> None:
    writer = Core(repository)
    writer.deliver(created(1, nextResetTime=1), progress_changed(3), reset(2))
    forget(repository)
    delivered = writer.deliver(event)
    assert delivered.outcomes == {"applied": 1}
    assert attributes(repository) == NOTHING_ELSE
    assert found(repository, KEY).state.last.sequence == event["sequenceNumber"]


def test_a_writer_that_has_read_it_and_is_about_to_write(repository: ErasableRepository[LimitState]) -> None:
    Core(repository).deliver(created(1), progress_changed(3))
    writer = Core(FlakyRepository(repository, before_save=once(lambda: forget(repository))))
    delivered = writer.deliver(progress_changed(5))
    assert (delivered.outcomes, delivered.conflicts) == ({"applied": 1}, 1)
    assert attributes(repository) == NOTHING_ELSE


def test_a_writer_that_has_read_nothing_and_is_about_to_write(repository: ErasableRepository[LimitState]) -> None:
    """It inserts only what is in its batch, nothing of the deleted limit."""

    def comes_and_goes() -> None:
        Core(repository).deliver(created(1))
        forget(repository)

    Core(FlakyRepository(repository, before_save=once(comes_and_goes))).deliver(progress_changed(5))
    assert attributes(repository) == NOTHING_ELSE


def test_a_writer_that_did_not_hear_of_its_write(repository: ErasableRepository[LimitState]) -> None:
    """The write succeeds, its response is lost, the limit is shown and deleted, then the write is retried."""
    writer = Core(repository)
    writer.deliver(created(1))
    lost = times(1)
    unsteady = FlakyRepository(
        repository,
        fate=lambda _key: Fate.REPLY_LOST if lost() else Fate.STORED,
        before_save=once(lambda: forget(repository), after=1),
    )
    writer.processor.repository = unsteady
    assert writer.deliver(progress_changed(5)).outcomes == {"applied": 1}
    assert attributes(repository) == NOTHING_ELSE


def test_what_is_not_yet_delivered_builds_it_again(repository: ErasableRepository[LimitState]) -> None:
    writer = Core(repository)
    writer.deliver(created(1), progress_changed(2))
    before = found(repository, KEY)
    forget(repository)
    writer.deliver(created(1), progress_changed(2))
    assert found(repository, KEY) == before


# recovery from a wrong first event


@pytest.mark.parametrize("cached", [0, 10_000], ids=["no cache", "a cache"])
def test_a_limit_shut_by_a_wrong_first_event_is_opened(repository: ErasableRepository[LimitState], cached: int) -> None:
    writer, wrong = Core(repository, cached=cached), created(1, currencyCode="EUR")
    right = [created(2), progress_changed(3)]
    assert writer.deliver(wrong, *right).reasons == {Reason.IDENTITY: 2}
    refused = [entry.record for entry in writer.quarantine.entries()]

    forget(repository)
    operator = Core(repository)
    assert operator.deliver(*refused).outcomes == {"applied": 2}
    assert writer.deliver(progress_changed(4, amount="20", previousProgress="10")).outcomes == {"applied": 1}
    assert writer.deliver(wrong).reasons == {Reason.IDENTITY: 1}
    limit = operator.limit()
    assert (limit["currencyCode"], limit["value"], limit["progress"]) == ("SEK", "1000", "30")
