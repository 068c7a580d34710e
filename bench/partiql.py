"""The statements of PartiQL and the expressions of DynamoDB that the service and its peers use. Others raise Unknown.

A parsed statement or expression is kept, as the same texts arrive again and again.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Value: TypeAlias = dict[str, Any]
"""In DynamoDB's JSON: {"S": "text"}, {"N": "1"}, {"M": {...}}."""
Item: TypeAlias = dict[str, Value]
Path: TypeAlias = tuple[str, ...]


class UnknownStatement(ValueError):
    """A statement or expression in a form that is not supported here."""


@dataclass(frozen=True, slots=True)
class Insert:
    table: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """`sets` and `where` take their values from the parameters, in the order of the text."""

    table: str
    sets: tuple[Path, ...]
    removes: tuple[Path, ...]
    where: tuple[str, ...]


_STATEMENT = re.compile(r"""\s*("(?:[^"]|"")*"|'(?:[^']|'')*'|[A-Za-z_]\w*|\?|[{}:,.=])""")
_EXPRESSION = re.compile(r"\s*([:#]?[A-Za-z_][\w.]*|<=|>=|<>|[()<>=,])")


@functools.cache
def statement(text: str) -> Insert | Update:
    """Raises UnknownStatement."""
    tokens = _Tokens(_split(_STATEMENT, text))
    if tokens.took("INSERT"):
        return _insert(tokens)
    tokens.expect("UPDATE")
    return _update(tokens)


def _insert(tokens: "_Tokens") -> Insert:
    tokens.expect("INTO")
    table, names = tokens.name(), []
    tokens.expect("VALUE", "{")
    while not tokens.took("}"):
        names.append(tokens.name())
        tokens.expect(":", "?")
        tokens.took(",")
    tokens.end()
    return Insert(table, tuple(names))


def _update(tokens: "_Tokens") -> Update:
    table = tokens.name()
    sets: list[Path] = []
    removes: list[Path] = []
    where: list[str] = []
    while not tokens.took("WHERE"):
        if tokens.took("REMOVE"):
            removes.append(_path(tokens))
            continue
        if not tokens.took(","):
            tokens.expect("SET")
        sets.append(_path(tokens))
        tokens.expect("=", "?")
    while True:
        where.append(tokens.name())
        tokens.expect("=", "?")
        if not tokens.took("AND"):
            tokens.end()
            return Update(table, tuple(sets), tuple(removes), tuple(where))


def _path(tokens: "_Tokens") -> Path:
    parts = [tokens.name()]
    while tokens.took("."):
        parts.append(tokens.name())
    return tuple(parts)


class _Tokens:
    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens
        self._next = 0

    def took(self, word: str) -> bool:
        if self.peek().upper() != word:
            return False
        self._next += 1
        return True

    def peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def expect(self, *words: str) -> None:
        for word in words:
            if not self.took(word):
                raise UnknownStatement(f"{word} expected at {self.peek()!r} of {' '.join(self._tokens)}")

    def name(self) -> str:
        token = self.peek()
        if not token or not (token[0] in "\"'#:_" or token[0].isalpha()):
            raise UnknownStatement(f"a name expected at {token!r} of {' '.join(self._tokens)}")
        self._next += 1
        return token[1:-1] if token[0] in "\"'" else token

    def end(self) -> None:
        if self.peek():
            raise UnknownStatement(f"unexpected {self.peek()!r} in {' '.join(self._tokens)}")


def _split(pattern: re.Pattern[str], text: str) -> list[str]:
    found, place, text = [], 0, text.strip()
    while place < len(text):
        token = pattern.match(text, place)
        if token is None:
            raise UnknownStatement(f"not understood: {text[place : place + 40]!r}")
        found.append(token[1])
        place = token.end()
    return found


def assign(item: Item, path: Path, value: Value) -> None:
    """Sets the attribute, or the member of a map, which must exist."""
    parent = item
    for name in path[:-1]:
        parent = parent[name]["M"]
    parent[path[-1]] = value


def drop(item: Item, path: Path) -> None:
    parent = item
    for name in path[:-1]:
        parent = parent[name]["M"]
    parent.pop(path[-1], None)


Condition: TypeAlias = Callable[[Mapping[str, Value], Mapping[str, str], Mapping[str, Value]], bool]
"""Of an item, the names of the request and its values."""


@functools.cache
def condition(text: str) -> Condition:
    """A condition expression of `attribute_exists`, `attribute_not_exists`, =, <, AND, OR. Raises UnknownStatement."""
    tokens = _Tokens(_split(_EXPRESSION, text))
    found = _either(tokens)
    tokens.end()
    return found


def _either(tokens: _Tokens) -> Condition:
    left = _both(tokens)
    while tokens.took("OR"):
        left = _any_of(left, _both(tokens))
    return left


def _both(tokens: _Tokens) -> Condition:
    left = _single(tokens)
    while tokens.took("AND"):
        left = _all_of(left, _single(tokens))
    return left


def _any_of(left: Condition, right: Condition) -> Condition:
    return lambda *about: left(*about) or right(*about)


def _all_of(left: Condition, right: Condition) -> Condition:
    return lambda *about: left(*about) and right(*about)


def _single(tokens: _Tokens) -> Condition:
    if tokens.took("("):
        inner = _either(tokens)
        tokens.expect(")")
        return inner
    name = tokens.name()
    if name in {"attribute_exists", "attribute_not_exists"}:
        tokens.expect("(")
        attribute, wanted = tokens.name(), name == "attribute_exists"
        tokens.expect(")")
        return lambda item, names, _: (names.get(attribute, attribute) in item) is wanted
    smaller = tokens.took("<")
    if not smaller:
        tokens.expect("=")
    return _compared(name, tokens.name(), smaller=smaller)


def _compared(name: str, value: str, *, smaller: bool) -> Condition:
    def check(item: Mapping[str, Value], names: Mapping[str, str], values: Mapping[str, Value]) -> bool:
        left, right = item.get(names.get(name, name)), values[value]
        if left is None:
            return False
        return _order(left) < _order(right) if smaller else left == right

    return check


def _order(value: Value) -> Any:
    return int(value["N"]) if "N" in value else value["S"]


@functools.cache
def assignments(text: str) -> tuple[tuple[str, str], ...]:
    """The names and values of an update expression `SET a = :a, b = :b`. Raises UnknownStatement."""
    tokens, found = _Tokens(_split(_EXPRESSION, text)), []
    tokens.expect("SET")
    while True:
        name = tokens.name()
        tokens.expect("=")
        found.append((name, tokens.name()))
        if not tokens.took(","):
            tokens.end()
            return tuple(found)
