"""Generates realistic histories of limits, for the demo, trials, tests and benchmarks. The arithmetic is exact.

    for sample in histories(Random(1), events=1_000, users=20):
        put(sample.partition_key, sample.data)

The same seed gives the same records, byte for byte.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from types import MappingProxyType
from typing import Any, TypeAlias, get_args

from consumer.engine.aggregation import MAGIC
from consumer.engine.errors import Reason
from consumer.limits.events import OUT_OF_SCOPE, LimitType, Period, Status
from consumer.limits.money import ZERO, plain

Event: TypeAlias = dict[str, Any]
"""An event as a JSON object: json.dumps returns the data of its record."""

START = 1_767_225_600_000
"""The time of the first event: 2026-01-01T00:00Z, in epoch milliseconds."""

TYPES: Sequence[LimitType] = get_args(LimitType)
PERIODS: Sequence[Period] = get_args(Period)
STATUSES: Sequence[Status] = get_args(Status)
FOREIGN: Sequence[str] = (*sorted(OUT_OF_SCOPE), "LIMIT_USER_NICKNAME_CHANGED")

_HOUR = 3_600_000
_LENGTHS: Mapping[Period, int] = MappingProxyType(
    {
        "CALENDAR_DAY": 24 * _HOUR,
        "CALENDAR_WEEK": 7 * 24 * _HOUR,
        "CALENDAR_MONTH": 30 * 24 * _HOUR,
        "DAY": 24 * _HOUR,
        "WEEK": 7 * 24 * _HOUR,
        "MONTH": 30 * 24 * _HOUR,
    }
)
"""Milliseconds between two resets. The other periods have no next reset."""

_PACE = 300_000
"""Milliseconds between two events, on average."""
_MOST_LIMITS = 6
_CENT = Decimal("0.01")
_RECENT = 200
"""A duplicate repeats one of this many last records."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A record for the stream.

    event          the event in `data`, None for a record that can never be applied ("poison record")
    poison_reason  the reason why the record will be quarantined, None for a valid record
    """

    partition_key: str
    data: bytes
    event: Event | None
    poison_reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Poison:
    """A way to corrupt an event: `spoil` turns a valid CREATED into data that is rejected without reading the table."""

    name: str
    reason: Reason
    spoil: Callable[[Event], bytes]


def histories(
    random: Random,
    events: int = 1_000,
    users: int = 50,
    *,
    duplicates: float = 0.0,
    poison: float = 0.0,
) -> Iterator[Sample]:
    """`events` records of `users` users, with increasing sequence numbers per user.

    `duplicates` and `poison` are shares in 0..1: of records that repeat a recent one, and of records that can never be
    applied.
    """
    players = [_Player(random, f"u-{number:05}") for number in range(1, users + 1)]
    recent: deque[Sample] = deque(maxlen=_RECENT)
    now = START
    for _ in range(events):
        now += random.randrange(2 * _PACE)
        chance = random.random()
        if recent and chance < duplicates:
            yield random.choice(recent)
            continue
        player = random.choice(players)
        if chance < duplicates + poison:
            yield _poisoned(random.choice(POISONS), player.spoilable(now))
        else:
            sample = _sound(player.next_event(now))
            recent.append(sample)
            yield sample


def encoded(event: Event) -> bytes:
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def _sound(event: Event) -> Sample:
    return Sample(event["aggregateId"], encoded(event), event)


def _poisoned(poison: Poison, event: Event) -> Sample:
    return Sample(event["aggregateId"], poison.spoil(event), None, poison.reason)


@dataclass(slots=True)
class _Limit:
    user_limit_id: str
    type: LimitType
    period: Period
    value: Decimal
    status: Status
    active_from: int
    active_until: int | None = None
    progress: Decimal = ZERO
    next_reset: int | None = None


@dataclass(slots=True)
class _Player:
    """A user and the user's limits, as the platform that sends the events would keep them."""

    random: Random
    user_id: str
    limits: list[_Limit] = field(default_factory=list)
    _sequence: int = 0

    def next_event(self, now: int) -> Event:
        if not self.limits:
            return self._start(now)
        limit = self.random.choice(self.limits)
        if limit.next_reset is not None and now >= limit.next_reset and self.random.random() < 0.6:
            return self._reset(limit, now)
        (act,) = self.random.choices(
            (self._progress, self._reset, self._change, self._foreign, self._further), weights=(74, 5, 8, 6, 7)
        )
        return act(limit, now)

    def spoilable(self, now: int) -> Event:
        """A valid CREATED of a limit that no other event uses, so that losing it affects no other limit."""
        return self._created(self._made_up("ACTIVE", now), now)

    def _start(self, now: int) -> Event:
        limit = self._made_up("ACTIVE", now)
        self.limits.append(limit)
        if self.random.random() < 0.9:
            return self._created(limit, now)
        self._sequence += 1  # the stream starts after the limit's CREATED
        return self._progress(limit, now)

    def _further(self, limit: _Limit, now: int) -> Event:
        """Another limit: an independent one, or one that will succeed an active limit."""
        if len(self.limits) >= _MOST_LIMITS:
            return self._progress(limit, now)
        further = self._made_up("ACTIVE", now)
        if self.random.random() < 0.5:
            further.type, further.period, further.status = limit.type, limit.period, "FUTURE"
            further.value = self._amount(limit.type, 50, 2_000)
            further.active_from, further.next_reset = now + 7 * 24 * _HOUR, None
        self.limits.append(further)
        return self._created(further, now)

    def _change(self, limit: _Limit, now: int) -> Event:
        """The same limit with another value or status."""
        before = limit.value
        if self.random.random() < 0.6:
            limit.value = self._amount(limit.type, 50, 2_000)
        else:
            limit.status = self.random.choice(STATUSES)
            limit.active_until = now + 24 * _HOUR if limit.status == "CANCELED" else None
        event = self._created(limit, now)
        if self.random.random() < 0.5:
            event["payload"]["previousLimitValue"] = self._spelled(before)
        if self.random.random() < 0.3:
            event["payload"]["progress"] = self._spelled(limit.progress)
        return event

    def _created(self, limit: _Limit, now: int) -> Event:
        payload = {
            "activeFrom": limit.active_from,
            "period": limit.period,
            "status": limit.status,
            "type": limit.type,
            "value": self._spelled(limit.value),
        }
        if limit.active_until is not None:
            payload["activeUntil"] = limit.active_until
        if self.random.random() < 0.5:
            payload["createdAt"] = now - 5
        return self._event("USER_LIMIT_CREATED", limit, payload, now)

    def _progress(self, limit: _Limit, now: int) -> Event:
        amount, before = self._change_of(limit), limit.progress
        limit.progress += amount
        payload = {"amount": self._spelled(amount), "previousProgress": self._spelled(before)}
        if self.random.random() < 0.7:
            payload["remainingAmount"] = self._spelled(limit.value - limit.progress)
        return self._event("USER_LIMIT_PROGRESS_CHANGED", limit, payload, now)

    def _reset(self, limit: _Limit, now: int) -> Event:
        used, limit.progress = limit.progress, ZERO
        limit.next_reset = _next_reset(limit.period, now)
        percentage = (100 * used / limit.value).quantize(_CENT, ROUND_HALF_UP)
        payload = {
            "period": limit.period,
            "resetAmount": self._spelled(used),
            "resetPercentage": f"{percentage}",
            "type": limit.type,
            "unusedAmount": self._spelled(limit.value - used),
        }
        return self._event("USER_LIMIT_RESET", limit, payload, now)

    def _foreign(self, _limit: _Limit, now: int) -> Event:
        kind = self.random.choice(FOREIGN)
        return self._enveloped(kind, {"userId": self.user_id, "amount": 12.5}, now)

    def _event(self, kind: str, limit: _Limit, payload: Event, now: int) -> Event:
        about: Event = {
            "brandId": "000000000000000000000001",
            "currencyCode": ("SEK", "EUR", "GBP")[int(self.user_id[2:]) % 3],
            "userId": self.user_id,
            "userLimitId": limit.user_limit_id,
        }
        if limit.next_reset is not None and self.random.random() < 0.7:
            about["nextResetTime"] = limit.next_reset
        return self._enveloped(kind, about | payload, now)

    def _enveloped(self, kind: str, payload: Event, now: int) -> Event:
        self._sequence += self.random.choice((1, 1, 1, 2, 3, 17))
        name = f"{self.user_id}-{self._sequence}"
        return {
            "aggregateId": self.user_id,
            "context": {"correlationId": f"c-{name}"} if self.random.random() < 0.5 else {},
            "createdAt": now,
            "eventId": f"e-{name}-{self.random.getrandbits(32):08x}",
            "payload": payload,
            "sequenceNumber": self._sequence,
            "source": "limitUser",
            "type": kind,
        }

    def _made_up(self, status: Status, now: int) -> _Limit:
        kind, period = self.random.choice(TYPES), self.random.choice(PERIODS)
        return _Limit(
            user_limit_id=f"l-{self.user_id}-{self.random.getrandbits(32):08x}",
            type=kind,
            period=period,
            value=self._amount(kind, 50, 2_000),
            status=status,
            active_from=now,
            next_reset=_next_reset(period, now),
        )

    def _change_of(self, limit: _Limit) -> Decimal:
        """A change of progress, sometimes more than is left. A win is negative, sometimes more than was used."""
        amount, chance = self._amount(limit.type, 1, 60), self.random.random()
        if limit.type not in ("LOSS", "BALANCE") or chance < 0.7:
            return amount
        return -amount if chance < 0.73 else ZERO - min(amount, max(limit.progress, ZERO))

    def _amount(self, kind: LimitType, least: int, most: int) -> Decimal:
        """Seconds for a SESSION limit, otherwise money. Above zero."""
        if kind == "SESSION":
            return Decimal(60 * self.random.randint(least, most))
        cents = self.random.choice((0, 0, 50, self.random.randrange(100)))
        return Decimal(100 * self.random.randint(least, most) + cents).scaleb(-2)

    def _spelled(self, amount: Decimal) -> str:
        return f"{amount:.2f}" if self.random.random() < 0.4 else plain(amount)


def _next_reset(period: Period, now: int) -> int | None:
    length = _LENGTHS.get(period)
    if length is None:
        return None
    return (now // length + 1) * length if period.startswith("CALENDAR") else now + length


def _without(*path: str) -> Callable[[Event], bytes]:
    def spoil(event: Event) -> bytes:
        del _parent(event, path)[path[-1]]
        return encoded(event)

    return spoil


def _with(value: object, *path: str) -> Callable[[Event], bytes]:
    def spoil(event: Event) -> bytes:
        _parent(event, path)[path[-1]] = value
        return json.dumps(event).encode()

    return spoil


def _parent(event: Event, path: Sequence[str]) -> Event:
    return event if len(path) == 1 else _parent(event[path[0]], path[1:])


def _overflowing(event: Event) -> bytes:
    kept = {name: event["payload"][name] for name in ("brandId", "currencyCode", "userId", "userLimitId")}
    payload = {**kept, "previousProgress": "9" * 38, "amount": "1"}
    return encoded({**event, "type": "USER_LIMIT_PROGRESS_CHANGED", "payload": payload})


POISONS: Sequence[Poison] = (
    Poison("empty", Reason.RECORD_DATA, lambda _: b""),
    Poison("compressed", Reason.ENCODING, lambda _: bytes.fromhex("1f8b08000000000002ffabe60200")),
    Poison("not UTF-8", Reason.ENCODING, lambda event: encoded(event)[:-1] + b"\xff}"),
    Poison("UTF-16", Reason.ENCODING, lambda event: encoded(event).decode().encode("utf-16")),
    Poison("not JSON", Reason.JSON, lambda event: encoded(event).replace(b'"', b"'")),
    Poison("cut off", Reason.JSON, lambda event: encoded(event)[:-1]),
    Poison("two objects", Reason.JSON, lambda event: 2 * encoded(event)),
    Poison("NaN", Reason.JSON, _with(float("nan"), "createdAt")),
    Poison("nested deeply", Reason.JSON, lambda _: b'{"type":' + b"[" * 100_000),
    Poison("5,000 digits", Reason.JSON, lambda _: b'{"type":' + b"9" * 5_000 + b"}"),
    Poison("raw control character", Reason.JSON, lambda event: encoded(event).replace(b"limitUser", b"limit\nUser")),
    Poison("null", Reason.NOT_OBJECT, lambda _: b"null"),
    Poison("array", Reason.NOT_OBJECT, lambda event: b"[" + encoded(event) + b"]"),
    Poison("too large", Reason.TOO_LARGE, lambda event: encoded(event) + b" " * 300_000),
    Poison("no type", Reason.SCHEMA, _without("type")),
    Poison("no payload", Reason.SCHEMA, _without("payload")),
    Poison("no limit id", Reason.SCHEMA, _without("payload", "userLimitId")),
    Poison("no value", Reason.SCHEMA, _without("payload", "value")),
    Poison("sequence number 0", Reason.SCHEMA, _with(0, "sequenceNumber")),
    Poison("sequence number true", Reason.SCHEMA, _with(True, "sequenceNumber")),
    Poison("sequence number in millions of millions", Reason.SEQUENCE, _with(10**12, "sequenceNumber")),
    Poison("time as text", Reason.SCHEMA, _with("1767225600000", "createdAt")),
    Poison("time with a point", Reason.SCHEMA, _with(1.5, "payload", "activeFrom")),
    Poison("null for a limit id", Reason.SCHEMA, _with(None, "payload", "userLimitId")),
    Poison("long id", Reason.SCHEMA, _with("e" * 129, "eventId")),
    Poison("lone surrogate", Reason.SCHEMA, _with("\ud800", "eventId")),
    Poison("amount as number", Reason.SCHEMA, _with(1000, "payload", "value")),
    Poison("amount with exponent", Reason.SCHEMA, _with("1e5", "payload", "value")),
    Poison("Arabic digits", Reason.SCHEMA, _with("\u0661\u0662", "payload", "value")),
    Poison("39 digits", Reason.SCHEMA, _with("9" * 39, "payload", "value")),
    Poison("negative value", Reason.SCHEMA, _with("-1", "payload", "value")),
    Poison("overflowing sum", Reason.SCHEMA, _overflowing),
    Poison("unknown status", Reason.SCHEMA, _with("CANCELLED", "payload", "status")),
    Poison("lower-case period", Reason.SCHEMA, _with("day", "payload", "period")),
    Poison("lower-case currency", Reason.SCHEMA, _with("sek", "payload", "currencyCode")),
    Poison("another user's limit", Reason.IDENTITY, _with("u-nobody", "payload", "userId")),
    Poison("broken aggregate", Reason.AGGREGATE, lambda event: MAGIC + encoded(event)),
)
"""One for most rows of the contract's table with the outcome `quarantined`."""
