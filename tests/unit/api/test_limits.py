"""The routes of the limits: filters, pages, one limit, headroom, entity tags, and who may see what."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pytest

from consumer.api.callers import Caller
from consumer.api.reading import MOST
from tests.support.generators.events import BRAND, DAY, LIMIT, START, USER, created, progress_changed
from tests.support.simulation.api import Answer, Api, KnownTokens, segment

OTHER_BRAND = "000000000000000000000002"
PATH = f"/user-limits/{USER}"


@pytest.fixture
def api() -> Api:
    made = Api(now=START + DAY)
    made.store(
        created(1, userLimitId="l-1", value="200"),
        progress_changed(2, userLimitId="l-1", amount="50"),
        created(3, userLimitId="l-2", type="LOSS", period="WEEK", status="FUTURE"),
        created(4, userLimitId="l-3", brandId=OTHER_BRAND, value="30", nextResetTime=START + 2 * DAY),
    )
    return made


def names(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [limit["userLimitId"] for limit in answer.json()["limits"]]


# a list


def test_the_limits_of_a_user(api: Api) -> None:
    answer = api.get(PATH)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["cache-control"] == "private, no-cache"
    found = answer.json()
    assert {name: value for name, value in found.items() if name != "limits"} == {
        "userId": USER,
        "asOf": START + DAY,
        "unreadable": 0,
    }
    assert found["limits"][0] == {
        "userId": USER,
        "userLimitId": "l-1",
        "brandId": BRAND,
        "currencyCode": "SEK",
        "unit": "SEK",
        "type": "DEPOSIT",
        "period": "DAY",
        "status": "ACTIVE",
        "value": "200",
        "progress": "50",
        "remaining": "150",
        "activeFrom": START,
        "createdAt": START + 1_000,
        "resetOverdue": False,
        "complete": True,
        "lastSequenceNumber": 2,
        "lastEventAt": START + 2_000,
        "usedPercent": "25.00",
        "reached": False,
    }
    assert names(answer) == ["l-1", "l-2", "l-3"]


def test_a_user_without_limits_has_an_empty_list(api: Api) -> None:
    assert api.get("/user-limits/u-nobody").json() == {
        "userId": "u-nobody",
        "asOf": START + DAY,
        "limits": [],
        "unreadable": 0,
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=ACTIVE", ["l-1", "l-3"]),
        ("status=ACTIVE&status=FUTURE", ["l-1", "l-2", "l-3"]),
        ("type=LOSS", ["l-2"]),
        ("type=LOSS&type=BET", ["l-2"]),
        ("period=WEEK&type=DEPOSIT", []),
        (f"brandId={OTHER_BRAND}", ["l-3"]),
        ("brandId=nobody%27s", []),
        ("consistency=strong", ["l-1", "l-2", "l-3"]),
    ],
)
def test_filters(api: Api, query: str, found: Sequence[str]) -> None:
    assert names(api.get(f"{PATH}?{query}")) == found


@pytest.mark.parametrize(
    ("route", "query", "name"),
    [
        ("", "status=active", "status"),
        ("", "status=", "status"),
        ("", "type=DEPOSIT&type=WIN", "type"),
        ("", "period=YEAR", "period"),
        ("", "brandId=", "brandId"),
        ("", f"brandId={'x' * 129}", "brandId"),
        ("", "brandId=a%00b", "brandId"),
        ("", "brandId=%ff", "*"),
        ("", "brandId=\xff", "*"),
        ("", "brand_id=1", "*"),
        ("", "staus=ACTIVE", "*"),
        ("", "status=ACTIVE&%ff%fe=1", "*"),
        ("", "consistency=weak", "consistency"),
        ("", "consistency=strong&consistency=eventual", "consistency"),
        ("", "cursor=", "cursor"),
        ("", "cursor=bC0x&cursor=bC0x", "cursor"),
        ("", "cursor=%21%21", "cursor"),
        ("", "cursor=_w", "cursor"),
        ("", "cursor=bC0x%3D", "cursor"),
        ("", "cursor=bC1", "cursor"),
        ("", "cursor=AAAA", "cursor"),
        ("/headroom", "", "type"),
        ("/headroom", "type=WIN", "type"),
        ("/headroom", "type=DEPOSIT&type=DEPOSIT", "type"),
        ("/headroom", "type=DEPOSIT&currencyCode=sek", "currencyCode"),
        ("/headroom", "type=DEPOSIT&status=ACTIVE", "*"),
        ("/l-1", "status=ACTIVE", "*"),
        ("/l-1", "consistency=", "consistency"),
    ],
)
def test_what_is_not_valid_is_refused_and_named(api: Api, route: str, query: str, name: str) -> None:
    answer = api.get(f"{PATH}{route}?{query}")
    assert answer.status == 422
    assert {error["name"] for error in answer.json()["errors"]} == {name}
    assert {error["in"] for error in answer.json()["errors"]} == {"query"}
    assert ("repeated" in answer.body.decode()) is (name != "*" and query.count(f"{name}=") > 1 and "WIN" not in query)
    assert api.rows.reads == []


# consistency


@pytest.mark.parametrize(
    ("query", "consistent"), [("", True), ("consistency=strong", True), ("consistency=eventual", False)]
)
@pytest.mark.parametrize(("route", "read"), [("?", "page"), ("/l-1?", "find"), ("/headroom?type=BET&", "page")])
def test_reads_are_consistent_unless_told_otherwise(
    api: Api, route: str, read: str, query: str, consistent: bool
) -> None:
    assert api.get(f"{PATH}{route}{query}").status == 200
    assert api.rows.reads == [(read, consistent)]


# pages


def pages(api: Api, query: str = "") -> list[dict[str, Any]]:
    """All pages of the list."""
    found: list[dict[str, Any]] = [api.get(f"{PATH}?{query}").json()]
    while "nextCursor" in found[-1]:
        found.append(api.get(f"{PATH}?{query}&cursor={found[-1]['nextCursor']}").json())
    return found


def store_many(api: Api, number: int, **payload: Any) -> list[str]:
    many = [f"m-\U0001f3b2/{count:04}" for count in range(number)]
    api.store(*(created(count, userLimitId=name, **payload) for count, name in enumerate(many, 10)))
    return many


def test_more_than_an_answer_holds_is_paged() -> None:
    api = Api()
    many = store_many(api, MOST + 2)
    first, last = pages(api)
    assert [limit["userLimitId"] for page in (first, last) for limit in page["limits"]] == many
    assert len(first["limits"]) == MOST


def test_as_much_as_an_answer_holds_is_one_page() -> None:
    api = Api()
    store_many(api, MOST)
    (only,) = pages(api)
    assert len(only["limits"]) == MOST


def test_a_page_of_what_matches_is_filled_from_several_reads(api: Api) -> None:
    store_many(api, MOST, type="BET")
    api.store(*(created(1, userLimitId=f"n-{count}") for count in range(3)))
    (only,) = pages(api, "type=DEPOSIT")
    assert [limit["userLimitId"] for limit in only["limits"]] == ["l-1", "l-3", "n-0", "n-1", "n-2"]
    assert len(api.rows.reads) == 2


def test_no_cursor_names_a_limit_that_the_caller_may_not_see() -> None:
    tokens = KnownTokens({"support": Caller("u-support", frozenset({"limits:read", f"limits:brand:{BRAND}"}))})
    api = Api(authenticator=tokens)
    store_many(api, MOST, brandId=OTHER_BRAND)
    api.store(created(1, userLimitId="a-seen"), created(2, userLimitId="n-seen"))
    answer = api.get(PATH, {"Authorization": "Bearer support"})
    assert names(answer) == ["a-seen", "n-seen"]
    assert "nextCursor" not in answer.json()


def test_unreadable_rows_are_counted_on_the_page_to_which_they_belong() -> None:
    api = Api()
    many = store_many(api, MOST + 3)
    # The first read ends before the last limit of the first page, the second one goes on behind it.
    api.rows.odd = frozenset({many[0], many[MOST + 1]})
    assert [(len(page["limits"]), page["unreadable"]) for page in pages(api)] == [(MOST, 1), (1, 1)]


# one limit


def test_one_limit(api: Api) -> None:
    answer = api.get(f"{PATH}/l-1")
    assert answer.status == 200
    assert answer.json() == api.get(PATH).json()["limits"][0]


@pytest.mark.parametrize("path", [f"{PATH}/l-9", "/user-limits/u-nobody/l-1"])
def test_a_limit_that_is_not_there_is_not_found(api: Api, path: str) -> None:
    answer = api.get(path)
    assert (answer.status, answer.json()["detail"]) == (404, "The user has no limit with this id.")


def test_an_unreadable_limit_is_an_error_and_not_absent(api: Api) -> None:
    api.rows.odd = frozenset({"l-1"})
    answer = api.get(f"{PATH}/l-1")
    assert (answer.status, answer.json()["title"]) == (500, "Internal Server Error")
    assert "operator" in answer.json()["detail"]


# headroom


def test_headroom(api: Api) -> None:
    assert api.get(f"{PATH}/headroom?type=DEPOSIT").json() == {
        "userId": USER,
        "asOf": START + DAY,
        "type": "DEPOSIT",
        "certain": True,
        "headroom": [
            {
                "unit": "SEK",
                "remaining": "30",
                "userLimitId": "l-3",
                "period": "DAY",
                "nextResetTime": START + 2 * DAY,
            }
        ],
        "uncertain": [],
        "unreadable": 0,
    }
    assert api.get(f"{PATH}/headroom?type=DEPOSIT&currencyCode=EUR").json()["headroom"] == []


def test_headroom_looks_at_every_limit_however_many_there_are() -> None:
    api = Api()
    store_many(api, 2 * MOST)
    api.store(created(1, userLimitId="z-last", value="7"))
    (entry,) = api.get(f"{PATH}/headroom?type=DEPOSIT").json()["headroom"]
    assert (entry["userLimitId"], entry["remaining"]) == ("z-last", "7")


def test_headroom_with_an_unreadable_row_is_not_certain(api: Api) -> None:
    api.rows.odd = frozenset({"l-2"})
    found = api.get(f"{PATH}/headroom?type=DEPOSIT").json()
    assert (found["certain"], found["unreadable"], len(found["headroom"])) == (False, 1, 1)
    listed = api.get(PATH).json()
    assert (listed["unreadable"], len(listed["limits"])) == (1, 2)


# entity tags

EVERY = pytest.mark.parametrize("route", ["", "/l-1", "/headroom?type=DEPOSIT", "?type=DEPOSIT"])


@EVERY
def test_what_the_caller_has_is_not_sent_again(api: Api, route: str) -> None:
    tag = api.get(PATH + route).headers["etag"]
    api.now += 5
    answer = api.get(PATH + route, {"If-None-Match": f'"old", W/{tag}'})
    assert (answer.status, answer.body) == (304, b"")
    assert (answer.headers["etag"], answer.headers["cache-control"]) == (tag, "private, no-cache")
    assert "content-type" not in answer.headers
    assert api.get(PATH + route, {"If-None-Match": "*"}).status == 304
    assert api.get(PATH + route, {"If-None-Match": '"old"'}).status == 200


@EVERY
def test_a_tag_stands_for_the_same_bytes(api: Api, route: str) -> None:
    first = api.get(PATH + route)
    api.now += 5
    second = api.get(PATH + route)
    assert (first.headers["etag"] == second.headers["etag"]) is (first.body == second.body)


@EVERY
def test_an_event_changes_the_tag(api: Api, route: str) -> None:
    tag = api.get(PATH + route).headers["etag"]
    api.store(progress_changed(9, userLimitId="l-1", previousProgress="50", amount="140"))
    answer = api.get(PATH + route, {"If-None-Match": tag})
    assert answer.status == 200
    assert answer.headers["etag"] != tag


def test_an_event_that_changes_no_shown_field_changes_the_tag(api: Api) -> None:
    tag = api.get(f"{PATH}/l-2").headers["etag"]
    # The later event id wins and is stored, but it is not shown.
    api.store(created(3, "e-9999", userLimitId="l-2", type="LOSS", period="WEEK", status="FUTURE"))
    answer = api.get(f"{PATH}/l-2", {"If-None-Match": tag})
    assert answer.status == 200


@pytest.mark.parametrize("route", ["", "/l-3", "/headroom?type=DEPOSIT"])
def test_a_reset_that_becomes_overdue_changes_the_tag(api: Api, route: str) -> None:
    tag = api.get(PATH + route).headers["etag"]
    api.now = START + 2 * DAY - 1
    assert api.get(PATH + route, {"If-None-Match": tag}).status == 304
    api.now += 1
    assert api.get(PATH + route, {"If-None-Match": tag}).status == 200


def test_an_unreadable_row_changes_the_tag(api: Api) -> None:
    tag = api.get(f"{PATH}?type=LOSS").headers["etag"]
    api.rows.odd = frozenset({"l-3"})
    assert api.get(f"{PATH}?type=LOSS", {"If-None-Match": tag}).status == 200


def test_an_error_has_no_tag(api: Api) -> None:
    answer = api.get(f"{PATH}/l-9", {"If-None-Match": "*"})
    assert answer.status == 404
    assert "etag" not in answer.headers


# who may see what

TOKENS = KnownTokens(
    {
        "own": Caller(USER, frozenset()),
        "other": Caller("u-other", frozenset({"limits:readx"})),
        "support": Caller("u-support", frozenset({"limits:read"})),
        "brand": Caller("u-brand", frozenset({"limits:read", f"limits:brand:{OTHER_BRAND}"})),
    }
)
ROUTES = ("", "/l-1", "/headroom?type=DEPOSIT")


@pytest.fixture
def guarded(api: Api) -> Api:
    return Api(now=api.now, authenticator=TOKENS, states=api.states)


def ask(api: Api, token: str, route: str = "") -> Answer:
    return api.get(PATH + route, {"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("token", "lines"), [("own", 0), ("support", 1)])
def test_a_read_of_somebody_elses_limits_writes_one_line(
    guarded: Api, caplog: pytest.LogCaptureFixture, route: str, token: str, lines: int
) -> None:
    with caplog.at_level("INFO", "consumer"):
        assert ask(guarded, token, route).status == 200
    assert [record.name for record in caplog.records] == ["consumer.api.audit"] * lines


@pytest.mark.parametrize("route", ROUTES)
def test_another_users_limits_are_forbidden_and_not_read(guarded: Api, route: str) -> None:
    answer = ask(guarded, "other", route)
    assert (answer.status, answer.headers["www-authenticate"]) == (
        403,
        'Bearer realm="limits", error="insufficient_scope"',
    )
    assert guarded.rows.reads == []


def test_a_token_of_one_brand_sees_only_that_brand(guarded: Api) -> None:
    assert names(ask(guarded, "brand")) == ["l-3"]
    assert ask(guarded, "brand", "/l-3").status == 200
    hidden, absent = (ask(guarded, "brand", route).json() | {"requestId": ""} for route in ("/l-1", "/l-9"))
    assert (hidden, hidden["status"]) == (absent, 404)
    (entry,) = ask(guarded, "brand", "/headroom?type=DEPOSIT").json()["headroom"]
    assert entry["userLimitId"] == "l-3"


def test_a_token_of_one_brand_does_not_tell_an_unreadable_limit_from_none(guarded: Api) -> None:
    guarded.rows.odd = frozenset({"l-1"})
    assert ask(guarded, "brand", "/l-1").status == ask(guarded, "brand", "/l-9").status == 404
    assert ask(guarded, "support", "/l-1").status == 500


@pytest.mark.parametrize("route", [*ROUTES, "?type=WIN", "/headroom"])
def test_without_a_token_nothing_is_said_about_the_request(guarded: Api, route: str) -> None:
    answer = guarded.get(PATH + route)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="limits"')
    assert guarded.rows.reads == []


def test_a_wrong_token_is_refused_with_the_reason(guarded: Api) -> None:
    answer = ask(guarded, "nobody")
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="limits", error="invalid_token", error_description="the token is unknown"'
    )


def test_two_tokens_are_refused(guarded: Api) -> None:
    answer = guarded.get(PATH, {"Authorization": "Bearer own", "authorization": "Bearer support"})
    assert answer.status == 401
    assert "more than one" in answer.json()["detail"]


# odd ids

IDS = (
    "a/b",
    "a b",
    "100%",
    "%41",
    "\u00e9\u20ac",
    "\U0001f3b2" * 128,
    "a?b=c&d",
    "#",
    "\\",
    "+",
    ";",
    "'\"<b>",
    ":",
    "...",
)


@pytest.mark.parametrize("name", IDS)
def test_any_id_of_the_contract_can_be_read(name: str) -> None:
    api = Api()
    api.store(created(1, userId=name, userLimitId=name), created(1, userId="b"))
    path = f"/user-limits/{segment(name)}"
    listed = api.get(path)
    assert (names(listed), listed.json()["userId"]) == ([name], name)
    assert api.get(f"{path}/{segment(name)}").json()["userLimitId"] == name
    assert len(api.get(f"{path}/headroom?type=DEPOSIT").json()["headroom"]) == 1


@pytest.mark.parametrize("safe", ["/", ""], ids=["with slashes", "encoded"])
@pytest.mark.parametrize("route", ["", "/headroom?type=BET", "/l-1"])
def test_a_slash_that_is_not_encoded_is_not_part_of_an_id(safe: str, route: str) -> None:
    answer = Api().get(f"/user-limits/{quote('a/b/c', safe=safe)}{route}")
    assert answer.status == (404 if safe or route == "/l-1" else 200)


BAD = (
    "%00",
    "a%0Ab",
    "%7f",
    "%C2%80",
    "%ff%fe",
    "%ed%a0%80",
    "%c0%af",
    "..%2f",
    "%2e%2e%2Fetc%2fpasswd",
    "a%2f..%2fb",
    ".",
    "..",
    "%2e",
    "x" * 129,
    "x" * 5_000,
    "%F0%9F%8E%B2" * 129,
)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad[:24])
def test_other_ids_are_refused_and_never_logged(bad: str, caplog: pytest.LogCaptureFixture) -> None:
    api = Api()
    with caplog.at_level("DEBUG"):
        of_user = [api.get(f"/user-limits/{bad}{route}") for route in ("", "/l-1", "/headroom?type=BET")]
        of_limit = api.get(f"{PATH}/{bad}")
    assert {answer.status for answer in (*of_user, of_limit)} == {422}
    assert [answer.json()["errors"][0]["name"] for answer in of_user] == ["userId"] * 3
    assert of_limit.json()["errors"][0]["name"] == "userLimitId"
    assert [record for record in caplog.records if record.name.startswith("consumer")] == []
    assert api.rows.reads == []


def test_a_limit_whose_id_is_headroom_is_in_the_list(api: Api) -> None:
    api.store(created(1, userLimitId="headroom"))
    assert "headroom" in names(api.get(PATH))
    assert api.get(f"{PATH}/headroom").status == 422


# an environment that fails


@pytest.mark.parametrize("route", ["", f"/{LIMIT}", "/headroom?type=DEPOSIT"])
def test_without_the_store_the_answer_is_503_and_never_an_empty_list(api: Api, route: str) -> None:
    api.rows.is_away = True
    answer = api.get(PATH + route)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Endpoint" not in answer.json()["detail"]
    api.rows.is_away = False
    assert api.get(PATH).status == 200
