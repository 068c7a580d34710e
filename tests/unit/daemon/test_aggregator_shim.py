"""The class that replaces one of the KCL: Java loads it, and it has every member that the KCL uses."""

import struct
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.daemon import aggregator_shim, java, shim_jar
from consumer.daemon.jars import class_path as class_path_of
from consumer.daemon.jars import jars_directory

Member = tuple[str, str]
"""Name and descriptor of a method or field."""
_SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
"""Bytes of a constant by its tag, except for texts (1)."""
FIELD, METHOD, INTERFACE_METHOD, CLASS, NAME_AND_TYPE = 9, 10, 11, 7, 12


def constants(data: bytes) -> dict[int, tuple[int, bytes]]:
    """Tag and content of each constant of a class file, by number."""
    (count,) = struct.unpack_from(">H", data, 8)
    found, at, number = {}, 10, 1
    while number < count:
        tag = data[at]
        start, size = (at + 3, struct.unpack_from(">H", data, at + 1)[0]) if tag == 1 else (at + 1, _SIZES[tag])
        found[number] = tag, data[start : start + size]
        at = start + size
        number += 2 if tag in (5, 6) else 1  # a long and a double use two indexes
    return found


def used(data: bytes, name: str) -> Iterator[Member]:
    """What the class uses of the class called `name`."""
    pool = constants(data)
    for tag, content in pool.values():
        if tag in (FIELD, METHOD, INTERFACE_METHOD):
            owner, member = struct.unpack(">HH", content)
            if text(pool, pool[owner][1]) == name:
                of, descriptor = struct.unpack(">HH", pool[member][1])
                yield pool[of][1].decode(), pool[descriptor][1].decode()


def text(pool: dict[int, tuple[int, bytes]], number: bytes) -> str:
    return pool[int.from_bytes(number, "big")][1].decode()


def classes() -> Iterator[bytes]:
    """Every class of every jar that names it."""
    for jar in jars_directory().glob("*.jar"):
        with zipfile.ZipFile(jar) as archive:
            for entry in archive.namelist():
                if entry.endswith(".class") and entry != f"{aggregator_shim.NAME}.class":
                    data = archive.read(entry)
                    if aggregator_shim.NAME.encode() in data:
                        yield data


def test_it_has_all_that_any_class_of_the_jars_uses() -> None:
    used_members = {member for data in classes() for member in used(data, aggregator_shim.NAME)}
    assert used_members == {
        ("<init>", "()V"),
        ("deaggregate", aggregator_shim.RECORDS),
        ("deaggregate", aggregator_shim.RECORDS_OF_A_SHARD),
    }


@pytest.fixture(scope="module")
def class_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As for the daemon: the replacement comes first."""
    jar = tmp_path_factory.mktemp("shim") / "shim.jar"
    jar.write_bytes(shim_jar.contents())
    return ":".join(map(str, class_path_of(jar)))


def run(class_path: str, name: str) -> str:
    command = [str(java.find_java({})), "-Xverify:all", "-cp", class_path, name]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_java_loads_it(class_path: str) -> None:
    """Java reports that the loaded class has no main method."""
    name = aggregator_shim.NAME.replace("/", ".")
    assert f"Main method not found in class {name}" in run(class_path, name)


def test_java_rejects_a_damaged_class(tmp_path: Path) -> None:
    """Shows that the test above can fail."""
    file = tmp_path / f"{aggregator_shim.NAME}.class"
    file.parent.mkdir(parents=True)
    file.write_bytes(aggregator_shim.class_file()[:-20])
    assert "Main method not found" not in run(str(tmp_path), aggregator_shim.NAME.replace("/", "."))
