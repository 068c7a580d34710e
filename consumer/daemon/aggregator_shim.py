"""A Java class that replaces one of the KCL, so that aggregated records reach the record processor unchanged.

The KCL deaggregates records before their size can be checked. A record of 1 MiB can hold 170,000 empty records, which
exhaust the JVM's heap after every restart. The KCL also drops a whole aggregate if one record inside belongs to another
shard. This class returns the records unchanged; the engine deaggregates them within limits (engine/aggregation.py).
shim_jar.py puts the class before the KCL's jars on the class path.
"""

from consumer.daemon.class_files import CLASS, METHOD, NAME_AND_TYPE, short, text, u2, u4

NAME = "software/amazon/kinesis/retrieval/AggregatorUtil"
RECORDS = "(Ljava/util/List;)Ljava/util/List;"
RECORDS_OF_A_SHARD = "(Ljava/util/List;Ljava/lang/String;Ljava/lang/String;)Ljava/util/List;"
"""The two methods that KCL calls (ProcessTask), both named `deaggregate`."""

_MAGIC, _JAVA_5 = 0xCAFEBABE, 49
"""Class files of this version need no stack maps."""
_PUBLIC, _SUPER = 0x1, 0x20

# Indexes into the constants of class_file().
_THIS, _OBJECT, _LIST, _CODE, _INIT, _DEAGGREGATE = 2, 4, 6, 7, 8, 10
_OBJECT_INIT, _LIST_INIT = 14, 17


def class_file() -> bytes:
    """A class with a constructor and the two methods, which copy the list, as the KCL removes records from it."""
    constants = (
        *(text(NAME), short(CLASS, 1)),
        *(text("java/lang/Object"), short(CLASS, 3)),
        *(text("java/util/ArrayList"), short(CLASS, 5)),
        *(text("Code"), text("<init>"), text("()V")),
        *(text("deaggregate"), text(RECORDS), text(RECORDS_OF_A_SHARD)),
        *(short(NAME_AND_TYPE, 8, 9), short(METHOD, _OBJECT, 13)),
        *(text("(Ljava/util/Collection;)V"), short(NAME_AND_TYPE, 8, 15), short(METHOD, _LIST, 16)),
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
    head = u4(_MAGIC) + u2(0, _JAVA_5, len(constants) + 1) + b"".join(constants)
    return head + u2(_PUBLIC | _SUPER, _THIS, _OBJECT, 0, 0, len(methods)) + b"".join(methods) + u2(0)


def _method(name: int, descriptor: int, code: bytes, stack: int, variables: int) -> bytes:
    body = u2(stack, variables) + u4(len(code)) + code + u2(0, 0)
    return u2(_PUBLIC, name, descriptor, 1, _CODE) + u4(len(body)) + body
