"""Replacing a limit: on the condition that it is as it was shown, and with a line for the audit."""

import logging

import pytest

from consumer.admin.repair import carry_out
from consumer.engine.errors import Unavailable
from consumer.engine.repository import InMemoryRepository, Stored
from consumer.limits.repairing import Repair
from consumer.limits.repository import UserLimitRepository
from consumer.limits.state import LimitState
from tests.support.generators.events import LIMIT, START, USER, created, progress_changed
from tests.support.simulation.core import Core, Fate, FlakyRepository, found, memory

KEY = (USER, LIMIT)


class Erasable(FlakyRepository[LimitState]):
    """With the method that an operator's repository has."""

    kept: InMemoryRepository[LimitState]

    def forget(self, key: tuple[str, str], found: Stored[LimitState]) -> bool:
        return self.kept.forget(key, found)


@pytest.fixture
def table() -> InMemoryRepository[LimitState]:
    return memory()


def planned(core: Core, *kept: object) -> Repair:
    """From what the core has stored to what the other events lead to."""
    other = Core()
    other.deliver(*kept)
    after = found(other.repository, KEY).state if kept else None
    return Repair(found(core.repository, KEY).state, after, True, ())


def limits(table: InMemoryRepository[LimitState]) -> UserLimitRepository:
    return UserLimitRepository(table, lambda: START)


def test_the_limit_is_replaced_and_not_merged(
    table: InMemoryRepository[LimitState], caplog: pytest.LogCaptureFixture
) -> None:
    core = Core(table)
    core.deliver(created(1), progress_changed(9, "e-untrue"))
    before, plan = found(table, KEY), planned(core, created(1))
    with caplog.at_level(logging.WARNING):
        assert carry_out(limits(table), "user-limits", before, plan, "e-untrue")
    assert found(table, KEY).state == plan.after
    (line,) = caplog.records
    assert line.getMessage() == "limit repaired"
    fields = vars(line)
    assert {name: fields[name] for name in ("table", "user_id", "user_limit_id", "version", "without_event")} == {
        "table": "user-limits",
        "user_id": USER,
        "user_limit_id": LIMIT,
        "version": before.version,
        "without_event": "e-untrue",
    }
    assert fields["new_version"] == found(table, KEY).version
    assert fields["user"]
    assert fields["host"]


def test_a_limit_of_which_nothing_else_is_known_is_deleted(table: InMemoryRepository[LimitState]) -> None:
    core = Core(table)
    core.deliver(created(1))
    assert carry_out(limits(table), "user-limits", found(table, KEY), planned(core), "e-0001")
    assert table.states() == []


@pytest.mark.parametrize("kept", [(created(1),), ()])
def test_a_limit_that_has_changed_is_left_as_it_is(
    table: InMemoryRepository[LimitState], kept: tuple[object, ...], caplog: pytest.LogCaptureFixture
) -> None:
    core = Core(table)
    core.deliver(created(1), progress_changed(9, "e-untrue"))
    before, plan = found(table, KEY), planned(core, *kept)
    core.deliver(progress_changed(10))
    after = table.states()
    assert not carry_out(limits(table), "user-limits", before, plan, "e-untrue")
    assert table.states() == after
    assert caplog.records == []


def test_without_an_answer_it_says_so(table: InMemoryRepository[LimitState]) -> None:
    core = Core(table)
    core.deliver(created(1), progress_changed(9, "e-untrue"))
    away = UserLimitRepository(Erasable(table, lambda _: Fate.THROTTLED), lambda: START)
    with pytest.raises(Unavailable):
        carry_out(away, "user-limits", found(table, KEY), planned(core, created(1)), "e-untrue")


def test_a_worker_with_the_old_state_in_its_cache_notices_the_repair(table: InMemoryRepository[LimitState]) -> None:
    """Its next write names a version that is no longer stored, so it folds into the repaired state."""
    worker = Core(table)
    worker.deliver(created(1), progress_changed(900, "e-untrue", amount="500"))
    assert carry_out(limits(table), "user-limits", found(table, KEY), planned(worker, created(1)), "e-untrue")
    worker.deliver(progress_changed(2, amount="20"))
    other = Core()
    other.deliver(created(1), progress_changed(2, amount="20"))
    assert table.states() == other.repository.partition(USER)
