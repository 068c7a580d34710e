"""The jar before the KCL's jars, and the class of the KCL in it with another constant."""

import io
import struct
import zipfile

import pytest

from consumer.daemon import aggregator_shim, dispatch_interval, jars, shim_jar
from consumer.daemon.dispatch_interval import MILLIS, NAME

LDC2_W, PUTFIELD = 0x14, 0xB5
FIELDS = {"shardConsumerDispatchPollIntervalMillis", "schedulerInitializationBackoffTimeMillis"}


def original() -> bytes:
    with zipfile.ZipFile(jars.path_of("amazon-kinesis-client")) as jar:
        return jar.read(f"{NAME}.class")


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


def fields_set_to(data: bytes, millis: int) -> set[str]:
    """The fields that the class sets to this constant."""
    found, end = constants(data)
    (number,) = (number for number, each in found.items() if each == b"\x05" + millis.to_bytes(8, "big"))
    load = bytes([LDC2_W]) + number.to_bytes(2, "big") + bytes([PUTFIELD])
    names, at = set(), data.find(load, end)
    while at >= 0:
        field = found[int.from_bytes(data[at + 4 : at + 6], "big")]
        name_and_type = found[int.from_bytes(field[3:5], "big")]
        names.add(found[int.from_bytes(name_and_type[1:3], "big")][3:].decode())
        at = data.find(load, at + 1)
    return names


def test_the_constant_is_that_of_the_interval_and_of_one_setting() -> None:
    assert fields_set_to(original(), 1_000) == FIELDS
    assert fields_set_to(dispatch_interval.class_file(), MILLIS) == FIELDS


def test_nothing_else_is_changed() -> None:
    before, after = original(), dispatch_interval.class_file()
    assert len(before) == len(after)
    assert sum(one != other for one, other in zip(before, after, strict=True)) <= 2


@pytest.mark.parametrize("broken", [b"", dispatch_interval.class_file(), original() * 2])
def test_another_class_is_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match="does not have the constant 1000 once"):
        dispatch_interval.changed(broken)


def test_the_jar_has_both_classes_and_nothing_that_differs_between_builds() -> None:
    with zipfile.ZipFile(io.BytesIO(shim_jar.contents())) as jar:
        entries = {entry.filename: jar.read(entry) for entry in jar.infolist()}
        stamps = {(entry.date_time, entry.compress_type) for entry in jar.infolist()}
    assert entries == {
        f"{aggregator_shim.NAME}.class": aggregator_shim.class_file(),
        f"{NAME}.class": dispatch_interval.class_file(),
    }
    assert stamps == {((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)}
    assert shim_jar.contents() == shim_jar.contents()
