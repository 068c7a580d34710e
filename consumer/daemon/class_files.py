"""The parts of Java's class files that the shims write, and code that is added to a class of the KCL."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from consumer.daemon import jars

UTF8, CLASS, STRING, METHOD, INTERFACE_METHOD, NAME_AND_TYPE = 1, 7, 8, 10, 11, 12
"""Tags of constants."""
_SIZES = {3: 5, 4: 5, 5: 9, 6: 9, 7: 3, 8: 3, 9: 5, 10: 5, 11: 5, 12: 5, 15: 4, 16: 3, 17: 5, 18: 5, 19: 3, 20: 3}
"""Bytes of a constant by its tag, except for texts."""
_WIDE = (5, 6)
"""A long and a double have two numbers."""
_POOL = 10
"""Where the constants begin, after their count."""
_LDC_W, _INVOKESTATIC, _INVOKEINTERFACE = 0x13, 0xB8, 0xB9


def u2(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)


def u4(number: int) -> bytes:
    return number.to_bytes(4, "big")


def short(tag: int, *numbers: int) -> bytes:
    """A constant that refers to others by their numbers."""
    return bytes([tag]) + u2(*numbers)


def text(content: str) -> bytes:
    return short(UTF8, len(content)) + content.encode("ascii")


class Call(NamedTuple):
    """A call with the string on the stack. `of_interface`: of a method of an interface, else of a static one."""

    owner: str
    method: str
    descriptor: str
    of_interface: bool = False

    def constants(self, first: int) -> bytes:
        """Six constants. The method is the last of them."""
        names = text(self.owner) + short(CLASS, first) + text(self.method) + text(self.descriptor)
        tag = INTERFACE_METHOD if self.of_interface else METHOD
        return names + short(NAME_AND_TYPE, first + 2, first + 3) + short(tag, first + 1, first + 4)

    def code(self, number: int) -> bytes:
        # An interface's method has two words of arguments here: its object and the string.
        return bytes([_INVOKEINTERFACE]) + u2(number) + b"\x02\0" if self.of_interface else invokestatic(number)


def invokestatic(number: int) -> bytes:
    return bytes([_INVOKESTATIC]) + u2(number)


@dataclass(frozen=True, slots=True)
class Insertion:
    """Code that loads a string and calls methods, added to a method of the KCL that has no branches.

    name    the class
    method  the code of the method, which the class has once
    at      where in it the code is added
    stack   the words on the stack that the method then needs
    string  what is loaded
    calls   what is called with it, in turn
    then    code that follows
    pad     no-ops before it: Java checks that an instruction begins where the range of a variable ends, the old end
    """

    name: str
    method: bytes
    at: int
    stack: int
    string: str
    calls: Sequence[Call]
    then: bytes = b""
    pad: int = 0

    def class_file(self) -> bytes:
        """Raises ValueError when the class is not the expected one: look at it again after an upgrade of the KCL."""
        with zipfile.ZipFile(jars.path_of("amazon-kinesis-client")) as jar:
            return self.changed(jar.read(f"{self.name}.class"))

    def changed(self, original: bytes) -> bytes:
        """The class file with the added code. Raises ValueError unless it has the method's code exactly once."""
        if original.count(u4(len(self.method)) + self.method) != 1:
            raise ValueError(f"{self.name} does not have the code {self.method.hex()} once")
        count, end = constants_of(original)
        added = text(self.string) + short(STRING, count)
        code = bytes(self.pad) + bytes([_LDC_W]) + u2(count + 1)
        for number, call in enumerate(self.calls):
            first = count + 2 + 6 * number
            added += call.constants(first)
            code += call.code(first + 5)
        total = count + 2 + 6 * len(self.calls)
        return original[: _POOL - 2] + u2(total) + original[_POOL:end] + added + self._longer(original[end:], code)

    def _longer(self, rest: bytes, code: bytes) -> bytes:
        """What follows the constants, with the added code. The lengths, the stack and the variables precede a code."""
        begin = rest.index(u4(len(self.method)) + self.method)
        attribute = int.from_bytes(rest[begin - 8 : begin - 4], "big")
        inserted = self.method[: self.at] + code + self.then + self.method[self.at :]
        more = len(inserted) - len(self.method)
        head = u4(attribute + more) + u2(self.stack) + rest[begin - 2 : begin] + u4(len(inserted))
        return rest[: begin - 8] + head + inserted + rest[begin + 4 + len(self.method) :]


def constants_of(data: bytes) -> tuple[int, int]:
    """The number that the next constant of a class file would have, and where the constants end."""
    count, at, number = int.from_bytes(data[_POOL - 2 : _POOL], "big"), _POOL, 1
    while number < count:
        tag = data[at]
        at += 3 + int.from_bytes(data[at + 1 : at + 3], "big") if tag == UTF8 else _SIZES[tag]
        number += 2 if tag in _WIDE else 1
    return count, at
