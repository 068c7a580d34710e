"""The expected limits, computed by replaying the events in order.

Deliberately naive. It shares no code with the service and implements only the event contract.
"""

from collections.abc import Iterable
from decimal import Context, Decimal
from typing import Any, TypeAlias

Event: TypeAlias = dict[str, Any]
View: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, str]

OURS = (
    "USER_LIMIT_CREATED",
    "USER_LIMIT_PROGRESS_CHANGED",
    "USER_LIMIT_RESET",
)
EXACT = Context(prec=200)
CEILING = 1_000_000_000
"""An event with a higher sequence number is always refused."""
TIMES = ("activeFrom", "activeUntil", "createdAt", "nextResetTime", "lastEventAt")
AGE = range(946_684_800_000, 4_102_444_800_000)
"""From 2000 to 2100; any other time is implausible."""


def expected(events: Iterable[Event], now: int) -> dict[Key, View]:
    """Each limit's JSON at `now`, epoch milliseconds, by (userId, userLimitId); the events in any order."""
    limits: dict[Key, list[Event]] = {}
    for event in events:
        if event["type"] in OURS and event["sequenceNumber"] <= CEILING:
            key = (event["payload"]["userId"], event["payload"]["userLimitId"])
            limits.setdefault(key, []).append(event)
    return {key: _replayed(of_limit, now) for key, of_limit in limits.items()}


def _replayed(events: list[Event], now: int) -> View:
    ordered = sorted(events, key=lambda event: (event["sequenceNumber"], event["eventId"]))
    payloads = [event["payload"] for event in ordered]
    created = [event for event in ordered if event["type"] == "USER_LIMIT_CREATED"]
    first, last = payloads[0], ordered[-1]
    limit: View = {name: first[name] for name in ("userId", "userLimitId", "brandId", "currencyCode")}
    limit |= _defined(created) if created else _inferred(ordered)
    limit["complete"] = bool(created)
    limit["unit"] = "seconds" if limit.get("type") == "SESSION" else limit["currencyCode"]
    used = _used(ordered, created)
    limit["progress"] = _plain(used)
    if "value" in limit:
        limit["remaining"] = _plain(EXACT.subtract(Decimal(limit["value"]), used))
    limit |= _next_reset(ordered, now)
    limit["lastSequenceNumber"] = last["sequenceNumber"]
    limit["lastEventAt"] = last["createdAt"]
    if odd := [name for name in TIMES if name in limit and limit[name] not in AGE]:
        limit["oddTimes"] = odd
    return limit


def _defined(created: list[Event]) -> View:
    """The definition in the last CREATED, and the previous value."""
    event, payload = created[-1], created[-1]["payload"]
    defined: View = {name: payload[name] for name in ("activeFrom", "status", "period", "type")}
    if "activeUntil" in payload:
        defined["activeUntil"] = payload["activeUntil"]
    defined["createdAt"] = payload.get("createdAt", event["createdAt"])
    defined["value"] = _plain(Decimal(payload["value"]))
    before = [value for value in _values(created) if value != Decimal(payload["value"])]
    if before:
        defined["previousLimitValue"] = _plain(before[-1])
    return defined


def _values(created: list[Event]) -> list[Decimal]:
    """All known values of the limit in order. A previousLimitValue was the value just before its event."""
    payloads = [event["payload"] for event in created]
    pairs = [(payload.get("previousLimitValue"), payload["value"]) for payload in payloads]
    return [Decimal(value) for pair in pairs for value in pair if value is not None]


def _inferred(ordered: list[Event]) -> View:
    """What the other events imply about a limit without a CREATED."""
    inferred: View = {}
    for event in ordered:
        payload = event["payload"]
        if event["type"] == "USER_LIMIT_RESET":
            inferred["type"], inferred["period"] = payload["type"], payload["period"]
            inferred["value"] = _sum(payload["resetAmount"], payload["unusedAmount"])
        elif "remainingAmount" in payload:
            inferred["value"] = _sum(payload["previousProgress"], payload["amount"], payload["remainingAmount"])
    return inferred


def _used(ordered: list[Event], created: list[Event]) -> Decimal:
    """The absolute progress after the last PROGRESS_CHANGED or RESET, else as the last CREATED gives it."""
    used = Decimal(created[-1]["payload"].get("progress", "0")) if created else Decimal(0)
    for event in ordered:
        payload = event["payload"]
        if event["type"] == "USER_LIMIT_PROGRESS_CHANGED":
            used = EXACT.add(Decimal(payload["previousProgress"]), Decimal(payload["amount"]))
        elif event["type"] == "USER_LIMIT_RESET":
            used = Decimal(0)
    return used


def _next_reset(ordered: list[Event], now: int) -> View:
    """The last nextResetTime. It is overdue if it has passed and no RESET came after the event that set it."""
    setting = [place for place, event in enumerate(ordered) if "nextResetTime" in event["payload"]]
    if not setting:
        return {"resetOverdue": False}
    time = ordered[setting[-1]]["payload"]["nextResetTime"]
    came = any(event["type"] == "USER_LIMIT_RESET" for event in ordered[setting[-1] + 1 :])
    return {"nextResetTime": time, "resetOverdue": now >= time and not came}


def _sum(*amounts: str) -> str:
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, Decimal(amount))
    return _plain(total)


def _plain(number: Decimal) -> str:
    """Without exponent, trailing zeros of the decimals, or a minus before zero."""
    text = f"{EXACT.plus(number):f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
