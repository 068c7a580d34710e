"""A Java class that replaces one of the KCL, so that aggregated records reach the record processor unchanged.

The KCL deaggregates records before their size can be checked. A record of 1 MiB can hold 170,000 empty records, which
exhaust the JVM's heap after every restart. The KCL also drops a whole aggregate if one record inside belongs to another
shard. This class returns the records unchanged; the engine deaggregates them within limits (engine/aggregation.py).
shim_jar.py puts the class before the KCL's jars on the class path.
"""

NAME = "software/amazon/kinesis/retrieval/AggregatorUtil"
RECORDS = "(Ljava/util/List;)Ljava/util/List;"
RECORDS_OF_A_SHARD = "(Ljava/util/List;Ljava/lang/String;Ljava/lang/String;)Ljava/util/List;"
"""The two methods that KCL calls (ProcessTask), both named `deaggregate`."""

_MAGIC, _JAVA_5 = 0xCAFEBABE, 49
"""Class files of this version need no stack maps."""
_PUBLIC, _SUPER = 0x1, 0x20
_UTF8, _CLASS, _METHOD, _NAME_AND_TYPE = 1, 7, 10, 12

# Indexes into the constants of class_file().
_THIS, _OBJECT, _LIST, _CODE, _INIT, _DEAGGREGATE = 2, 4, 6, 7, 8, 10
_OBJECT_INIT, _LIST_INIT = 14, 17


def class_file() -> bytes:
    """A class with a constructor and the two methods, which copy the list, as the KCL removes records from it."""
    constants = (
        *(_text(NAME), _short(_CLASS, 1)),
        *(_text("java/lang/Object"), _short(_CLASS, 3)),
        *(_text("java/util/ArrayList"), _short(_CLASS, 5)),
        *(_text("Code"), _text("<init>"), _text("()V")),
        *(_text("deaggregate"), _text(RECORDS), _text(RECORDS_OF_A_SHARD)),
        *(_short(_NAME_AND_TYPE, 8, 9), _short(_METHOD, _OBJECT, 13)),
        *(_text("(Ljava/util/Collection;)V"), _short(_NAME_AND_TYPE, 8, 15), _short(_METHOD, _LIST, 16)),
    )
    # aload_0; invokespecial Object.<init>; return
    construct = bytes((0x2A, 0xB7, 0, _OBJECT_INIT, 0xB1))
    # new ArrayList; dup; aload_1; invokespecial ArrayList.<init>; areturn
    copy = bytes((0xBB, 0, _LIST, 0x59, 0x2B, 0xB7, 0, _LIST_INIT, 0xB0))
    methods = (
        _method(_INIT, 9, construct, 1, 1),
        _method(_DEAGGREGATE, 11, copy, 3, 2),
        _method(_DEAGGREGATE, 12, copy, 3, 4),
    )
    head = _u4(_MAGIC) + _u2(0, _JAVA_5, len(constants) + 1) + b"".join(constants)
    return head + _u2(_PUBLIC | _SUPER, _THIS, _OBJECT, 0, 0, len(methods)) + b"".join(methods) + _u2(0)


def _method(name: int, descriptor: int, code: bytes, stack: int, variables: int) -> bytes:
    body = _u2(stack, variables) + _u4(len(code)) + code + _u2(0, 0)
    return _u2(_PUBLIC, name, descriptor, 1, _CODE) + _u4(len(body)) + body


def _u2(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)


def _u4(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _short(tag: int, *numbers: int) -> bytes:
    return bytes([tag]) + _u2(*numbers)


def _text(text: str) -> bytes:
    return _short(_UTF8, len(text)) + text.encode("ascii")
