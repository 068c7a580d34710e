"""A limit's state as the attributes of an item, and back. Amounts stay Decimals; times and sequences are integers."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from consumer.engine.projection import Plain
from consumer.limits.money import canonical
from consumer.limits.state import Definition, Kind, LimitState, Register, Stamp


def dump(state: LimitState) -> dict[str, Plain]:
    """The item: the key and identity, then a map for each register that is set."""
    registers: dict[str, dict[str, Plain] | None] = {
        "definition": _dumped(state.definition, _definition),
        "previousValue": _dumped(state.previous_value, _value),
        "progress": _dumped(state.progress, _value),
        "nextReset": _dumped(state.next_reset, _value),
        "lastReset": state.last_reset and _stamp(state.last_reset),
        "inferredValue": _dumped(state.inferred_value, _value),
        "inferredKind": _dumped(state.inferred_kind, _kind),
    }
    return {
        "userId": state.user_id,
        "userLimitId": state.user_limit_id,
        "brandId": state.brand_id,
        "currencyCode": state.currency_code,
        **{name: register for name, register in registers.items() if register is not None},
    }


def load(item: Mapping[str, Any]) -> LimitState:
    """The state `dump` made the item of; attributes it does not know are passed over."""
    return LimitState(
        user_id=item["userId"],
        user_limit_id=item["userLimitId"],
        brand_id=item["brandId"],
        currency_code=item["currencyCode"],
        definition=_loaded(item.get("definition"), _load_definition),
        previous_value=_loaded(item.get("previousValue"), _load_amount),
        progress=_loaded(item.get("progress"), _load_amount),
        next_reset=_loaded(item.get("nextReset"), _load_time),
        last_reset=_load_stamp(item["lastReset"]) if "lastReset" in item else None,
        inferred_value=_loaded(item.get("inferredValue"), _load_amount),
        inferred_kind=_loaded(item.get("inferredKind"), _load_kind),
    )


def _dumped(register: Register[Any] | None, content: Callable[[Any], dict[str, Plain]]) -> dict[str, Plain] | None:
    return None if register is None else {**_stamp(register.stamp), **content(register.value)}


def _stamp(stamp: Stamp) -> dict[str, Plain]:
    return {"sequence": stamp.sequence, "eventId": stamp.event_id, "at": stamp.at}


def _value(value: Plain) -> dict[str, Plain]:
    return {"value": value}


def _kind(kind: Kind) -> dict[str, Plain]:
    return {"type": kind.type, "period": kind.period}


def _definition(definition: Definition) -> dict[str, Plain]:
    content: dict[str, Plain | None] = {
        "value": definition.value,
        "type": definition.type,
        "period": definition.period,
        "status": definition.status,
        "activeFrom": definition.active_from,
        "createdAt": definition.created_at,
        "activeUntil": definition.active_until,
        "progress": definition.progress,
    }
    return {name: value for name, value in content.items() if value is not None}


def _loaded(register: Mapping[str, Any] | None, content: Callable[[Mapping[str, Any]], Any]) -> Any:
    return None if register is None else Register(_load_stamp(register), content(register))


def _load_stamp(register: Mapping[str, Any]) -> Stamp:
    return Stamp(int(register["sequence"]), register["eventId"], int(register["at"]))


def _load_amount(register: Mapping[str, Any]) -> Decimal:
    return canonical(register["value"])


def _load_time(register: Mapping[str, Any]) -> int:
    return int(register["value"])


def _load_kind(register: Mapping[str, Any]) -> Kind:
    return Kind(register["type"], register["period"])


def _load_definition(register: Mapping[str, Any]) -> Definition:
    until, progress = register.get("activeUntil"), register.get("progress")
    return Definition(
        value=canonical(register["value"]),
        type=register["type"],
        period=register["period"],
        status=register["status"],
        active_from=int(register["activeFrom"]),
        created_at=int(register["createdAt"]),
        active_until=None if until is None else int(until),
        progress=None if progress is None else canonical(progress),
    )
