"""The contract of all repositories for readers: pages of a user's limits, and single limits."""

import pytest

from consumer.engine.errors import Unavailable
from consumer.engine.repository import Page, Unreadable, Versioned
from consumer.limits.projection import Limits
from consumer.limits.repository import PAGE, LimitReader, LimitsPage
from consumer.limits.state import LimitState
from consumer.limits.view import view
from tests.contract.conftest import Dynamo, Kept, WholeRepository
from tests.contract.test_unreadable_rows import spoil
from tests.support.driven.processes import free_port
from tests.support.generators.events import LIMIT, START, USER, created
from tests.support.simulation.core import Core, found

KEY = (USER, LIMIT)
NAMES = ("L", "l-1", "l-2", "l-3", "l-\ufb00", "l-\U0001f3b2")
"""In the order of sort keys."""
CONSISTENT = pytest.mark.parametrize("consistent", [True, False])


@pytest.fixture
def repository(place: Kept) -> WholeRepository[LimitState]:
    return place.limits()


@pytest.fixture
def filled(repository: WholeRepository[LimitState]) -> WholeRepository[LimitState]:
    Core(repository).deliver(
        *(created(count, userLimitId=name) for count, name in enumerate(reversed(NAMES), 1)),
        created(1, userId="u-7Qd", userLimitId="l-2"),
        created(1, userId="u-7Qd22", userLimitId="l-2"),
    )
    return repository


def names(page: Page[LimitState]) -> list[str]:
    assert {key[0] for key in page.stored} <= {USER}
    return [name for _, name in page.stored]


@CONSISTENT
def test_a_whole_partition_is_one_page(filled: WholeRepository[LimitState], consistent: bool) -> None:
    page = filled.page(USER, consistent=consistent)
    assert names(page) == list(NAMES)
    assert page.after is None
    assert page.stored == filled.load(page.stored)


@CONSISTENT
def test_nothing_is_an_empty_page(repository: WholeRepository[LimitState], consistent: bool) -> None:
    assert repository.page(USER, consistent=consistent) == Page({})
    assert repository.page(USER, "l-2", 10, consistent=consistent) == Page({})
    assert repository.find(KEY, consistent=consistent) is None


@pytest.mark.parametrize("most", range(1, len(NAMES) + 2))
def test_pages_have_everything_once(filled: WholeRepository[LimitState], most: int) -> None:
    pages = [filled.page(USER, None, most)]
    while pages[-1].after is not None:
        pages.append(filled.page(USER, pages[-1].after, most))
    assert [name for page in pages for name in names(page)] == list(NAMES)
    assert {len(page.stored) for page in pages[:-1]} <= {most}
    assert pages[-1].stored, "a page that says that there is more is followed by more"


@pytest.mark.parametrize(
    ("after", "rest"), [("K", NAMES), ("l-1", NAMES[2:]), ("l-1x", NAMES[2:]), ("l-\U0001f3b2", ()), ("z", ())]
)
def test_a_page_begins_after_any_id_whether_stored_or_not(
    filled: WholeRepository[LimitState], after: str, rest: tuple[str, ...]
) -> None:
    assert names(filled.page(USER, after)) == list(rest)
    assert names(filled.page(USER, after, 2)) == list(rest[:2])


@CONSISTENT
def test_one_limit_is_found_with_its_version(filled: WholeRepository[LimitState], consistent: bool) -> None:
    key = (USER, "l-\ufb00")
    assert filled.find(key, consistent=consistent) == found(filled, key)
    assert filled.find((USER, "l-"), consistent=consistent) is None
    assert filled.find(("u-7Qd", "l-1"), consistent=consistent) is None


def test_pages_of_more_than_fits_in_one_answer_of_the_store(repository: WholeRepository[LimitState]) -> None:
    long = "\U0001f3b2" * 120
    keys = [(USER, f"{long}{count:04}") for count in range(800)]
    events = [created(1, long, userLimitId=key[1], brandId=long) for key in keys]
    Core(repository).deliver(*events)
    assert list(repository.page(USER).stored) == keys
    first = repository.page(USER, None, 790)
    assert (list(first.stored), first.after) == (keys[:790], keys[789][1])
    assert repository.page(USER, first.after, 10) == Page(repository.load(keys[790:]))


# limits, as readers see them


def test_a_reader_sees_limits_with_their_versions(filled: WholeRepository[LimitState]) -> None:
    reader = LimitReader(filled, lambda: START + 5)
    stored = found(filled, (USER, "l-2"))
    seen = [Versioned(view(stored.state, START + 5), stored.version)]
    assert reader.one(USER, "l-2") == LimitsPage(START + 5, seen, [])
    assert reader.one(USER, "l-none", consistent=False) == LimitsPage(START + 5, [], [])
    page = reader.page(USER, "l-1", consistent=False)
    assert (page.limits[:1], len(page.limits), page.after) == (seen, len(NAMES) - 2, None)


def test_a_reader_gets_at_most_a_page(repository: WholeRepository[LimitState]) -> None:
    Core(repository).deliver(*(created(1, userLimitId=f"l-{count:04}") for count in range(PAGE + 3)))
    reader = LimitReader(repository, lambda: START)
    first = reader.page(USER)
    assert (len(first.limits), first.after) == (PAGE, f"l-{PAGE - 1:04}")
    rest = reader.page(USER, first.after)
    assert ([each.state.user_limit_id for each in rest.limits], rest.after) == (
        [f"l-{count:04}" for count in range(PAGE, PAGE + 3)],
        None,
    )


# rows and outages that only a table has


def test_an_unreadable_row_is_reported_in_its_place(dynamo: Dynamo) -> None:
    repository = dynamo.limits()
    Core(repository).deliver(*(created(1, userLimitId=name) for name in ("l-1", "l-3")))
    spoil(dynamo, "l-2")
    page = repository.page(USER, None, 2)
    assert [type(each) for each in page.stored.values()] == [Versioned, Unreadable]
    assert (list(page.stored), page.after) == ([(USER, "l-1"), (USER, "l-2")], "l-2")
    assert isinstance(repository.find((USER, "l-2")), Unreadable)
    seen = LimitReader(repository, lambda: START).page(USER)
    assert ([each.state.user_limit_id for each in seen.limits], [row.key for row in seen.unreadable]) == (
        ["l-1", "l-3"],
        [(USER, "l-2")],
    )


@CONSISTENT
def test_the_store_is_told_whether_the_read_must_be_consistent(dynamo: Dynamo, consistent: bool) -> None:
    asked: list[bool] = []
    client = dynamo.client()
    client.meta.events.register(
        "provide-client-params.dynamodb.Query", lambda params, **_: asked.append(params["ConsistentRead"])
    )
    repository = dynamo.repository(Limits(), client)
    repository.page(USER, consistent=consistent)
    repository.find(KEY, consistent=consistent)
    assert asked == [consistent, consistent]


@CONSISTENT
def test_without_a_server_nothing_is_an_empty_page(dynamo: Dynamo, consistent: bool) -> None:
    away = Dynamo(f"http://127.0.0.1:{free_port()}", dynamo.pool, dynamo.stack)
    with pytest.raises(Unavailable, match="EndpointConnectionError"):
        away.limits().page(USER, consistent=consistent)
    with pytest.raises(Unavailable, match="EndpointConnectionError"):
        away.limits().find(KEY, consistent=consistent)
