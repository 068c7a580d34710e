"""What a caller may read, and what a refused one is told."""

import asyncio
import re

import pytest

from consumer.api.callers import (
    Caller,
    Everybody,
    Forbidden,
    Grant,
    Refusal,
    Unauthenticated,
    challenge,
    grant,
    only,
)

OTHERS_IN_ODD_FORMS = (
    "u-1 ",
    " u-1",
    "U-1",
    "u%2D1",
    "u%2d1",
    "u-1%00",
    "u-1/",
    "./u-1",
    "u\u20101",  # a hyphen that looks the same
    "u\u00ad-1",  # a soft hyphen
    "\uff55-1",  # a full-width u, which NFKC makes the same
    "u-1\u0301",
    "u-1\ud800",
    "",
)


def holder(*scopes: str, subject: str = "u-1") -> Caller:
    return Caller(subject, frozenset(scopes))


def test_a_token_without_a_scope_reads_its_own_limits() -> None:
    assert grant(holder(), "u-1") == Grant(own=True, brands=None)


@pytest.mark.parametrize(
    "scopes",
    [
        (),
        ("limits:readx",),
        ("limits:rea",),
        ("xlimits:read",),
        ("limits:read:all",),
        ("Limits:Read",),
        ("limits:read\u200b",),
        ("limits:*",),
        ("limits:brand:b-1",),
        ("limits:brand:b-1 limits:read",),
        ("operations:read",),
    ],
)
def test_another_users_limits_need_exactly_the_scope(scopes: tuple[str, ...]) -> None:
    with pytest.raises(Forbidden, match="limits:read"):
        grant(holder(*scopes), "u-2")


def test_the_scope_reads_any_user() -> None:
    assert grant(holder("openid", "limits:read"), "u-2") == Grant(own=False, brands=None)
    assert grant(holder("limits:read"), "u-1") == Grant(own=True, brands=None)


@pytest.mark.parametrize("user_id", OTHERS_IN_ODD_FORMS)
def test_an_id_that_only_resembles_the_callers_is_another_users(user_id: str) -> None:
    with pytest.raises(Forbidden):
        grant(holder(), user_id)


def test_brand_scopes_narrow_what_is_read_of_others_and_of_oneself() -> None:
    brands = frozenset({"b-1", "b-2"})
    scopes = ("limits:read", "limits:brand:b-1", "limits:brand:b-2")
    assert grant(holder(*scopes), "u-2") == Grant(own=False, brands=brands)
    assert grant(holder(*scopes), "u-1") == Grant(own=True, brands=brands)
    assert grant(holder("limits:brand:b-1"), "u-1") == Grant(own=True, brands=frozenset({"b-1"}))


def test_a_brand_scope_without_a_brand_shows_no_limit() -> None:
    assert grant(holder("limits:read", "limits:brand:"), "u-2").brands == frozenset({""})


def test_without_an_issuer_everybody_reads_everything() -> None:
    caller = asyncio.run(Everybody().caller("Bearer whatever"))
    assert caller == Caller(None, frozenset(), trusted=True)
    assert grant(caller, "u-1") == Grant(own=False, brands=None)


def test_a_caller_without_a_subject_owns_nothing() -> None:
    with pytest.raises(Forbidden):
        grant(Caller(None, frozenset()), "u-1")


def test_a_request_has_one_authorization_header() -> None:
    assert only([]) is None
    assert only(["Bearer a"]) == "Bearer a"
    with pytest.raises(Unauthenticated) as caught:
        only(["Bearer a", "Bearer a"])
    assert caught.value.reason is Refusal.MALFORMED


def test_without_a_token_the_challenge_names_no_error() -> None:
    refused = Unauthenticated("this needs an access token", missing=True)
    assert refused.missing
    assert refused.reason is Refusal.MISSING
    assert challenge(refused) == 'Bearer realm="limits"'


def test_with_a_wrong_token_the_challenge_says_what_is_wrong() -> None:
    refused = Unauthenticated("the token has expired", reason=Refusal.EXPIRED)
    assert challenge(refused) == (
        'Bearer realm="limits", error="invalid_token", error_description="the token has expired"'
    )


def test_a_challenge_is_one_header_whatever_the_reason_says() -> None:
    refused = Unauthenticated('a"b\\c\r\nSet-Cookie: d=\u00e9\ud800')
    description = challenge(refused).partition("error_description=")[2]
    assert description == '"a?b?c??Set-Cookie: d=??"'
    assert re.fullmatch(r"[\x20-\x7e]+", challenge(refused))
