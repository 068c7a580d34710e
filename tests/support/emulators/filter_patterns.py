"""Filter patterns of CloudWatch Logs for JSON lines: as much of the grammar as the templates use.

`{ ($.a = "text*") && ($.b >= 3) || ... }`: comparisons, `&&` before `||`, parentheses, `*` in text.
"""

import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

_TOKEN = re.compile(
    r'\s*(?:(?P<mark>&&|\|\||[(){}]|[<>!]=|[<>=])|(?P<field>\$\.\w+)|"(?P<text>[^"]*)"|(?P<number>\d+))'
)
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}

Line: TypeAlias = Mapping[str, Any]
Test: TypeAlias = Callable[[Line], bool]


def matches(pattern: str, line: str) -> bool:
    """Whether the pattern matches a line of the log. A line that is not a JSON object matches no pattern."""
    try:
        read = json.loads(line)
    except ValueError:
        return False
    return isinstance(read, dict) and _Parser(_tokens(pattern)).whole()(read)


def fields(pattern: str) -> set[str]:
    """The fields of a line that the pattern compares."""
    return {text.removeprefix("$.") for kind, text in _tokens(pattern) if kind == "field"}


def _tokens(pattern: str) -> list[tuple[str, str]]:
    found, place = [], 0
    while pattern[place:].strip():
        token = _TOKEN.match(pattern, place)
        assert token is not None, f"not understood: {pattern[place:]}"
        kind = token.lastgroup or ""
        found.append((kind, token[kind]))
        place = token.end()
    return found


@dataclass
class _Parser:
    left: list[tuple[str, str]]

    def whole(self) -> Test:
        self._mark("{")
        test = self._either()
        self._mark("}")
        assert not self.left, self.left
        return test

    def _either(self) -> Test:
        tests = [self._both()]
        while self._is_next("||"):
            tests.append(self._both())
        return lambda line: any(test(line) for test in tests)

    def _both(self) -> Test:
        tests = [self._single()]
        while self._is_next("&&"):
            tests.append(self._single())
        return lambda line: all(test(line) for test in tests)

    def _single(self) -> Test:
        if self._is_next("("):
            test = self._either()
            self._mark(")")
            return test
        return _comparison(*(self.left.pop(0) for _ in range(3)))

    def _is_next(self, mark: str) -> bool:
        if self.left[0] != ("mark", mark):
            return False
        self.left.pop(0)
        return True

    def _mark(self, mark: str) -> None:
        assert self._is_next(mark), (mark, self.left)


def _comparison(field: tuple[str, str], comparison: tuple[str, str], value: tuple[str, str]) -> Test:
    name, sign, (kind, text) = field[1].removeprefix("$."), comparison[1], value
    assert (field[0], comparison[0]) == ("field", "mark")
    if kind == "number":
        assert sign in _ORDER
        return lambda line: isinstance(line.get(name), int | float) and _ORDER[sign](line[name], int(text))
    assert (kind, sign) == ("text", "="), "only equality of text is used"
    return lambda line: isinstance(line.get(name), str) and fnmatchcase(line[name], re.sub(r"([\[?])", r"[\1]", text))
