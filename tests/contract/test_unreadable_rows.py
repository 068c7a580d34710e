"""Invalid rows in the table: each affects its own limit and no other, however it is read."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from consumer.engine.errors import Reason
from consumer.engine.projection import Key
from consumer.engine.repository import ErasableRepository, PendingWrite, Unreadable
from consumer.limits.repository import UserLimitRepository
from consumer.limits.state import LimitState
from consumer.stores.dynamodb import hashed
from tests.contract.conftest import Dynamo
from tests.support.generators.events import LIMIT, START, USER, created, progress_changed
from tests.support.generators.odd_rows import Odd, Row, odd_rows, row_of, sound
from tests.support.simulation.core import Core, found

KEY = (USER, LIMIT)
ODD = list(odd_rows(USER))


@pytest.fixture
def repository(dynamo: Dynamo) -> ErasableRepository[LimitState]:
    return dynamo.limits()


def put(dynamo: Dynamo, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a row as another program would, bypassing the service."""
    serialize = TypeSerializer().serialize
    client, requests = (
        dynamo.client(),
        [{"PutRequest": {"Item": {n: serialize(v) for n, v in r.items()}}} for r in rows],
    )
    for start in range(0, len(requests), 25):
        answer = client.batch_write_item(RequestItems={dynamo.name: requests[start : start + 25]})  # type: ignore[dict-item]
        assert not answer["UnprocessedItems"]


def key_of(row: Row) -> Key:
    return (row["userId"], row["userLimitId"])


def spoil(dynamo: Dynamo, limit: str = LIMIT) -> None:
    """Turns a register into a string and keeps the version."""
    put(dynamo, [sound(USER, limit) | {"progress": "50"}])


def is_named(row: Unreadable, table: str, odd: Odd) -> bool:
    """A row that boto3 refuses has no path."""
    begin = f"row {hashed(key_of(odd.row))} of the table {table}: "
    return row.detail.startswith((f"{begin}{odd.place}", f"{begin}Rounded"))


def test_every_odd_row_is_reported_and_every_other_read(
    dynamo: Dynamo, repository: ErasableRepository[LimitState]
) -> None:
    good = [sound(USER, f"l-good-{number}") for number in range(3)]
    put(dynamo, [*good, *(odd.row for odd in ODD)])
    loaded = repository.load([key_of(row) for row in (*good, *(odd.row for odd in ODD))])
    of_user = repository.partition(USER)
    unreadable = {row.key: row for row in loaded.values() if isinstance(row, Unreadable)}

    assert unreadable.keys() == {key_of(odd.row) for odd in ODD}
    assert [odd.name for odd in ODD if not is_named(unreadable[key_of(odd.row)], dynamo.name, odd)] == []
    assert {row.key: row for row in of_user if isinstance(row, Unreadable)} == unreadable
    assert [row_of(state) for state in of_user if isinstance(state, LimitState)] == good
    assert not [row for row in unreadable.values() if USER in row.detail or row.key[1] in row.detail]


def test_every_odd_row_can_be_forgotten(dynamo: Dynamo, repository: ErasableRepository[LimitState]) -> None:
    put(dynamo, [odd.row for odd in ODD])
    stored = repository.load([key_of(odd.row) for odd in ODD])
    assert [odd.name for odd in ODD if not repository.forget(key_of(odd.row), stored[key_of(odd.row)])] == []
    assert repository.partition(USER) == []


def test_an_odd_row_that_was_repaired_meanwhile_is_not_forgotten(
    dynamo: Dynamo, repository: ErasableRepository[LimitState]
) -> None:
    row = sound(USER, LIMIT)
    put(dynamo, [{name: value for name, value in row.items() if name != "version"}])
    shown = repository.load([KEY])[KEY]
    put(dynamo, [row])
    assert not repository.forget(KEY, shown)
    assert repository.load([KEY])


@pytest.mark.parametrize("version", ["kept", "changed", "gone"])
def test_a_write_that_finds_one_brings_it_along(
    dynamo: Dynamo, repository: ErasableRepository[LimitState], version: str
) -> None:
    """An insert is refused in a different way from an update."""
    core = Core(repository)
    core.deliver(created(1))
    there = found(repository, KEY)
    core.deliver(progress_changed(2))
    now = found(repository, KEY)
    row = row_of(now.state) | {"progress": "50"}
    versions = {"kept": {"version": now.version}, "changed": {"version": "0" * 32}, "gone": {}}
    put(dynamo, [{name: value for name, value in row.items() if name != "version"} | versions[version]])
    for expected in (None, there):
        saved = repository.save({KEY: PendingWrite(expected, now.state)})
        assert (saved.stored, saved.unknown) == ({}, {})
        assert isinstance(saved.conflicts[KEY], Unreadable)


# in the core


@pytest.mark.parametrize("cached", [0, 10_000], ids=["no cache", "a cache"])
@pytest.mark.parametrize("again", [False, True], ids=["new", "again"])
def test_its_events_are_quarantined_and_all_others_applied(
    dynamo: Dynamo, repository: ErasableRepository[LimitState], cached: int, again: bool
) -> None:
    core = Core(repository, cached=cached)
    core.deliver(created(1), created(2, userLimitId="l-other"))
    put(dynamo, [{name: value for name, value in sound(USER, LIMIT).items() if name != "version"}])

    event = created(1) if again else progress_changed(9)
    delivered = core.deliver(event, progress_changed(10, userLimitId="l-other"), created(11, userLimitId="l-new"))
    assert delivered.unsettled is None
    assert delivered.by_type == {
        (event["type"], "quarantined"): 1,
        ("USER_LIMIT_PROGRESS_CHANGED", "applied"): 1,
        ("USER_LIMIT_CREATED", "applied"): 1,
    }
    (entry,) = core.quarantine.entries()
    assert entry.reason == Reason.STORED_STATE
    assert entry.detail == f"row {hashed(KEY)} of the table {dynamo.name}: version: a string is needed"
    assert core.retry_policy.waits == []


def test_what_was_quarantined_for_it_is_applied_when_the_row_is_repaired(
    dynamo: Dynamo, repository: ErasableRepository[LimitState]
) -> None:
    core = Core(repository)
    core.deliver(created(1))
    spoil(dynamo)
    before = [created(1), progress_changed(5, amount="5")]
    assert core.deliver(*before).reasons == {Reason.STORED_STATE: 2}
    refused = [entry.record for entry in core.quarantine.entries()]

    assert repository.forget(KEY, repository.load([KEY])[KEY])
    assert core.deliver(*refused).outcomes == {"applied": 2}
    assert core.limit()["progress"] == "5"


def test_a_row_that_was_put_back_as_it_was_goes_on(dynamo: Dynamo, repository: ErasableRepository[LimitState]) -> None:
    core = Core(repository)
    core.deliver(created(1))
    sound_row = row_of(found(repository, KEY).state)
    spoil(dynamo)
    core.deliver(progress_changed(5))
    put(dynamo, [sound_row])
    assert core.deliver(progress_changed(6)).outcomes == {"applied": 1}


def test_a_row_changed_by_hand_that_keeps_its_version_is_mixed_with_the_changes_of_a_writer_that_has_it_cached(
    dynamo: Dynamo, repository: ErasableRepository[LimitState]
) -> None:
    """The reason why a row is deleted rather than edited (docs/how-to/operate.md)."""
    core = Core(repository)
    core.deliver(created(1))
    row = row_of(found(repository, KEY).state)
    put(dynamo, [row | {"definition": {**row["definition"], "value": 7}}])
    core.deliver(progress_changed(2, amount="5"))
    assert (core.limit()["value"], core.limit()["progress"]) == ("7", "5")


def test_readers_see_the_other_limits_and_the_unreadable_rows(
    dynamo: Dynamo, repository: ErasableRepository[LimitState]
) -> None:
    Core(repository).deliver(created(1), created(2, userLimitId="l-other"))
    spoil(dynamo)
    shown = UserLimitRepository(repository, lambda: START).for_user(USER)
    assert [limit.user_limit_id for limit in shown.limits] == ["l-other"]
    assert [row.key for row in shown.unreadable] == [KEY]
