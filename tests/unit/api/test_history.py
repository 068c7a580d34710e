"""The route of the history of a limit: its answers, its pages, its bounds, and who may see what."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from consumer.api.callers import Caller
from consumer.api.histories import MOST_OBJECTS, MOST_STEPS
from tests.support.generators.events import BRAND, LIMIT, START, USER, created, progress_changed, reset
from tests.support.simulation.api import Api, KnownTokens
from tests.support.simulation.archive import Archived

PATH = f"/user-limits/{USER}/{LIMIT}/history"
OTHER_BRAND = "000000000000000000000002"


@pytest.fixture
def archive() -> Archived:
    made = Archived()
    made.deliver(
        created(1), progress_changed(2, amount="50"), progress_changed(4, amount="no"), created(3, userLimitId="l-2")
    )
    return made


def ids(answer: Any) -> Sequence[str]:
    return [step["eventId"] for step in answer["steps"]]


def test_the_events_of_a_limit_the_latest_first(archive: Archived) -> None:
    answer = Api(histories=archive).get(PATH)
    found = answer.json()
    assert answer.status == 200
    assert {name: found[name] for name in found if name != "steps"} == {
        "userId": USER,
        "userLimitId": LIMIT,
        "asOf": START,
        "unreadable": 0,
    }
    assert ids(found) == ["e-0004", "e-0002", "e-0001"]
    refused, changed, first = found["steps"]
    assert (refused["outcome"], refused["reason"], refused["changes"]) == ("quarantined", "SCHEMA", [])
    assert changed["changes"] == [
        {"field": "progress", "before": "0", "after": "50"},
        {"field": "remaining", "before": "1000", "after": "950"},
    ]
    assert (changed["state"]["progress"], first["state"]["progress"]) == ("50", "0")
    assert {"field": "value", "after": "1000"} in first["changes"]


def test_the_same_history_has_the_same_tag(archive: Archived) -> None:
    api = Api(histories=archive)
    tag = api.get(PATH).headers["etag"]
    archive.now += 5
    assert api.get(PATH, {"if-none-match": tag}).status == 304
    archive.deliver(progress_changed(9))
    assert api.get(PATH, {"if-none-match": tag}).status == 200


def test_pages_have_every_event_once_while_further_ones_arrive(archive: Archived) -> None:
    api = Api(histories=archive)
    count = 2 * MOST_STEPS
    archive.deliver(*(progress_changed(number) for number in range(10, 10 + count)))
    wanted = [f"e-{number:04}" for number in range(9 + count, 9, -1)] + ["e-0004", "e-0002", "e-0001"]
    seen: list[str] = []
    cursor = ""
    for size in (MOST_STEPS, MOST_STEPS, 3):
        found = api.get(PATH + cursor).json()
        assert len(found["steps"]) == size
        seen += ids(found)
        cursor = f"?cursor={found.get('nextCursor')}"
        archive.deliver(reset(10_000 + size))
    assert seen == wanted
    assert "nextCursor" not in found


@pytest.mark.parametrize("query", ["cursor=0123456789abcdef", "cursor=%21", "other=1", "consistency=strong", "cursor="])
def test_what_is_no_cursor_is_refused(archive: Archived, query: str) -> None:
    answer = Api(histories=archive).get(f"{PATH}?{query}")
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_limit_without_events_is_not_found(archive: Archived) -> None:
    api = Api(histories=archive)
    for path in (f"/user-limits/{USER}/none/history", f"/user-limits/u-nobody/{LIMIT}/history"):
        answer = api.get(path)
        assert (answer.status, answer.json()["detail"]) == (
            404,
            "The archive has no event of a limit of the user with this id.",
        )


def test_without_an_archive_it_says_so() -> None:
    answer = Api().get(PATH)
    assert (answer.status, answer.json()["detail"]) == (
        404,
        "This server has no archive, so it knows no history: CONSUMER_ARCHIVE.",
    )


def test_too_many_objects_are_not_read(archive: Archived) -> None:
    for number in range(MOST_OBJECTS):
        archive.deliver(created(1, userId=f"u-{number}"))
    answer = Api(histories=archive).get(PATH)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["detail"] == (
        f"{MOST_OBJECTS + 1} objects of the archive would have to be read: run consumer archive index."
    )
    assert archive.place.reads == []


def test_an_archive_without_an_answer_is_unavailable(archive: Archived) -> None:
    archive.place.is_away = True
    answer = Api(histories=archive).get(PATH)
    assert (answer.status, answer.json()["status"]) == (503, 503)


def test_damage_is_counted(archive: Archived) -> None:
    archive.deliver(progress_changed(9))
    archive.place.files[max(archive.place.files)] = b"damaged"
    found = Api(histories=archive).get(PATH).json()
    assert (len(found["steps"]), found["unreadable"]) == (3, 1)


# who may see what


def caller(subject: str, *scopes: str) -> KnownTokens:
    return KnownTokens({"token": Caller(subject, frozenset(scopes))})


TOKEN = {"authorization": "Bearer token"}


@pytest.mark.parametrize(
    ("tokens", "status", "lines"),
    [
        (caller(USER), 200, 0),
        (caller("u-other"), 403, 0),
        (caller("agent", "limits:read"), 200, 1),
        (caller("agent", "limits:brand:x"), 403, 0),
    ],
)
def test_own_histories_and_others_with_the_scope(
    archive: Archived, tokens: KnownTokens, status: int, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert Api(histories=archive, authenticator=tokens).get(PATH, TOKEN).status == status
    assert len(archive.asked) == (status == 200)
    read = [line for line in caplog.records if line.getMessage() == "limits read"]
    assert [vars(line)["whose"] for line in read] == [USER] * lines


def test_without_a_token_nothing_is_read(archive: Archived) -> None:
    assert Api(histories=archive, authenticator=KnownTokens({})).get(PATH).status == 401
    assert archive.asked == []


def test_a_brand_narrows_and_hides_what_was_refused(archive: Archived) -> None:
    archive.deliver(created(20, userLimitId="l-3", brandId=OTHER_BRAND))
    api = Api(histories=archive, authenticator=caller("agent", "limits:read", f"limits:brand:{BRAND}"))
    assert ids(api.get(PATH, TOKEN).json()) == ["e-0002", "e-0001"]
    assert api.get(f"/user-limits/{USER}/l-3/history", TOKEN).status == 404
    other = Api(histories=archive, authenticator=caller(USER, f"limits:brand:{OTHER_BRAND}"))
    assert other.get(PATH, TOKEN).status == 404
    assert ids(other.get(f"/user-limits/{USER}/l-3/history", TOKEN).json()) == ["e-0020"]


def test_what_a_refused_event_claims_is_cut_and_escaped(archive: Archived) -> None:
    archive.deliver(progress_changed(9, "\ud800" + "x" * 500) | {"type": "\u202e"})
    archive.deliver(progress_changed(10, "y" * 500))
    found = Api(histories=archive).get(PATH)
    assert ids(found.json())[0] == "y" * 128
    assert found.status == 200
