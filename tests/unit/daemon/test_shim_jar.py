"""The jar before the KCL's jars, and the classes of the KCL in it with another constant."""

import io
import struct
import zipfile

import pytest

from consumer.daemon import aggregator_shim, jars, shim_jar
from consumer.daemon.kcl_constants import CONSTANTS, DISPATCH_MILLIS, LOCK_SECONDS, Constant
from consumer.daemon.stream_arn_shim import INSERTIONS

LDC2_W, PUTSTATIC, PUTFIELD, INVOKESTATIC, INVOKEVIRTUAL = 0x14, 0xB3, 0xB5, 0xB8, 0xB6
FIELDS = {"shardConsumerDispatchPollIntervalMillis", "schedulerInitializationBackoffTimeMillis"}


def original(constant: Constant) -> bytes:
    with zipfile.ZipFile(jars.path_of("amazon-kinesis-client")) as jar:
        return jar.read(f"{constant.name}.class")


def constants(data: bytes) -> tuple[dict[int, bytes], int]:
    """The constants of a class file by number, and where they end."""
    sizes = {3: 5, 4: 5, 5: 9, 6: 9, 7: 3, 8: 3, 9: 5, 10: 5, 11: 5, 12: 5, 15: 4, 16: 3, 17: 5, 18: 5, 19: 3, 20: 3}
    found, at, number = {}, 10, 1
    (count,) = struct.unpack(">H", data[8:10])
    while number < count:
        tag = data[at]
        size = 3 + struct.unpack(">H", data[at + 1 : at + 3])[0] if tag == 1 else sizes[tag]
        found[number] = data[at : at + size]
        at, number = at + size, number + (2 if tag in (5, 6) else 1)
    return found, at


def loads(data: bytes, long: int) -> list[bytes]:
    """What follows each load of this constant in the code."""
    found, end = constants(data)
    (number,) = (number for number, each in found.items() if each == b"\x05" + long.to_bytes(8, "big"))
    return data[end:].split(bytes([LDC2_W]) + number.to_bytes(2, "big"))[1:]


def member(data: bytes, number: bytes) -> str:
    """The name of the field or method with this number."""
    found, _ = constants(data)
    name_and_type = found[int.from_bytes(found[int.from_bytes(number, "big")][3:5], "big")]
    return found[int.from_bytes(name_and_type[1:3], "big")][3:].decode()


@pytest.mark.parametrize("data", [original(DISPATCH_MILLIS), DISPATCH_MILLIS.class_file()])
def test_one_constant_is_that_of_the_interval_and_of_one_setting(data: bytes) -> None:
    millis = DISPATCH_MILLIS.after if data == DISPATCH_MILLIS.class_file() else DISPATCH_MILLIS.before
    following = [code for code in loads(data, millis) if code[0] == PUTFIELD]
    assert {member(data, code[1:3]) for code in following} == FIELDS


def test_the_other_constant_is_the_seconds_between_two_looks_at_the_lock() -> None:
    data = original(LOCK_SECONDS)
    (code,) = loads(data, LOCK_SECONDS.before)
    assert [code[at] for at in (0, 3, 6)] == [INVOKESTATIC, INVOKEVIRTUAL, INVOKESTATIC]
    assert [member(data, code[at + 1 : at + 3]) for at in (0, 3, 6)] == ["ofSeconds", "toMillis", "valueOf"]
    assert code[9] == PUTSTATIC
    assert member(data, code[10:12]) == "DEFAULT_HEARTBEAT_PERIOD_MILLIS"


@pytest.mark.parametrize("constant", CONSTANTS)
def test_nothing_else_is_changed(constant: Constant) -> None:
    before, after = original(constant), constant.class_file()
    at = before.index(b"\x05" + constant.before.to_bytes(8, "big"))
    assert after == before[:at] + b"\x05" + constant.after.to_bytes(8, "big") + before[at + 9 :]


@pytest.mark.parametrize("constant", CONSTANTS)
def test_another_class_is_refused(constant: Constant) -> None:
    for broken in (b"", constant.class_file(), original(constant) * 2):
        with pytest.raises(ValueError, match=f"does not have the constant {constant.before} once"):
            constant.changed(broken)


def test_the_jar_has_the_classes_and_nothing_that_differs_between_builds() -> None:
    with zipfile.ZipFile(io.BytesIO(shim_jar.contents())) as jar:
        entries = {entry.filename: jar.read(entry) for entry in jar.infolist()}
        stamps = {(entry.date_time, entry.compress_type) for entry in jar.infolist()}
    assert entries == {
        f"{aggregator_shim.NAME}.class": aggregator_shim.class_file(),
        **{f"{constant.name}.class": constant.class_file() for constant in CONSTANTS},
        **{f"{insertion.name}.class": insertion.class_file() for insertion in INSERTIONS},
    }
    assert stamps == {((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)}
    assert shim_jar.contents() == shim_jar.contents()
