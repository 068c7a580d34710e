"""The keys of an issuer: which are used, when they are fetched, and what happens while the issuer is away."""

import asyncio
import itertools
import json
import logging
import math
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt import PyJWK, algorithms

from consumer.api import fetching
from consumer.api import issuer as publishing
from consumer.api.callers import KeysUnavailable
from consumer.api.issuer import BYTES, KeySet, NotPublished, keys_at, keys_of
from consumer.api.keys import (
    FRESH_SECONDS,
    PAUSE_SECONDS,
    PAUSE_WITHOUT_KEYS_SECONDS,
    VALID_SECONDS,
    Keys,
)
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.waiting import until
from tests.support.emulators.issuer import JWKS, METADATA, Issuer, issuer, new_key, rsa_key

NAME = ("key-1", "ES256")
OTHER = ("key-2", "ES256")


@pytest.fixture
def op() -> Iterator[Issuer]:
    with issuer() as served:
        yield served


# What is published


def published(op: Issuer, *jwks: object) -> KeySet:
    op.bodies[JWKS] = json.dumps({"keys": jwks}).encode()
    return keys_at(op.jwks_url)


def test_metadata_name_the_address_of_the_keys(op: Issuer) -> None:
    assert set(keys_of(op.url)) == {NAME}
    assert op.fetched == {METADATA: 1, JWKS: 1}


def test_a_key_that_names_no_algorithm_is_for_all_that_fit_it(op: Issuer) -> None:
    kinds = ("RS256", "ES256", "EdDSA")
    jwks = [new_key(kind, kind).jwk for kind in kinds]
    for jwk in jwks:
        del jwk["alg"], jwk["use"]
    fitting = {("RS256", "RS256"), ("RS256", "PS256"), ("ES256", "ES256"), ("EdDSA", "EdDSA")}
    assert set(published(op, *jwks)) == fitting


def test_the_new_name_of_an_algorithm_is_known(op: Issuer) -> None:
    assert set(published(op, new_key("EdDSA").jwk | {"alg": "Ed25519"})) == {("key-1", "EdDSA")}


UNUSABLE: dict[str, Callable[[dict[str, Any]], object]] = {
    "for encryption": lambda jwk: jwk | {"use": "enc"},
    "with an odd use": lambda jwk: jwk | {"use": ["sig"]},
    "for signing only": lambda jwk: jwk | {"key_ops": ["sign"]},
    "with odd operations": lambda jwk: jwk | {"key_ops": "verify"},
    "symmetric": lambda jwk: {"kty": "oct", "k": "c2VjcmV0", "kid": jwk["kid"], "alg": "HS256"},
    "symmetric in disguise": lambda jwk: {"kty": "oct", "k": "c2VjcmV0", "kid": jwk["kid"], "alg": "ES256"},
    "with its private part": lambda jwk: jwk | {"d": "AAAA"},
    "without an id": lambda jwk: {name: value for name, value in jwk.items() if name != "kid"},
    "with an odd id": lambda jwk: jwk | {"kid": 7},
    "without a type": lambda jwk: {name: value for name, value in jwk.items() if name != "kty"},
    "of another type": lambda jwk: jwk | {"kty": "RSA"},
    "of an odd type": lambda jwk: jwk | {"kty": ["EC"]},
    "of another algorithm": lambda jwk: jwk | {"alg": "ES384"},
    "of an odd algorithm": lambda jwk: jwk | {"alg": ["ES256"]},
    "of another curve": lambda jwk: jwk | {"crv": "P-384"},
    "not on its curve": lambda jwk: jwk | {"x": jwk["y"]},
    "without a coordinate": lambda jwk: {name: value for name, value in jwk.items() if name != "y"},
    "with an odd coordinate": lambda jwk: jwk | {"x": 7},
    "with an empty coordinate": lambda jwk: jwk | {"x": ""},
    "with a coordinate that is not base64": lambda jwk: jwk | {"x": "\u00e9"},
    "that is text": lambda _: "key",
    "that is null": lambda _: None,
    "that is a list": lambda jwk: [jwk],
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_an_unusable_key_is_ignored_and_the_others_work(op: Issuer, what: str) -> None:
    odd = UNUSABLE[what](new_key(kid="odd").jwk)
    assert set(published(op, odd, new_key().jwk)) == {NAME}
    with pytest.raises(NotPublished, match="no key for RS256, PS256, ES256, EdDSA"):
        published(op, odd)


def test_a_short_rsa_key_is_ignored(op: Issuer) -> None:
    described = json.loads(algorithms.RSAAlgorithm.to_jwk(rsa_key("short", bits=1_024).public_key()))
    assert set(published(op, described | {"kid": "short"}, new_key().jwk)) == {NAME}


def test_an_ed448_key_is_ignored(op: Issuer) -> None:
    described = json.loads(algorithms.OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key()))
    assert set(published(op, described | {"kid": "long"}, new_key().jwk)) == {NAME}


def test_the_first_of_two_keys_with_one_id_counts(op: Issuer) -> None:
    first, second = new_key(), new_key()
    found = published(op, first.jwk, second.jwk)[NAME]
    assert found.key.public_numbers() == first.public.public_numbers()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": null}',
        b"[" * 100_000,
        b"\xff",
        b"<html>",
    ],
)
def test_a_document_that_is_no_key_set_is_an_error_with_its_address(op: Issuer, body: bytes) -> None:
    op.bodies[JWKS] = body or b" "
    with pytest.raises(NotPublished, match=op.jwks_url):
        keys_at(op.jwks_url)


@pytest.mark.parametrize("other", ["{}/", "https://evil.example", "", None, 7])
def test_metadata_of_another_issuer_are_refused(op: Issuer, other: str | int | None) -> None:
    named = other.format(op.url) if isinstance(other, str) else other
    op.bodies[METADATA] = json.dumps({"issuer": named, "jwks_uri": op.jwks_url}).encode()
    with pytest.raises(NotPublished, match="of the issuer"):
        keys_of(op.url)
    assert not op.fetched[JWKS]


def test_metadata_without_an_address_of_keys_are_refused(op: Issuer) -> None:
    op.bodies[METADATA] = json.dumps({"issuer": op.url}).encode()
    with pytest.raises(NotPublished, match="no jwks_uri"):
        keys_of(op.url)


# How it is fetched


@pytest.mark.parametrize(
    "address",
    [
        "http://issuer.example/keys",
        "http://127.0.0.1.issuer.example/keys",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "ftp://127.0.0.1/keys",
        "data:,{}",
        "//127.0.0.1/keys",
        "https://",
        "https:///keys",
        "https://user:secret@127.0.0.1/keys",
        "http://127.0.0.1@issuer.example/keys",
        "https://[::1/keys",
        "",
    ],
)
def test_only_https_is_fetched_or_this_machine(address: str) -> None:
    with pytest.raises(NotPublished, match=r"use https|Invalid IPv6"):
        keys_at(address)


def test_metadata_cannot_name_an_insecure_address(op: Issuer) -> None:
    op.bodies[METADATA] = json.dumps({"issuer": op.url, "jwks_uri": "http://issuer.example/keys"}).encode()
    with pytest.raises(NotPublished, match="use https"):
        keys_of(op.url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(op: Issuer, status: int) -> None:
    op.status = HTTPStatus(status)
    op.headers["Location"] = f"{op.url}/elsewhere"
    with pytest.raises(NotPublished, match=f"status {status}"):
        keys_at(op.jwks_url)
    assert set(op.fetched) == {JWKS}


@pytest.mark.parametrize("status", [201, 204, 404, 500, 503])
def test_only_a_200_counts(op: Issuer, status: int) -> None:
    op.status = HTTPStatus(status)
    with pytest.raises(NotPublished, match=f"status {status}"):
        keys_at(op.jwks_url)


def test_a_long_document_is_refused(op: Issuer) -> None:
    jwk = new_key().jwk
    room = BYTES - len(json.dumps({"keys": [jwk | {"note": ""}]}))
    assert set(published(op, jwk | {"note": "x" * room})) == {NAME}
    with pytest.raises(NotPublished, match=f"more than {BYTES} bytes"):
        published(op, jwk | {"note": "x" * (room + 1)})


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_an_answer_that_is_not_http_or_not_complete_is_an_error(answer: bytes) -> None:
    with answering(lambda client: client.sendall(answer)) as address, pytest.raises(NotPublished, match=address):
        keys_at(address)


def test_an_issuer_that_sends_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "SECONDS", 0.05)
    over = threading.Event()
    with answering(lambda _: bool(over.wait())) as address:
        try:
            with pytest.raises(NotPublished, match="timed out"):
                keys_at(address)
        finally:
            over.set()


def test_an_issuer_that_sends_a_byte_now_and_then_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(fetching, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))

    def drip(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not over.wait(0.001):
            client.sendall(b" ")

    over = threading.Event()
    with answering(drip) as address:
        try:
            with pytest.raises(NotPublished, match="not complete after 5 s"):
                keys_at(address)
        finally:
            over.set()


@contextmanager
def answering(answer: Callable[[socket.socket], object], heard: list[bytes] | None = None) -> Iterator[str]:
    """The address of a server that reads one request, into `heard`, and then does this with the connection."""

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            request = client.recv(65_536)
            (heard if heard is not None else []).append(request)
            with suppress(ConnectionError):
                answer(client)

    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.settimeout(60)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        thread.join()


def test_nobody_listens() -> None:
    with pytest.raises(NotPublished, match="refused"):
        keys_at(f"http://{LOOPBACK}:{free_port()}/keys")


def test_this_machine_is_not_asked_through_a_proxy(op: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{LOOPBACK}:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert set(keys_at(op.jwks_url)) == {NAME}


def test_another_machine_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []

    def refuse(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with answering(refuse, heard) as proxy:
        monkeypatch.setenv("https_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(NotPublished, match="403"):
            keys_at("https://issuer.example/keys")
    assert heard[0].startswith(b"CONNECT issuer.example:443 ")


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1, signed by itself, and its key, in one file."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "issuer.pem"
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path


def test_a_certificate_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with issuer(context=context) as op:
        with pytest.raises(NotPublished, match="certificate verify failed"):
            keys_at(op.jwks_url)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        assert set(keys_at(op.jwks_url)) == {NAME}
        with pytest.raises(NotPublished, match="certificate"):
            keys_at(op.jwks_url.replace(LOOPBACK, "localhost"))


# When it is fetched


class Published:
    """What a fetch returns, and how many there were. `released`: fetches wait until it is set."""

    def __init__(self, *names: tuple[str, str]) -> None:
        self.keys: dict[tuple[str, str], PyJWK] = {name: PyJWK(new_key().jwk) for name in names}
        self.failure: Exception | None = None
        self.fetches = 0
        self.threads: set[str] = set()
        self.released = threading.Event()
        self.released.set()
        self.at_once = 0
        self.most_at_once = 0

    def __call__(self) -> KeySet:
        released = self.released
        self.fetches += 1
        self.threads.add(threading.current_thread().name)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        released.wait()
        self.at_once -= 1
        if self.failure:
            raise self.failure
        return dict(self.keys)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def source() -> Published:
    return Published(NAME)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(source: Published, clock: Clock) -> Keys:
    return Keys(source, clock)


def find(keys: Keys, name: tuple[str, str] = NAME) -> PyJWK | None:
    return asyncio.run(keys.find(*name))


def test_nothing_is_fetched_before_it_is_needed(keys: Keys, source: Published) -> None:
    assert not source.fetches
    assert find(keys) is source.keys[NAME]


def test_keys_are_kept_for_an_hour(keys: Keys, source: Published, clock: Clock) -> None:
    find(keys)
    clock.seconds += FRESH_SECONDS
    find(keys)
    assert source.fetches == 1
    clock.seconds += 1
    find(keys)
    assert source.fetches == 2


def test_a_withdrawn_key_works_for_an_hour_at_most(keys: Keys, source: Published, clock: Clock) -> None:
    find(keys)
    source.keys = {OTHER: source.keys[NAME]}
    clock.seconds += FRESH_SECONDS + 1
    assert find(keys) is None


def test_an_unknown_key_is_fetched_at_once_but_once_a_minute(keys: Keys, source: Published, clock: Clock) -> None:
    find(keys)
    clock.seconds += PAUSE_SECONDS
    source.keys[OTHER] = source.keys[NAME]
    assert find(keys, OTHER) is not None
    assert source.fetches == 2
    for second in range(int(PAUSE_SECONDS)):
        assert find(keys, (f"invented-{second}", "ES256")) is None
        clock.seconds += 1
    assert source.fetches == 2
    assert find(keys, ("invented", "ES256")) is None
    assert source.fetches == 3


def together(keys: Keys, *names: tuple[str, str]) -> list[PyJWK | BaseException | None]:
    async def all_of_them() -> list[PyJWK | BaseException | None]:
        return list(await asyncio.gather(*(keys.find(*name) for name in names), return_exceptions=True))

    return asyncio.run(all_of_them())


def test_a_flood_waits_for_one_fetch(keys: Keys, source: Published, clock: Clock) -> None:
    names = [NAME] * 100 + [(f"invented-{number}", "ES256") for number in range(100)]
    assert together(keys, *names) == [source.keys[NAME]] * 100 + [None] * 100
    assert source.fetches == source.most_at_once == 1
    clock.seconds += PAUSE_SECONDS
    together(keys, *names)
    assert source.fetches == 2


def during(keys: Keys, source: Published, name: tuple[str, str], meanwhile: Callable[[], Awaitable[None]]) -> object:
    """Looks up a key whose fetch does not return before `meanwhile` has ended."""

    async def both() -> object:
        source.released.clear()
        try:
            search = asyncio.create_task(keys.find(*name))
            while not source.at_once:  # noqa: ASYNC110 - another thread counts
                await asyncio.sleep(0.001)
            await meanwhile()
        finally:
            source.released.set()
        return await search

    return asyncio.run(both())


def test_the_event_loop_and_known_keys_do_not_wait_for_a_fetch(keys: Keys, source: Published, clock: Clock) -> None:
    find(keys)
    clock.seconds += PAUSE_SECONDS

    async def a_known_key() -> None:
        assert await keys.find(*NAME) is source.keys[NAME]

    assert during(keys, source, OTHER, a_known_key) is None
    assert source.threads == {"keys"}


def test_a_caller_that_leaves_takes_no_fetch_along(keys: Keys, source: Published) -> None:
    async def another_caller_leaves() -> None:
        search = asyncio.create_task(keys.find(*NAME))
        await asyncio.sleep(0)
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search

    assert during(keys, source, NAME, another_caller_leaves) is source.keys[NAME]
    assert source.fetches == 1


# While the issuer is away


@pytest.fixture
def without_keys(source: Published) -> Published:
    source.failure = NotPublished("https://issuer.example/keys: status 503 instead of 200")
    return source


def test_without_keys_nothing_can_be_verified(keys: Keys, without_keys: Published, clock: Clock) -> None:
    for _ in range(3):
        with pytest.raises(KeysUnavailable, match="try again later"):
            find(keys)
    assert without_keys.fetches == 1
    clock.seconds += PAUSE_WITHOUT_KEYS_SECONDS
    without_keys.failure = None
    assert find(keys) is not None


def test_known_keys_work_for_a_day(keys: Keys, source: Published, clock: Clock) -> None:
    find(keys)
    source.failure = NotPublished("away")
    clock.seconds += VALID_SECONDS
    assert find(keys) is not None
    clock.seconds += 1
    with pytest.raises(KeysUnavailable):
        find(keys)


def test_an_unknown_key_may_be_a_new_one_while_the_issuer_is_away(keys: Keys, source: Published, clock: Clock) -> None:
    find(keys)
    source.failure = NotPublished("away")
    clock.seconds += PAUSE_SECONDS
    with pytest.raises(KeysUnavailable):
        find(keys, OTHER)
    assert find(keys) is not None


def test_the_issuer_is_asked_once_a_minute_while_it_is_away(keys: Keys, source: Published, clock: Clock) -> None:
    find(keys)
    source.failure = NotPublished("away")
    clock.seconds += FRESH_SECONDS + 1
    find(keys)
    before, minutes = source.fetches, 10
    for _ in range(minutes * int(PAUSE_SECONDS)):
        clock.seconds += 1
        find(keys)
    until(lambda: source.fetches - before >= minutes, "the last fetch in the background", every=0.001)
    assert source.fetches - before == minutes


def test_known_keys_do_not_wait_for_an_issuer_that_was_away(keys: Keys, source: Published, clock: Clock) -> None:
    find(keys)
    source.failure = NotPublished("away")
    clock.seconds += FRESH_SECONDS + 1
    find(keys)
    source.released.clear()
    clock.seconds += PAUSE_SECONDS
    try:
        with pytest.raises(StopIteration) as returned:
            keys.find(*NAME).send(None)  # without an event loop: it returns without waiting for anything
        assert returned.value.value is source.keys[NAME]
        until(lambda: source.at_once, "the fetch in the background", every=0.001)
    finally:
        source.failure = None
        source.keys[OTHER] = source.keys[NAME]
        source.released.set()
    until(lambda: find(keys, OTHER), "the keys of the fetch in the background", every=0.001)


def test_keys_are_as_old_as_the_start_of_their_fetch(keys: Keys, source: Published, clock: Clock) -> None:
    find(keys)
    source.failure = NotPublished("away")
    clock.seconds += FRESH_SECONDS + 1
    find(keys)
    source.failure = None
    clock.seconds += PAUSE_SECONDS
    find(keys)
    until(lambda: keys._under_way and keys._under_way.done(), "the fetch in the background", every=0.001)
    clock.seconds += FRESH_SECONDS + 1
    find(keys)
    find(keys)
    assert source.fetches == 4


def test_a_fetch_that_takes_too_long_counts_as_a_failure(source: Published, clock: Clock) -> None:
    keys = Keys(source, clock, wait_seconds=0.01)
    source.released.clear()
    try:
        with pytest.raises(KeysUnavailable):
            find(keys)
    finally:
        source.released.set()
    until(lambda: not source.at_once, "the end of the fetch", every=0.001)
    until(lambda: found(keys), "its keys", every=0.001)
    assert source.fetches == 1


def found(keys: Keys) -> PyJWK | None:
    try:
        return find(keys)
    except KeysUnavailable:
        return None


def test_later_callers_do_not_wait_again_for_a_slow_fetch(source: Published, clock: Clock) -> None:
    keys = Keys(source, clock, wait_seconds=30)

    async def later() -> None:
        clock.seconds += 30
        with pytest.raises(KeysUnavailable):
            await keys.find(*OTHER)

    assert during(keys, source, NAME, later) is source.keys[NAME]


def test_a_fetch_that_never_returns_is_given_up(source: Published, clock: Clock) -> None:
    keys = Keys(source, clock, wait_seconds=0.01)
    stuck = threading.Event()
    source.released = stuck
    try:
        with pytest.raises(KeysUnavailable):
            find(keys)
        until(lambda: source.at_once, "the fetch", every=0.001)
        source.released = threading.Event()
        source.released.set()
        with pytest.raises(KeysUnavailable):
            find(keys)
        clock.seconds += PAUSE_SECONDS
        until(lambda: found(keys), "the keys of another fetch", every=0.001)
        assert source.fetches == 2
    finally:
        stuck.set()


def test_a_failure_is_one_line_in_the_log(
    keys: Keys, without_keys: Published, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeysUnavailable):
        find(keys)
    (record,) = [record for record in caplog.records if record.name == "consumer.api.keys"]
    assert (record.levelname, record.getMessage()) == ("WARNING", "keys of the issuer not fetched")
    assert vars(record)["cause"] == str(without_keys.failure)


def test_an_error_nobody_expected_does_not_stop_the_fetching(
    keys: Keys, source: Published, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    source.failure = ZeroDivisionError()
    with caplog.at_level(logging.ERROR, "consumer.api.keys"), pytest.raises(KeysUnavailable):
        find(keys)
    assert caplog.records[0].exc_info
    source.failure = None
    clock.seconds += PAUSE_WITHOUT_KEYS_SECONDS
    assert find(keys) is not None


def test_rotation_over_http_needs_no_restart(op: Issuer, clock: Clock) -> None:
    keys = Keys(partial(keys_of, op.url), clock)
    assert find(keys) is not None
    op.rotate(new_key(kid="key-2"))
    clock.seconds += PAUSE_SECONDS
    assert find(keys, OTHER) is not None
    assert find(keys) is None
    assert op.fetched == {METADATA: 2, JWKS: 2}


def test_the_bounds_are_in_their_order() -> None:
    assert PAUSE_WITHOUT_KEYS_SECONDS < PAUSE_SECONDS < FRESH_SECONDS < VALID_SECONDS < math.inf
