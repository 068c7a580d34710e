"""The classes of the KCL that take the stream's ARN from the environment: what is added, and that nothing else is."""

import struct
import zipfile

import pytest

from consumer.daemon import jars
from consumer.daemon.class_files import Insertion, constants_of
from consumer.daemon.stream_arn_shim import IDENTIFIER, INSERTIONS, SUMMARY
from tests.unit.daemon.test_aggregator_shim import constants, text

LDC_W, INVOKESTATIC, INVOKEINTERFACE = 0x13, 0xB8, 0xB9
SIZES = {LDC_W: 3, INVOKESTATIC: 3, INVOKEINTERFACE: 5}
ENVIRONMENT = ("CONSUMER_STREAM_ARN", ("java/lang/System", "getenv", "(Ljava/lang/String;)Ljava/lang/String;"))
BUILDER = "software/amazon/kinesis/common/StreamIdentifier$StreamIdentifierBuilder"
REQUEST = "software/amazon/awssdk/services/kinesis/model/DescribeStreamSummaryRequest$Builder"
OF_AN_ARN = bytes.fromhex("2ab8001cb80029")
"""In the KCL's own method for an ARN: aload_0; Optional.of(arn); the builder's method that sets it."""


def original(insertion: Insertion) -> bytes:
    with zipfile.ZipFile(jars.path_of("amazon-kinesis-client")) as jar:
        return jar.read(f"{insertion.name}.class")


def code_of(data: bytes, insertion: Insertion) -> tuple[int, bytes]:
    """Where the changed method's code begins, and the code."""
    begin = data.index(insertion.method[: insertion.at], constants_of(data)[1])
    return begin, data[begin : begin + int.from_bytes(data[begin - 4 : begin], "big")]


def added(insertion: Insertion) -> list[object]:
    """The strings and the methods that the added code uses."""
    data = insertion.class_file()
    pool, (_, code) = constants(data), code_of(data, insertion)
    code = code[insertion.at : len(code) - len(insertion.method) + insertion.at].lstrip(b"\0")
    found: list[object] = []
    while code:
        _, content = pool[int.from_bytes(code[1:3], "big")]
        found.append(text(pool, content) if code[0] == LDC_W else member(pool, content))
        code = code[SIZES[code[0]] :]
    return found


def member(pool: dict[int, tuple[int, bytes]], content: bytes) -> tuple[str, ...]:
    """Class, name and descriptor of a method."""
    owner, name_and_type = struct.unpack(">HH", content)
    name, descriptor = struct.unpack(">HH", pool[name_and_type][1])
    return text(pool, pool[owner][1]), pool[name][1].decode(), pool[descriptor][1].decode()


def test_the_identifier_gets_the_arn_of_the_environment() -> None:
    arn = ("software/amazon/awssdk/arns/Arn", "tryFromString", "(Ljava/lang/String;)Ljava/util/Optional;")
    setter = (BUILDER, "access$400", f"(L{BUILDER};Ljava/util/Optional;)L{BUILDER};")
    assert added(IDENTIFIER) == [*ENVIRONMENT, arn, setter]
    assert original(IDENTIFIER).count(OF_AN_ARN) == 2, "for one stream, and for several"


def test_the_description_of_a_stream_is_requested_by_the_arn_of_the_environment() -> None:
    assert added(SUMMARY) == [*ENVIRONMENT, (REQUEST, "streamARN", f"(Ljava/lang/String;)L{REQUEST};")]


@pytest.mark.parametrize("insertion", INSERTIONS)
def test_nothing_else_is_changed(insertion: Insertion) -> None:
    before, after = original(insertion), insertion.class_file()
    (_, ends), (_, end) = constants_of(before), constants_of(after)
    assert after[10:end].startswith(before[10:ends])
    (old, was), (new, code) = code_of(before, insertion), code_of(after, insertion)
    assert (was, code[: insertion.at]) == (insertion.method, was[: insertion.at])
    assert code.endswith(was[insertion.at :])
    # Between them: the length of the attribute, the stack, the variables, the length of the code.
    assert before[ends : old - 12] == after[end : new - 12]
    assert before[old + len(was) :] == after[new + len(code) :]


@pytest.mark.parametrize("insertion", INSERTIONS)
def test_another_class_is_refused(insertion: Insertion) -> None:
    for other in (b"", insertion.class_file(), original(insertion) * 2):
        with pytest.raises(ValueError, match="does not have the code"):
            insertion.changed(other)
