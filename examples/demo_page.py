"""What people look at during the demo: the page of `consumer serve`, and a limit that moves while events arrive."""

import json
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any

from consumer.admin.put import Outgoing, outgoing
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.service import service
from tests.support.driven.waiting import until

USER, LIMIT = "u-eva", "l-deposit-day"
VALUE, STEP = 1_000, 8
DAY = 86_400_000
"""In milliseconds."""
_KIND = {"type": "DEPOSIT", "period": "DAY"}


@contextmanager
def page(variables: Mapping[str, str], log: Path) -> Iterator[str]:
    """Runs `consumer serve` during the block and yields the address of the page of the user's limits."""
    address = f"{LOOPBACK}:{free_port()}"
    served = {
        "CONSUMER_API_ADDRESS": address,
        "CONSUMER_METRICS_ADDRESS": address,
        "CONSUMER_PAGES_METRICS_URLS": f"http://{variables['CONSUMER_METRICS_ADDRESS']}/metrics",
    }
    with service({**variables, **served}, log, ("consumer", "serve")) as running:
        until(lambda: running.get("/readyz")[0] == HTTPStatus.OK, "the page to answer")
        yield f"http://{address}/limits?user={USER}"
        running.stop()


def moving(clock: Callable[[], int]) -> Iterator[Outgoing]:
    """The events of the user's limit without an end: its creation, its use, and a reset whenever it is used up.

    `clock` returns milliseconds since 1970.
    """
    yield _event(1, clock(), "USER_LIMIT_CREATED", _creation(clock()))
    used = 0
    for number in count(2):
        if used < VALUE:
            yield _event(number, clock(), "USER_LIMIT_PROGRESS_CHANGED", _use(used))
            used += STEP
        else:
            yield _event(number, clock(), "USER_LIMIT_RESET", _reset(used, clock()))
            used = 0


def _creation(now: int) -> dict[str, Any]:
    return {**_KIND, "status": "ACTIVE", "value": str(VALUE), "activeFrom": now, "nextResetTime": now + DAY}


def _use(used: int) -> dict[str, Any]:
    return {"previousProgress": str(used), "amount": str(STEP), "remainingAmount": str(VALUE - used - STEP)}


def _reset(used: int, now: int) -> dict[str, Any]:
    amounts = {"resetAmount": str(used), "unusedAmount": str(VALUE - used), "resetPercentage": "100.00"}
    return {**_KIND, **amounts, "nextResetTime": now + DAY}


def _event(number: int, now: int, kind: str, rest: Mapping[str, Any]) -> Outgoing:
    about = {"userId": USER, "userLimitId": LIMIT, "brandId": "000000000000000000000001", "currencyCode": "EUR"}
    event = {
        "type": kind,
        "sequenceNumber": number,
        "createdAt": now,
        "eventId": f"e-eva-{number}",
        "aggregateId": USER,
        "source": "limitUser",
        "context": {},
        "payload": {**about, **rest},
    }
    return outgoing(json.dumps(event).encode())


def wait_of(environment: Mapping[str, str]) -> Callable[[float], bool] | None:
    """How to wait for the end of the demo: for Enter. None if nobody looks, so that it ends at once."""
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return Enter().within if is_terminal or environment.get("DEMO_KEEP") == "1" else None


class Enter:
    """Enter on standard input. If that is closed, or was never open, Enter never comes."""

    def __init__(self) -> None:
        self._is_open = True

    def within(self, seconds: float) -> bool:
        """Waits at most so many seconds, and returns whether Enter was pressed."""
        if not self._is_open:
            time.sleep(seconds)
            return False
        if not select.select([sys.stdin], [], [], seconds)[0]:
            return False
        self._is_open = bool(os.read(sys.stdin.fileno(), 4_096))
        return self._is_open
