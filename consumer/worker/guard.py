"""A class that the KCL asks for when an aggregate is made to break it, and that no Java from 11 on has.

KCL 3.1.3 takes an aggregate apart although what it says of partition or hash keys is nonsense, fails, and wants to log
the record with `javax.xml.bind.DatatypeConverter`. Java without that class ends the daemon, and with every restart
again: one record would bring down the worker. With the class as it was, KCL would log the record and drop it.

Ours raises what KCL takes for "no aggregate after all" (AggregatorUtil.deaggregate), so the record comes whole to the
record processor, which sets it aside.
"""

from pathlib import Path

NAME = "javax/xml/bind/DatatypeConverter"
METHOD = ("printBase64Binary", "([B)Ljava/lang/String;")
RAISED = "com/google/protobuf/InvalidProtocolBufferException"
MESSAGE = "an aggregate that cannot be taken apart"

_MAGIC, _JAVA_5 = 0xCAFEBABE, 49
"""Of that version, class files need no stack maps."""
_PUBLIC, _STATIC, _SUPER = 0x1, 0x8, 0x20
_UTF8, _CLASS, _STRING, _METHOD, _NAME_AND_TYPE = 1, 7, 8, 10, 12


def write(directory: Path) -> Path:
    """Puts the class below `directory`, which is then to be on the class path; returns the directory."""
    file = directory / f"{NAME}.class"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(class_file())
    return directory


def class_file() -> bytes:
    """`public class DatatypeConverter { public static String printBase64Binary(byte[] data) { throw new ...; } }`"""
    constants = [
        _text(NAME),
        _short(_CLASS, 1),
        _text("java/lang/Object"),
        _short(_CLASS, 3),
        _text(METHOD[0]),
        _text(METHOD[1]),
        _text("Code"),
        _text(RAISED),
        _short(_CLASS, 8),
        _text("<init>"),
        _text("(Ljava/lang/String;)V"),
        _short(_NAME_AND_TYPE, 10, 11),
        _short(_METHOD, 9, 12),
        _text(MESSAGE),
        _short(_STRING, 14),
    ]
    # new #9; dup; ldc #15; invokespecial #13; athrow
    code = bytes((0xBB, 0, 9, 0x59, 0x12, 15, 0xB7, 0, 13, 0xBF))
    body = _u2(3, 1) + _u4(len(code)) + code + _u2(0, 0)
    method = _u2(_PUBLIC | _STATIC, 5, 6, 1, 7) + _u4(len(body)) + body
    head = _u4(_MAGIC) + _u2(0, _JAVA_5, len(constants) + 1) + b"".join(constants)
    return head + _u2(_PUBLIC | _SUPER, 2, 4, 0, 0, 1) + method + _u2(0)


def _u2(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)


def _u4(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _short(tag: int, *numbers: int) -> bytes:
    return bytes([tag]) + _u2(*numbers)


def _text(text: str) -> bytes:
    return _short(_UTF8, len(text)) + text.encode("ascii")
