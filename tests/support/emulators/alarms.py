"""Evaluates CloudWatch alarms on metrics of log lines: as much of their rules as monitoring.yaml uses."""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

from tests.support.emulators.emf import Reading

Minute: TypeAlias = Sequence[Reading]
"""The lines of all workers in a minute."""

_STATISTICS: Mapping[str, Callable[[list[float]], float]] = {"Sum": sum, "Maximum": max, "SampleCount": len}
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}
_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def is_raised(alarm: Mapping[str, Any], minutes: Sequence[Minute]) -> bool:
    """Whether the alarm, whose functions are resolved, is in ALARM after the minutes. It was not before them."""
    parts = [each["MetricStat"] for each in alarm.get("Metrics", ()) if "MetricStat" in each]
    length = int(parts[0]["Period"] if parts else alarm["Period"]) // 60
    starts = range(0, len(minutes), length)
    periods = [list(chain.from_iterable(minutes[start : start + length])) for start in starts]
    evaluated = periods[-int(alarm["EvaluationPeriods"]) :]
    assert len(evaluated) == int(alarm["EvaluationPeriods"]), "too few minutes"
    return all(_is_breaching(alarm, _value(alarm, period)) for period in evaluated)


def _is_breaching(alarm: Mapping[str, Any], value: float | None) -> bool:
    if value is None:
        return bool(alarm["TreatMissingData"] == "breaching")
    return _COMPARISONS[alarm["ComparisonOperator"]](value, float(alarm["Threshold"]))


def _value(alarm: Mapping[str, Any], lines: Minute) -> float | None:
    if "Metrics" not in alarm:
        return _statistic(alarm["MetricName"], alarm["Statistic"], lines)
    (expression,) = (each["Expression"] for each in alarm["Metrics"] if "Expression" in each)
    stats = {each["Id"]: each["MetricStat"] for each in alarm["Metrics"] if "MetricStat" in each}
    values = {name: _statistic(each["Metric"]["MetricName"], each["Stat"], lines) for name, each in stats.items()}
    known = {name: value for name, value in values.items() if value is not None}
    return _computed(ast.parse(expression, mode="eval").body, known) if len(known) == len(values) else None


def _statistic(metric: str, statistic: str, lines: Minute) -> float | None:
    values = [value for line in lines for value in line.values.get(metric, ())]
    return _STATISTICS[statistic](values) if values else None


def _computed(node: ast.expr, values: Mapping[str, float]) -> float:
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_computed(node.left, values), _computed(node.right, values))
    if isinstance(node, ast.Name):
        return values[node.id]
    assert isinstance(node, ast.Constant), ast.dump(node)
    assert isinstance(node.value, int | float), ast.dump(node)
    return node.value
