"""The load: payments of a fixed set of users, of whom few pay often and many rarely. The same seed, the same bytes.

A payment is one event of a foreign type and one PROGRESS_CHANGED for each of the user's limits: day, week, month. The
limits are created before the first payment.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from random import Random
from typing import Any, TypeAlias

Event: TypeAlias = dict[str, Any]

PERIODS = ("DAY", "WEEK", "MONTH")
PER_PAYMENT = 1 + len(PERIODS)
USERS = 200
"""Users of one shard."""
SKEW = 0.9
"""The exponent of Zipf's law: the k-th user pays in proportion to 1 / k ** SKEW."""
START = 1_767_225_600_000
"""The time of the first event: 2026-01-01T00:00Z, in epoch milliseconds."""
BRAND = "000000000000000000000001"
VALUE_CENTS = 10_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """Events in their order on a shard: `setup` creates the limits, `paid` is measured."""

    setup: Sequence[Event]
    paid: Sequence[Event]

    @property
    def events(self) -> list[Event]:
        return [*self.setup, *self.paid]


def realistic(events: int, seed: int = 1, users: int = USERS, first: int = 0) -> Load:
    """`events` events of payments by Zipf's law. `first`: the number of the first user; shards do not share users."""
    numbers = range(first, first + users)
    history = _History(seed, numbers)
    weights = list(accumulate(1 / rank**SKEW for rank in range(1, users + 1)))
    setup = [history.created(user, period) for user in numbers for period in PERIODS]
    return Load(setup, list(islice(history.payments(weights), events)))


def spread(events: int, limits: int, seed: int = 1) -> Load:
    """`events` PROGRESS_CHANGED of `limits` limits, one after the other."""
    history = _History(seed, range(limits))
    setup = [history.created(user, PERIODS[0]) for user in range(limits)]
    return Load(setup, [history.progressed(number % limits, PERIODS[0], 100) for number in range(events)])


def all_different(events: int) -> Load:
    """The worst case: every event changes another limit."""
    return spread(events, events)


def created(user: int) -> Event:
    """The creation of the first limit of a user that no load contains: `user` is at least 100,000."""
    return _History(user, range(0)).created(user, PERIODS[0])


def limit_of(user_id: str) -> str:
    """The id of the limit of `created`."""
    return f"limit-{user_id.removeprefix('user-')}-{PERIODS[0].lower()}"


class _History:
    """Makes events whose sequence numbers, times and amounts continue those before."""

    def __init__(self, seed: int, users: range) -> None:
        self._random = Random(seed)
        self._users = users
        self._made = 0
        self._sequences: dict[tuple[int, str], int] = {}
        self._used: dict[tuple[int, str], int] = {}

    def payments(self, weights: Sequence[float]) -> Iterator[Event]:
        """Endless: a foreign event and three of ours per payment."""
        while True:
            user = self._random.choices(self._users, cum_weights=weights)[0]
            cents = self._random.randrange(100, 20_000)
            yield self._foreign(user, cents)
            for period in PERIODS:
                yield self.progressed(user, period, cents)

    def created(self, user: int, period: str) -> Event:
        limit = {"activeFrom": START, "period": period, "status": "ACTIVE", "type": "DEPOSIT"}
        return self._of_limit("USER_LIMIT_CREATED", user, period, {**limit, "value": _amount(VALUE_CENTS)})

    def progressed(self, user: int, period: str, cents: int) -> Event:
        before = self._used.get((user, period), 0)
        self._used[user, period] = before + cents
        amounts = {
            "amount": _amount(cents),
            "previousProgress": _amount(before),
            "remainingAmount": _amount(VALUE_CENTS - before - cents),
        }
        return self._of_limit("USER_LIMIT_PROGRESS_CHANGED", user, period, amounts)

    def _foreign(self, user: int, cents: int) -> Event:
        payload = {"amount": _amount(cents), "currencyCode": "SEK", "userId": _user(user), "brandId": BRAND}
        return self._event("LIMIT_USER_PENDING_PAYMENT_PROCESSED", user, 1, payload)

    def _of_limit(self, kind: str, user: int, period: str, payload: Event) -> Event:
        sequence = self._sequences[user, period] = self._sequences.get((user, period), 0) + 1
        about = {"brandId": BRAND, "currencyCode": "SEK", "userId": _user(user), "userLimitId": _limit(user, period)}
        return self._event(kind, user, sequence, {**about, **payload})

    def _event(self, kind: str, user: int, sequence: int, payload: Event) -> Event:
        self._made += 1
        return {
            "aggregateId": _user(user),
            "context": {"correlationId": f"{self._random.getrandbits(128):032x}"},
            "createdAt": START + 40 * self._made,
            "eventId": f"{self._random.getrandbits(128):032x}",
            "payload": payload,
            "sequenceNumber": sequence,
            "source": "limitUser",
            "type": kind,
        }


def data(event: Event) -> bytes:
    """The data of the event's record."""
    return json.dumps(event, separators=(",", ":")).encode()


def batches(events: Sequence[Event], size: int, first: int = 1) -> Iterator[list[bytes]]:
    """The records of the events as the daemon writes them, `size` at a time. `first`: of the sequence numbers."""
    records = [record(number, data(event)) for number, event in enumerate(events, first)]
    for start in range(0, len(records), size):
        yield records[start : start + size]


def record(number: int, content: bytes) -> bytes:
    """A record in a processRecords message of the daemon."""
    return json.dumps(
        {
            "action": "record",
            "data": base64.b64encode(content).decode(),
            "partitionKey": f"u-{number % USERS}",
            "sequenceNumber": f"4959{number:052}",
            "subSequenceNumber": 0,
            "approximateArrivalTimestamp": START,
        }
    ).encode()


def _amount(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _user(user: int) -> str:
    return f"user-{user:08}"


def _limit(user: int, period: str) -> str:
    return f"limit-{user:08}-{period.lower()}"
