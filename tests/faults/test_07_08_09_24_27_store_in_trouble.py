"""Rows 7, 8, 9, 24, 27: DynamoDB throttles, fails, loses responses, denies access, is slow.

One service survives all of it. Only the record processors use the proxy; the daemon's leases are not affected.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Note
from tests.support.driven.memory import resident_mib
from tests.support.driven.scenario import Stage, endless
from tests.support.driven.service import consumer, environment
from tests.support.driven.trial import Trial, started_trial, undisturbed, with_endpoints
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator
from tests.support.faults.proxy import (
    ACCESS_DENIED,
    FAILING,
    THROTTLED,
    TOKEN_EXPIRED,
    UNAVAILABLE,
    FaultProxy,
    delay,
    fail_statements,
    fault_proxy,
    lose_reply,
    skip_keys,
)

WRITE, READ = "BatchExecuteStatement", "BatchGetItem"
HANG_SECONDS = 12
"""The daemon exits if a record processor does not respond for so long. Longer outages must not cause that."""
OUTAGE_SECONDS = 25.0
TRIES_AT_FIRST = 8
"""The number of tries until a backoff that starts at 0.05 s has reached 5 s."""


@pytest.fixture(scope="module")
def proxy(aws: Emulator, seed: int) -> Iterator[FaultProxy]:
    with fault_proxy(aws.endpoint, seed) as started:
        yield started


@pytest.fixture(scope="module")
def trial(aws: Emulator, proxy: FaultProxy, seed: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    directory: Path = tmp_path_factory.mktemp("store")
    variables = environment("store", directory, AWS_ENDPOINT_URL=aws.endpoint)
    consumer(variables, "provision", "--stream", "2")
    slow_to_hang = {**variables, "CONSUMER_HANG_SECONDS": str(HANG_SECONDS), "CONSUMER_RESTARTS": "0"}
    command = with_endpoints(AWS_ENDPOINT_URL_DYNAMODB=proxy.endpoint)
    with started_trial(Stage(variables), slow_to_hang, directory, endless(seed), command) as started:
        yield started


@pytest.fixture(autouse=True)
def each_undisturbed(trial: Trial) -> Iterator[None]:
    with undisturbed(trial):
        yield


def test_07_dynamodb_throttled_in_part(trial: Trial, proxy: FaultProxy, note: Note) -> None:
    """Three in ten whole requests, single statements and single keys are throttled."""
    with (
        proxy.fault(THROTTLED, probability=0.3) as requests,
        proxy.fault(fail_statements(0.3), WRITE) as statements,
        proxy.fault(skip_keys(0.3), READ) as keys,
    ):
        trial.put(1_000)
        trial.put_until(lambda: requests.hits.total() >= 10 and statements.hits["statements"] >= 50)
    trial.until_settled()
    hit = (requests.hits.total(), statements.hits["statements"], keys.hits["keys"])
    note(f"throttled {hit[0]} requests, {hit[1]} statements, {hit[2]} keys")
    assert hit[2] > 0


def test_07_dynamodb_throttled(trial: Trial, proxy: FaultProxy, note: Note) -> None:
    """Everything is throttled, for longer than the daemon waits for a silent record processor."""
    start = time.monotonic()
    with proxy.fault(THROTTLED) as fault:
        trial.put(500)
        lag = trial.stops_consuming(fault, OUTAGE_SECONDS)
        assert time.monotonic() - start > 2 * HANG_SECONDS
    healed = time.monotonic()
    trial.until_settled()
    note(f"lag rose to {lag:.0f} s, all settled {time.monotonic() - healed:.1f} s after the outage; {fault.hits}")
    assert lag > OUTAGE_SECONDS / 2
    until(lambda: max(trial.lags().values()) == 0, "the lag to fall to 0")
    assert {"ProvisionedThroughputExceededException"} <= set(_causes(trial))


def test_08_dynamodb_fails(trial: Trial, proxy: FaultProxy, note: Note) -> None:
    """500 and 503, first for some requests, then for all."""
    with proxy.fault(FAILING, probability=0.15) as some, proxy.fault(UNAVAILABLE, probability=0.15) as others:
        trial.put_until(lambda: some.hits.total() >= 3 and others.hits.total() >= 3)
    with proxy.fault(FAILING) as first:
        trial.put(500)
        trial.stops_consuming(first, 4.0, least=1)
        with proxy.fault(UNAVAILABLE) as second:
            proxy.lift(first)
            trial.stops_consuming(second, 4.0, least=1)
    trial.until_settled()
    note(f"{some.hits.total()} + {others.hits.total()} of some, then {first.hits.total()} + {second.hits.total()}: all")


def test_09_replies_lost(trial: Trial, proxy: FaultProxy, note: Note) -> None:
    """Half of the writes succeed without a response; their repetitions find their own write."""
    conflicts = trial.metric("consumer_write_conflicts_total")
    with proxy.fault(lose_reply, probability=0.5) as fault:
        trial.put_until(lambda: fault.hits[WRITE] >= 10)
    trial.until_settled()
    note(f"{fault.hits[WRITE]} writes were carried out unheard")
    assert trial.metric("consumer_write_conflicts_total") == conflicts, "our own write is no conflict"


def test_24_credentials_refused(trial: Trial, proxy: FaultProxy, note: Note) -> None:
    """Expired credentials, then no permission for the action, then none for the table: nothing is quarantined."""
    start, waits = time.monotonic(), trial.metric("consumer_environment_retries_total")
    expired = proxy.impose(TOKEN_EXPIRED)
    trial.put(300)
    trial.stops_consuming(expired, 4.0, least=1)
    denied = proxy.impose(ACCESS_DENIED)
    proxy.lift(expired)
    trial.stops_consuming(denied, 4.0, least=1)
    statements = proxy.impose(fail_statements(1.0, "AccessDenied"), WRITE)
    proxy.lift(denied)
    trial.stops_consuming(statements, 4.0, least=1)
    seconds, waits = time.monotonic() - start, trial.metric("consumer_environment_retries_total") - waits
    proxy.lift(statements)
    trial.until_settled()
    note(f"{waits:.0f} tries by two shards in {seconds:.0f} s; {expired.hits}, {denied.hits}, {statements.hits}")
    assert waits < 2 * 2 * TRIES_AT_FIRST + seconds
    assert {"ExpiredTokenException", "AccessDeniedException", "AccessDenied"} <= set(_causes(trial))


def test_27_store_slow_for_long(trial: Trial, proxy: FaultProxy, note: Note) -> None:
    """Each request takes 2 s, and records arrive faster than they are settled: memory does not grow over time."""
    sizes: list[dict[int, int]] = []
    lag = 0.0
    with proxy.fault(delay(2.0)) as fault:
        for _ in range(2):
            end = time.monotonic() + 10
            while time.monotonic() < end:
                trial.put(200)
                lag = max(lag, *trial.lags().values())
                assert trial.running.get("/livez")[0] == 200
            sizes.append({process: int(resident_mib(process)) for process in trial.processes()})
    trial.until_settled()
    half, full = sizes
    note(
        f"lag up to {lag:.0f} s; {fault.hits.total()} requests; MiB resident, half way and at the end:"
        f" {sorted((half[process], full[process]) for process in half)}"
    )
    assert lag > 1
    assert all(full[process] < 1.5 * half[process] for process in half)


def _causes(trial: Trial) -> list[str]:
    """The logged causes of waiting."""
    return [line["cause"].rpartition(": ")[2] for line in trial.logged("waiting")]
