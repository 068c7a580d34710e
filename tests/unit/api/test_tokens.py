"""Access tokens: which are accepted, and how each attack is refused."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from consumer.api.callers import Caller, KeysUnavailable, Refusal, Unauthenticated, challenge
from consumer.api.issuer import keys_of
from consumer.api.keys import Keys
from consumer.api.tokens import BYTES, Rules, Tokens, tokens
from tests.support.emulators.issuer import AUDIENCE, JWKS, Issuer, Key, issuer, new_key, segment, signed

MINUTE = 60


@pytest.fixture(scope="module")
def op() -> Iterator[Issuer]:
    with issuer() as served:
        yield served


@pytest.fixture(scope="module")
def authenticator(op: Issuer) -> Tokens:
    return tokens(op.url, AUDIENCE)


def caller(authenticator: Tokens, token: str) -> Caller:
    return asyncio.run(authenticator.caller(f"Bearer {token}"))


def refusal(authenticator: Tokens, authorization: str | None) -> Refusal:
    """Why the header is refused. What the answer says is fit for a header and repeats nothing of the token."""
    with pytest.raises(Unauthenticated) as caught:
        asyncio.run(authenticator.caller(authorization))
    said = str(caught.value)
    assert challenge(caught.value).isascii()
    assert "u-1" not in said
    assert "?" not in challenge(caught.value)
    return caught.value.reason


def test_a_valid_token_names_the_user_and_the_scopes(op: Issuer, authenticator: Tokens) -> None:
    token = op.token(scope="openid limits:read limits:brand:b-1")
    assert caller(authenticator, token) == Caller("u-1", frozenset({"openid", "limits:read", "limits:brand:b-1"}))


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_every_algorithm_of_the_list_works(algorithm: str) -> None:
    with issuer(new_key(algorithm)) as op:
        assert caller(tokens(op.url, AUDIENCE), op.token()).subject == "u-1"


def test_the_address_of_the_keys_may_be_given(op: Issuer) -> None:
    assert caller(tokens(op.url, AUDIENCE, jwks_url=op.jwks_url), op.token()).subject == "u-1"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "])
def test_the_scheme_is_read_in_any_case(op: Issuer, authenticator: Tokens, scheme: str) -> None:
    assert asyncio.run(authenticator.caller(f"{scheme} {op.token()}")).subject == "u-1"


@pytest.mark.parametrize("authorization", [None, "", "Basic dTpw", "DPoP a.b.c", "Bearertoken", "Digest x"])
def test_a_request_without_a_bearer_token_is_told_only_that(authenticator: Tokens, authorization: str | None) -> None:
    assert refusal(authenticator, authorization) is Refusal.MISSING


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
def test_an_access_token_need_not_name_its_type(op: Issuer, authenticator: Tokens, typ: str | None) -> None:
    assert caller(authenticator, signed(op.header(typ=typ), op.claims(), op.key)).subject == "u-1"


@pytest.mark.parametrize("typ", ["logout+jwt", "secevent+jwt", "dpop+jwt", "id_token", "", 7, ["at+jwt"]])
def test_a_token_of_another_type_is_no_access_token(op: Issuer, authenticator: Tokens, typ: object) -> None:
    token = signed(op.header(typ=typ), op.claims(), op.key)
    assert refusal(authenticator, f"Bearer {token}") is Refusal.MALFORMED


# The claims


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": None}, Refusal.ISSUER),
        ({"iss": "https://evil.example"}, Refusal.ISSUER),
        ({"iss": ""}, Refusal.ISSUER),
        ({"iss": 7}, Refusal.ISSUER),
        ({"aud": None}, Refusal.AUDIENCE),
        ({"aud": ""}, Refusal.AUDIENCE),
        ({"aud": []}, Refusal.AUDIENCE),
        ({"aud": "another-api"}, Refusal.AUDIENCE),
        ({"aud": AUDIENCE + "x"}, Refusal.AUDIENCE),
        ({"aud": AUDIENCE[:-1]}, Refusal.AUDIENCE),
        ({"aud": AUDIENCE.upper()}, Refusal.AUDIENCE),
        ({"aud": ["another-api", "one-more"]}, Refusal.AUDIENCE),
        ({"aud": [AUDIENCE, 7]}, Refusal.AUDIENCE),
        ({"aud": [[AUDIENCE]]}, Refusal.AUDIENCE),
        ({"aud": {AUDIENCE: True}}, Refusal.AUDIENCE),
        ({"sub": None}, Refusal.CLAIMS),
        ({"sub": ""}, Refusal.CLAIMS),
        ({"sub": 1}, Refusal.CLAIMS),
        ({"sub": ["u-1"]}, Refusal.CLAIMS),
        ({"exp": None}, Refusal.CLAIMS),
        ({"scope": 7}, Refusal.CLAIMS),
        ({"scope": {"limits:read": True}}, Refusal.CLAIMS),
        ({"scp": ["limits:read", 7]}, Refusal.CLAIMS),
    ],
)
def test_wrong_claims_are_refused(op: Issuer, authenticator: Tokens, changes: dict[str, Any], reason: Refusal) -> None:
    assert refusal(authenticator, f"Bearer {op.token(**changes)}") is reason


@pytest.mark.parametrize("other", ["{}/", "{}//", "{} ", "{}/.", "HTTP{}"])
def test_the_issuer_is_compared_exactly(op: Issuer, authenticator: Tokens, other: str) -> None:
    spelled = other.format(op.url) if other.startswith("{") else other.format(op.url.removeprefix("http"))
    assert refusal(authenticator, f"Bearer {op.token(iss=spelled)}") is Refusal.ISSUER


def test_an_issuer_may_end_with_a_slash() -> None:
    with issuer() as op:
        name = op.url + "/"
        op.bodies["/.well-known/openid-configuration"] = json.dumps({"issuer": name, "jwks_uri": op.jwks_url}).encode()
        assert caller(tokens(name, AUDIENCE), op.token(iss=name)).subject == "u-1"
        assert refusal(tokens(name, AUDIENCE), f"Bearer {op.token()}") is Refusal.ISSUER


def test_one_of_several_audiences_is_enough(op: Issuer, authenticator: Tokens) -> None:
    assert caller(authenticator, op.token(aud=["another-api", AUDIENCE])).subject == "u-1"


NOT_A_TIME: tuple[object, ...] = (
    "4102444800",
    "",
    True,
    [],
    {},
    -1,
    -1e300,
    10**300,
    1e300,
    253_402_300_800,
    1_700_000_000_000,
)


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", NOT_A_TIME, ids=repr)
def test_a_time_that_is_not_one_in_epoch_seconds_is_refused(
    op: Issuer, authenticator: Tokens, name: str, value: object
) -> None:
    assert refusal(authenticator, f"Bearer {op.token(**{name: value})}") is Refusal.CLAIMS


NOT_A_NUMBER = {
    "NaN": Refusal.MALFORMED,
    "Infinity": Refusal.MALFORMED,
    "-Infinity": Refusal.MALFORMED,
    "9" * 5_000: Refusal.MALFORMED,
    "1e999": Refusal.CLAIMS,
}


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("number", NOT_A_NUMBER)
def test_a_number_that_json_or_a_clock_does_not_have_is_refused(
    op: Issuer, authenticator: Tokens, name: str, number: str
) -> None:
    claims = json.dumps(op.claims(**{name: "NUMBER"})).replace('"NUMBER"', number).encode()
    token = signed(op.header(), claims, op.key)
    assert refusal(authenticator, f"Bearer {token}") is NOT_A_NUMBER[number]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_not_json_is_refused_in_every_member(op: Issuer, authenticator: Tokens, number: str) -> None:
    odd = float(number)
    for header, claims in ((op.header(x=odd), op.claims()), (op.header(), op.claims(x=odd))):
        assert number.encode() in json.dumps([header, claims]).encode()
        assert refusal(authenticator, f"Bearer {signed(header, claims, op.key)}") is Refusal.MALFORMED


def test_a_claim_that_is_null_is_not_a_claim_that_is_absent(op: Issuer, authenticator: Tokens) -> None:
    for name in ("exp", "nbf", "iat"):
        token = signed(op.header(), op.claims() | {name: None}, op.key)
        assert refusal(authenticator, f"Bearer {token}") is Refusal.CLAIMS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": -31}, Refusal.EXPIRED),
        ({"exp": -30}, Refusal.EXPIRED),
        ({"exp": -29}, None),
        ({"exp": -29.5}, None),
        ({"exp": 0.5}, None),
        ({"nbf": 31}, Refusal.EARLY),
        ({"nbf": 30.5}, Refusal.EARLY),
        ({"nbf": 30}, None),
        ({"iat": 31}, Refusal.EARLY),
        ({"iat": 30}, None),
    ],
)
def test_clocks_may_differ_by_30_seconds(op: Issuer, changes: dict[str, float], reason: Refusal | None) -> None:
    now = int(time.time())
    authenticator = at(op, lambda: float(now))
    token = op.token(**{name: now + seconds for name, seconds in changes.items()})
    if reason is None:
        assert caller(authenticator, token).subject == "u-1"
    else:
        assert refusal(authenticator, f"Bearer {token}") is reason


def at(op: Issuer, now: Callable[[], float]) -> Tokens:
    """The authenticator with another clock."""
    return Tokens(Rules(op.url, AUDIENCE), Keys(partial(keys_of, op.url)), now)


def test_another_claim_may_be_the_user_id(op: Issuer) -> None:
    authenticator = tokens(op.url, AUDIENCE, user_claim="player_id")
    assert caller(authenticator, op.token(player_id="u-9")).subject == "u-9"
    for odd in (None, "", 9, {"id": "u-9"}):
        assert refusal(authenticator, f"Bearer {op.token(player_id=odd)}") is Refusal.CLAIMS


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, set()),
        ({"scope": ""}, set()),
        ({"scope": "limits:readx"}, {"limits:readx"}),
        ({"scope": "  limits:read  openid "}, {"limits:read", "openid"}),
        ({"scope": "limits:read\topenid"}, {"limits:read\topenid"}),
        ({"scope": "limits:read,openid"}, {"limits:read,openid"}),
        ({"scp": ["limits:read", "openid"]}, {"limits:read", "openid"}),
        ({"scp": ["limits:read openid"]}, {"limits:read openid"}),
        ({"scp": "limits:read openid"}, {"limits:read", "openid"}),
        ({"scope": "openid", "scp": ["limits:read"]}, {"limits:read", "openid"}),
        ({"scopes": "limits:read", "roles": ["limits:read"], "permissions": ["limits:read"]}, set()),
    ],
)
def test_scopes_are_whole_members(
    op: Issuer, authenticator: Tokens, claims: dict[str, object], scopes: set[str]
) -> None:
    assert caller(authenticator, op.token(**claims)).scopes == scopes


# The signature


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, [], ["ES256"], {"ES256": 1}])
@pytest.mark.parametrize("ending", ["", ".", ".AA", ".signature"])
def test_a_token_without_a_signature_is_refused(
    op: Issuer, authenticator: Tokens, algorithm: object, ending: str
) -> None:
    header = op.header() | {"alg": algorithm}
    token = f"{segment(header)}.{segment(op.claims())}{ending}"
    assert refusal(authenticator, f"Bearer {token}") in (Refusal.ALGORITHM, Refusal.MALFORMED)


def test_without_a_signature_no_algorithm_is_believed(op: Issuer, authenticator: Tokens) -> None:
    header = op.header(alg="none")
    assert refusal(authenticator, f"Bearer {segment(header)}.{segment(op.claims())}.AA") is Refusal.ALGORITHM


@pytest.mark.parametrize("form", ["pem", "der", "jwk", "raw"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("kind", ["RS256", "ES256"])
def test_the_public_key_is_no_secret(kind: str, algorithm: str, form: str) -> None:
    with issuer(new_key(kind)) as op:
        public = op.key.public
        secrets = {
            "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            "jwk": json.dumps(op.key.jwk).encode(),
            "raw": segment(op.key.jwk).encode(),
        }
        token = signed(op.header(alg=algorithm), op.claims(), Key(op.key.kid, algorithm, secrets[form]))
        assert refusal(tokens(op.url, AUDIENCE), f"Bearer {token}") is Refusal.ALGORITHM


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS512", "ES384", "ES512", "ES256K", "Ed25519", "es256"])
def test_other_algorithms_are_refused(op: Issuer, authenticator: Tokens, algorithm: str) -> None:
    token = signed(op.header(alg=algorithm), op.claims(), op.key)
    assert refusal(authenticator, f"Bearer {token}") is Refusal.ALGORITHM


@pytest.mark.parametrize(("kind", "claimed"), [("RS256", "PS256"), ("PS256", "RS256"), ("ES256", "RS256")])
def test_a_key_verifies_only_its_own_algorithm(kind: str, claimed: str) -> None:
    with issuer(new_key(kind)) as op:
        by = Key(op.key.kid, claimed, op.key.private) if kind != "ES256" else op.key
        token = signed(op.header(alg=claimed), op.claims(), by)
        assert refusal(tokens(op.url, AUDIENCE), f"Bearer {token}") is Refusal.KEY


def test_a_foreign_key_with_the_id_of_a_known_one_is_refused(op: Issuer, authenticator: Tokens) -> None:
    foreign = new_key(kid=op.key.kid)
    assert refusal(authenticator, f"Bearer {signed(op.header(), op.claims(), foreign)}") is Refusal.SIGNATURE


def test_a_key_that_the_token_brings_along_is_not_used(op: Issuer, authenticator: Tokens) -> None:
    foreign = new_key(kid="foreign")
    with issuer(foreign) as evil:
        brought: tuple[dict[str, Any], ...] = (
            {"jwk": foreign.jwk},
            {"jku": evil.jwks_url},
            {"x5u": evil.url + "/cert.pem"},
            {"x5c": ["MIIB"]},
        )
        for members in brought:
            known = signed(op.header(**members), op.claims(), foreign)
            assert refusal(authenticator, f"Bearer {known}") is Refusal.SIGNATURE
            unknown = signed(op.header(**members, kid="foreign"), op.claims(), foreign)
            assert refusal(authenticator, f"Bearer {unknown}") is Refusal.KEY
        assert not evil.fetched


def test_a_changed_claim_breaks_the_signature(op: Issuer, authenticator: Tokens) -> None:
    head, _, signature = op.token().split(".")
    forged = f"{head}.{segment(op.claims(sub='u-2', scope='limits:read'))}.{signature}"
    assert refusal(authenticator, f"Bearer {forged}") is Refusal.SIGNATURE


@pytest.mark.parametrize("signature", [b"", b"\x00", bytes(64), bytes(63), b"\xff" * 64, bytes(512)])
def test_a_signature_of_any_form_is_refused(op: Issuer, authenticator: Tokens, signature: bytes) -> None:
    head, claims, _ = op.token().split(".")
    found = refusal(authenticator, f"Bearer {head}.{claims}.{segment(signature)}")
    assert found is (Refusal.SIGNATURE if signature else Refusal.MALFORMED)


# The form


@pytest.mark.parametrize(
    "members", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"b64": 1}]
)
def test_an_extension_is_refused(op: Issuer, authenticator: Tokens, members: dict[str, Any]) -> None:
    token = signed(op.header() | members, op.claims(), op.key)
    assert refusal(authenticator, f"Bearer {token}") is Refusal.MALFORMED


@pytest.mark.parametrize("kid", [None, 7, ["key-1"], {"kid": "key-1"}])
def test_a_token_must_name_its_key(op: Issuer, authenticator: Tokens, kid: object) -> None:
    assert refusal(authenticator, f"Bearer {signed(op.header(kid=kid), op.claims(), op.key)}") is Refusal.KEY


@pytest.mark.parametrize("kid", ["../../etc/passwd", "key-1\x00", "' OR 1=1 --", "KEY-1", "k" * 4_000, "\ud800"])
def test_the_id_of_a_key_is_only_looked_up(op: Issuer, authenticator: Tokens, kid: str) -> None:
    assert refusal(authenticator, f"Bearer {signed(op.header(kid=kid), op.claims(), op.key)}") is Refusal.KEY


def test_members_with_one_name_are_refused(op: Issuer, authenticator: Tokens) -> None:
    header, claims = (json.dumps(part) for part in (op.header(), op.claims()))
    twice = (
        (header.replace("{", '{"alg": "none", ', 1), claims),
        (header.replace("{", f'{{"kid": "{op.key.kid}", ', 1), claims),
        (header, claims.replace("{", '{"sub": "u-2", ', 1)),
        (header, claims.replace("{", '{"scope": {"a": 1, "a": 2}, ', 1)),
    )
    for head, body in twice:
        token = signed(head.encode(), body.encode(), op.key)
        assert refusal(authenticator, f"Bearer {token}") is Refusal.MALFORMED


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{",
        b"{}{}",
        b"[" * 5_000,
        b'{"a":' * 1_000,
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        '{"alg": "ES256"}'.encode("utf-16"),
        b'{"alg": "\xff"}',
        b"9" * 5_000,
    ],
)
def test_a_part_that_is_no_json_object_is_refused(op: Issuer, authenticator: Tokens, odd: bytes) -> None:
    for header, claims in ((odd, segment(op.claims())), (op.header(), segment(odd))):
        head = segment(header)
        text = f"{head}.{claims}"
        signature = jwt.get_algorithm_by_name("ES256").sign(text.encode(), op.key.private)
        assert refusal(authenticator, f"Bearer {text}.{segment(signature)}") is Refusal.MALFORMED


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "a.b.c.d.e",
        "aaaa.bbbb.cccc",
        "a=.b=.c=",
        "\u00e9.\u00e9.\u00e9",
        "a.b.c, Bearer a.b.c",
        "a.b.c a.b.c",
        "a.b.c\x00",
        "eyJ+.eyJ/.AA",
    ],
)
def test_what_is_no_token_is_refused(authenticator: Tokens, token: str) -> None:
    assert refusal(authenticator, f"Bearer {token}") is Refusal.MALFORMED


@pytest.mark.parametrize("change", ["{}=", "{}==", "{}.", ".{}", "{}\n", "{},{}", "{} {}", '"{}"', "{};"])
def test_a_valid_token_with_something_around_it_is_refused(op: Issuer, authenticator: Tokens, change: str) -> None:
    token = op.token()
    assert refusal(authenticator, f"Bearer {change.format(token, token)}") is Refusal.MALFORMED


def test_a_long_token_is_refused_before_it_is_parsed(op: Issuer, authenticator: Tokens) -> None:
    filler = BYTES // 2
    token = op.token(filler="x" * filler)
    assert len(token) < BYTES
    assert caller(authenticator, token).subject == "u-1"
    assert refusal(authenticator, "Bearer " + op.token(filler="x" * BYTES)) is Refusal.MALFORMED
    assert refusal(authenticator, "Bearer " + "." * 10_000_000) is Refusal.MALFORMED


# The keys


def test_a_rotated_key_works_without_a_restart_and_the_old_one_no_longer() -> None:
    with issuer() as op:
        seconds = [0.0]
        keys = Keys(partial(keys_of, op.url), lambda: seconds[0])
        authenticator = Tokens(Rules(op.url, AUDIENCE), keys)
        before = op.token()
        assert caller(authenticator, before).subject == "u-1"
        op.rotate(new_key("EdDSA", kid="key-2"))
        seconds[0] += MINUTE
        assert caller(authenticator, op.token()).subject == "u-1"
        assert refusal(authenticator, f"Bearer {before}") is Refusal.KEY


def test_a_flood_of_unknown_keys_causes_one_request(op: Issuer) -> None:
    authenticator = tokens(op.url, AUDIENCE)
    caller(authenticator, op.token())
    before = op.fetched[JWKS]
    for number in range(200):
        token = signed(op.header(kid=f"invented-{number}"), op.claims(), op.key)
        assert refusal(authenticator, f"Bearer {token}") is Refusal.KEY
    assert op.fetched[JWKS] == before
    assert caller(authenticator, op.token()).subject == "u-1"


def test_without_an_answer_of_the_issuer_no_token_can_be_judged() -> None:
    with issuer() as op:
        op.is_away = True
        authenticator = tokens(op.url, AUDIENCE)
        with pytest.raises(KeysUnavailable):
            caller(authenticator, op.token())
        assert refusal(authenticator, "Bearer a.b.c") is Refusal.MALFORMED


def test_only_the_form_of_a_token_is_judged_before_its_key_is_known() -> None:
    with issuer() as op:
        authenticator = tokens(op.url, AUDIENCE)
        for token in ("a.b.c", f"{segment(op.header(alg='none'))}.{segment(op.claims())}.AA"):
            refusal(authenticator, f"Bearer {token}")
        assert not op.fetched
