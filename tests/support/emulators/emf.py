"""Reads a log line as CloudWatch does: a strict reader of AWS's "Embedded metric format specification"."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_AMOUNTS = [f"{prefix}{unit}" for unit in ("bytes", "bits") for prefix in ("", "kilo", "mega", "giga", "tera")]
UNITS = {
    *("Seconds", "Microseconds", "Milliseconds", "Percent", "Count", "Count/Second", "None"),
    *(each.capitalize() for each in _AMOUNTS),
    *(f"{each.capitalize()}/Second" for each in _AMOUNTS),
}


@dataclass(frozen=True)
class Reading:
    """What CloudWatch takes from a line. `properties` stay in the log only."""

    millis: int
    namespace: str
    dimensions: Mapping[str, str]
    values: Mapping[str, list[float]]
    units: Mapping[str, str]
    properties: Mapping[str, Any]


def read(text: str) -> Reading:
    """Raises AssertionError if the line breaks a rule, or has more than the one directive and set that we use."""
    assert "\n" not in text
    assert len(text.encode()) <= 262_144
    line = json.loads(text, parse_constant=_no_number)
    assert line["_aws"].keys() == {"Timestamp", "CloudWatchMetrics"}
    assert type(line["_aws"]["Timestamp"]) is int
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive.keys() == {"Namespace", "Dimensions", "Metrics"}
    assert 1 <= len(directive["Namespace"]) <= 1024
    (names,) = directive["Dimensions"]
    dimensions = {name: line[name] for name in names}
    _check_dimensions(dimensions)
    units = _units(directive["Metrics"])
    values = {name: _values(line[name]) for name in units}
    assert not dimensions.keys() & units.keys()
    rest = {name: value for name, value in line.items() if name not in {"_aws", *dimensions, *units}}
    return Reading(line["_aws"]["Timestamp"], directive["Namespace"], dimensions, values, units, rest)


def _check_dimensions(dimensions: Mapping[str, Any]) -> None:
    assert len(dimensions) <= 30
    for name, value in dimensions.items():
        assert 1 <= len(name) <= 250
        assert name.isascii()
        assert not name.startswith(":")
        assert isinstance(value, str)
        assert value.strip()
        assert value.isascii()
        assert len(value) <= 1024


def _units(metrics: list[dict[str, Any]]) -> dict[str, str]:
    assert 1 <= len(metrics) <= 100
    assert all(metric.keys() == {"Name", "Unit"} for metric in metrics)
    units = {metric["Name"]: metric["Unit"] for metric in metrics}
    assert len(units) == len(metrics), "a name stands for one metric"
    assert all(1 <= len(name) <= 1024 for name in units)
    assert set(units.values()) <= UNITS
    return units


def _values(found: Any) -> list[float]:
    values = found if isinstance(found, list) else [found]
    assert 1 <= len(values) <= 100
    assert all(type(value) in (int, float) for value in values)
    return values


def _no_number(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")
