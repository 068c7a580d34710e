"""The heap is a part of what the container may use, and the operator has the last word."""

from pathlib import Path

import pytest

from consumer.settings import Settings, load
from consumer.worker import memory
from consumer.worker.memory import MIB


@pytest.mark.parametrize(
    ("file", "said", "bytes_"),
    [
        ("memory.max", "536870912\n", 512 * MIB),
        ("memory.max", "max\n", None),
        ("memory/memory.limit_in_bytes", "536870912\n", 512 * MIB),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", None),
        ("something.else", "1\n", None),
    ],
)
def test_the_limit_is_read_from_either_version_of_control_groups(
    tmp_path: Path, file: str, said: str, bytes_: int | None
) -> None:
    place = tmp_path / file
    place.parent.mkdir(exist_ok=True)
    place.write_text(said)
    assert memory.limit(tmp_path) == bytes_


SIZES = [(None, 256, 10_000), (100, 64, 640), (512, 80, 800), (1024, 208, 2_080), (8192, 2000, 10_000)]
"""MiB of a container, MiB of its heap, records a fetch."""


@pytest.mark.parametrize(("mib", "heap", "records"), SIZES)
def test_the_heap_and_a_fetch_grow_with_the_container(mib: int | None, heap: int, records: int) -> None:
    limited = mib and mib * MIB
    assert memory.options([], limited)[0] == f"-Xmx{heap}m"
    assert memory.records(limited) == records


def test_a_small_container_does_without_the_optimising_compiler() -> None:
    compiler = "-XX:TieredStopAtLevel=1"
    assert memory.options(["-a"], 512 * MIB) == ["-Xmx80m", compiler, "-a"]
    assert memory.options(["-a"], 1024 * MIB) == ["-Xmx208m", "-a"]


def test_a_fetch_that_the_operator_sizes_is_not_sized_again() -> None:
    needed = {"region": "eu-north-1", "stream_name": "s", "quarantine": "dir:/q"}
    assert memory.fitted(load(Settings, **needed), 512 * MIB).max_records == 800
    assert memory.fitted(load(Settings, **needed, max_records=5_000), 512 * MIB).max_records == 5_000


@pytest.mark.parametrize("said", ["-Xmx1g", "-XX:MaxHeapSize=1g", "-XX:MaxRAMPercentage=50", "-XX:MaxRAM=2g"])
def test_a_heap_that_the_operator_sizes_is_not_sized_again(said: str) -> None:
    assert memory.options([said], 512 * MIB) == [said]
