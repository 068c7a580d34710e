"""The heap is a part of the container's memory; the operator's options take precedence."""

import os
from pathlib import Path

import pytest

from consumer.daemon import memory
from consumer.daemon.memory import MIB, Share
from consumer.settings import Settings, load


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


@pytest.mark.parametrize(
    ("files", "bytes_"),
    [
        ({"memory.current": "900\n", "memory.stat": "anon 500\ninactive_file 300\nactive_file 100\n"}, 600),
        (
            {
                "memory/memory.usage_in_bytes": "900\n",
                "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 300\ntotal_active_file 100\n",
            },
            600,
        ),
        ({"memory.max": "1000\n"}, None),
    ],
    ids=["version 2", "version 1", "unknown"],
)
def test_the_memory_in_use_leaves_out_what_the_kernel_can_drop(
    tmp_path: Path, files: dict[str, str], bytes_: int | None
) -> None:
    write(tmp_path, files)
    assert memory.used(tmp_path) == bytes_


MANY = 4
"""CPUs of a container that is not small."""
SIZES = [(None, 256, 10_000), (100, 64, 640), (512, 80, 800), (1024, 208, 2_080), (8192, 2000, 10_000)]
"""MiB of a container, MiB of its heap, records a fetch."""


@pytest.mark.parametrize(("mib", "heap", "records"), SIZES)
def test_the_heap_and_a_fetch_grow_with_the_container(mib: int | None, heap: int, records: int) -> None:
    limited = mib and mib * MIB
    assert memory.options([], limited, MANY)[0] == f"-Xmx{heap}m"
    assert memory.records(limited) == records


@pytest.mark.parametrize(
    ("mib", "cpus", "compiler"),
    [
        (512, MANY, ["-XX:TieredStopAtLevel=1"]),
        (1024, MANY, []),
        (1024, 3, []),
        (1024, 2, ["-XX:TieredStopAtLevel=1"]),
        (None, 1, ["-XX:TieredStopAtLevel=1"]),
        (None, MANY, []),
    ],
)
def test_a_small_container_runs_without_the_optimising_compiler(
    mib: int | None, cpus: int, compiler: list[str]
) -> None:
    assert memory.options(["-a"], mib and mib * MIB, cpus)[1:] == [*compiler, "-a"]


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"memory.max": "max\n"}, None),
    ],
)
def test_the_cpus_are_those_of_the_machine_or_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], quota: int | None
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)))
    write(tmp_path, files)
    assert memory.cpus(tmp_path) == (quota or 8)


def test_a_quota_of_more_cpus_than_there_are_has_no_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 3})
    write(tmp_path, {"cpu.max": "800000 100000\n"})
    assert memory.cpus(tmp_path) == 2


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)


def test_a_fetch_size_set_by_the_operator_is_kept() -> None:
    needed = {"region": "eu-north-1", "stream_name": "s", "quarantine": "dir:/q"}
    assert memory.fitted(load(Settings, **needed), 512 * MIB).max_records == 800
    assert memory.fitted(load(Settings, **needed, max_records=5_000), 512 * MIB).max_records == 5_000


@pytest.mark.parametrize("said", ["-Xmx1g", "-XX:MaxHeapSize=1g", "-XX:MaxRAMPercentage=50", "-XX:MaxRAM=2g"])
def test_a_heap_size_set_by_the_operator_is_kept(said: str) -> None:
    assert memory.options([said], 512 * MIB, 1) == [said]


# --- Out of memory -------------------------------------------------------------------------------------------------

SETTINGS = {"region": "eu-north-1", "stream_name": "s", "quarantine": "dir:/q"}


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ({}, Share(80, 800)),
        ({"max_records": 5_000}, Share(80, 5_000)),
        ({"java_options": "-Xmx300m"}, Share(None, 800)),
        ({"retrieval_mode": "fanout"}, Share(80, None)),
    ],
)
def test_the_first_share_is_what_fits_an_ordinary_load(given: dict[str, str], share: Share) -> None:
    limited = 512 * MIB
    assert memory.share(memory.fitted(load(Settings, **SETTINGS, **given), limited), limited) == share


def test_free_memory_is_given_to_the_heap_before_fetches_are_reduced() -> None:
    assert memory.after_exhaustion(Share(80, 800), 512 * MIB, shards=1) == Share(210, 800)
    assert memory.after_exhaustion(Share(210, 800), 512 * MIB, shards=1) == Share(210, 80)


def test_without_free_memory_fetches_are_reduced_down_to_one_record() -> None:
    share, seen = Share(80, 800), []
    while (less := memory.after_exhaustion(share, 512 * MIB, shards=4)) is not None:
        share = less
        seen.append(share)
    assert seen == [Share(80, 80), Share(80, 8), Share(80, 1)]


@pytest.mark.parametrize("limited", [None, *(mib * MIB for mib in (100, 512, 1_024, 4_096))])
@pytest.mark.parametrize("shards", [0, 1, 4, 100])
@pytest.mark.parametrize("first", [Share(64, 10_000), Share(None, 10_000), Share(80, None), Share(None, None)])
def test_there_are_few_steps(limited: int | None, shards: int, first: Share) -> None:
    """Each step is a restart that does not count."""
    share: Share | None = first
    for _ in range(6):
        share = share and memory.after_exhaustion(share, limited, shards)
    assert share is None


def test_a_heap_size_set_by_the_operator_does_not_grow() -> None:
    assert memory.after_exhaustion(Share(None, 800), 4_096 * MIB, shards=1) == Share(None, 80)


def test_without_a_limit_the_heap_grows_with_the_shards() -> None:
    assert memory.after_exhaustion(Share(256, 10_000), None, shards=4) == Share(716, 10_000)


def test_after_an_oom_kill_the_heap_has_its_first_size_again() -> None:
    assert memory.after_kill(Share(210, 800), 512 * MIB) == Share(80, 80)
    assert memory.after_kill(Share(None, 800), 512 * MIB) == Share(None, 80)
    assert memory.after_kill(Share(210, 1), 512 * MIB) is None


@pytest.mark.parametrize(("shards", "mib"), [(0, 462), (1, 462), (4, 1_272)])
def test_the_memory_needed_for_large_records_grows_with_the_shards(shards: int, mib: int) -> None:
    assert memory.needed(shards) == mib


@pytest.mark.parametrize(
    ("file", "said", "kills"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n", 2),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", 3),
        ("something.else", "oom_kill 1\n", 0),
    ],
)
def test_kills_are_read_from_either_version_of_control_groups(tmp_path: Path, file: str, said: str, kills: int) -> None:
    place = tmp_path / file
    place.parent.mkdir(exist_ok=True)
    place.write_text(said)
    assert memory.kills(tmp_path) == kills
