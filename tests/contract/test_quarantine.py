"""The contract of all quarantines: in memory, in a directory, and in S3."""

import base64
import errno
import fcntl
import json
import os
import re
from collections import Counter
from concurrent.futures import Executor
from dataclasses import replace
from itertools import product
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import EndpointConnectionError

from consumer.engine.errors import Reason, Unavailable
from consumer.engine.quarantine import Foreign, PartlyKept, Quarantined, QuarantineStore, path_of
from consumer.engine.records import Position, Record
from consumer.stores.directory import DirectoryQuarantine
from tests.contract.conftest import Bucket
from tests.support.driven.waiting import until

HOSTILE = ("", ".", "..", "../..", "/", "a/b", "%2F", "\0", "\n", "\u00e9", "\ud800", "a-1", "a.json", "~", "x" * 5_000)


def entry(
    sequence: str = "1", data: bytes = b"{}", *, sub: int = 0, stream: str = "limits", detail: str = "not JSON"
) -> Quarantined:
    position = Position(stream, "shardId-000000000000", sequence, sub)
    return Quarantined(Record(position, data, 1_767_225_600_000), Reason.JSON, detail)


def test_nothing_is_there_before_something_is_put(quarantine: QuarantineStore) -> None:
    assert list(quarantine.entries()) == []
    quarantine.put([])
    assert list(quarantine.entries()) == []


@pytest.mark.parametrize("data", [b"", b"\0", b"\xf3\x89\x9a\xc2", b"\xef\xbb\xbf{}", bytes(range(256)) * 1_000])
def test_the_bytes_are_kept_as_they_came(quarantine: QuarantineStore, data: bytes) -> None:
    quarantine.put([entry(data=data)])
    assert list(quarantine.entries()) == [entry(data=data)]


def test_entries_come_in_the_order_of_their_paths(quarantine: QuarantineStore) -> None:
    put = [
        entry(f"{number}", sub=sub, stream=stream)
        for number, sub, stream in product((9, 10, 11), (0, 1), ("b", "a", "a-b"))
    ]
    quarantine.put(put)
    assert list(quarantine.entries()) == sorted(put, key=lambda each: path_of(each.record.position))


def test_putting_one_again_overwrites_it(quarantine: QuarantineStore) -> None:
    quarantine.put([entry(detail="first"), entry("2")])
    quarantine.put([entry(detail="second")])
    assert list(quarantine.entries()) == [entry(detail="second"), entry("2")]


def test_records_of_one_aggregate_do_not_overwrite_each_other(quarantine: QuarantineStore) -> None:
    put = [entry(sub=sub) for sub in range(3)]
    quarantine.put(put)
    assert len(list(quarantine.entries())) == 3


def test_its_size_is_known(quarantine: QuarantineStore) -> None:
    assert quarantine.size() == 0
    quarantine.put([entry("1"), entry("2"), entry("2", sub=1), entry("1", stream="other")])
    assert quarantine.size() == 4
    quarantine.drop(entry("1"))
    assert quarantine.size() == len(list(quarantine.entries())) == 3


def test_an_entry_is_found_by_its_position(quarantine: QuarantineStore) -> None:
    put = [entry("1"), entry("10"), entry("1", sub=1)]
    quarantine.put(put)
    assert [quarantine.find(each.record.position) for each in put] == put
    assert quarantine.find(entry("1", sub=2).record.position) is None
    assert quarantine.find(entry("1", stream="other").record.position) is None


def test_what_is_dropped_is_gone_and_nothing_else(quarantine: QuarantineStore) -> None:
    quarantine.put([entry("1"), entry("2"), entry("2", sub=1)])
    assert quarantine.drop(entry("2"))
    assert list(quarantine.entries()) == [entry("1"), entry("2", sub=1)]


def test_what_is_not_there_counts_as_dropped(quarantine: QuarantineStore) -> None:
    quarantine.put([entry("1")])
    assert quarantine.drop(entry("2"))
    assert list(quarantine.entries()) == [entry("1")]


@pytest.mark.parametrize("other", [{"detail": "other"}, {"data": b"other"}], ids=["detail", "data"])
def test_what_was_put_after_an_entry_was_read_is_not_dropped(quarantine: QuarantineStore, other: Any) -> None:
    quarantine.put([entry("1")])
    (read,) = quarantine.entries()
    quarantine.put([entry("1", **other)])
    assert not quarantine.drop(read)
    assert list(quarantine.entries()) == [entry("1", **other)]


def test_an_entry_may_be_dropped_while_they_are_looked_through(quarantine: QuarantineStore) -> None:
    quarantine.put([entry(f"{number}") for number in range(10, 15)])
    for each in quarantine.entries():
        quarantine.drop(each)
    assert list(quarantine.entries()) == []


def test_a_reason_of_another_version_is_kept(quarantine: QuarantineStore) -> None:
    other = replace(entry(), reason="NOT_KNOWN_YET")
    quarantine.put([other])
    assert list(quarantine.entries()) == [other]
    assert quarantine.drop(other)


def test_hostile_positions_are_kept_apart_and_lead_nowhere(quarantine: QuarantineStore, tmp_path: Path) -> None:
    put = [
        Quarantined(
            Record(Position(stream, shard, sequence), ascii((stream, shard, sequence)).encode()), Reason.SCHEMA, ""
        )
        for stream, shard, sequence in product(HOSTILE, repeat=3)
    ][::5]
    before = set(tmp_path.parent.iterdir())
    quarantine.put(put)
    assert set(quarantine.entries()) == set(put)
    assert set(tmp_path.parent.iterdir()) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"quarantine"}
    assert [quarantine.find(each.record.position) for each in put] == put
    assert quarantine.drop(put[0])
    assert set(quarantine.entries()) == set(put[1:])


# a directory


def test_a_file_says_what_where_and_why(tmp_path: Path) -> None:
    DirectoryQuarantine(tmp_path).put([entry("4965", b"{]", sub=2)])
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.relative_to(tmp_path) == Path("limits/shardId-000000000000/4965-2.json")
    assert json.loads(file.read_text()) == {
        "reason": "JSON",
        "detail": "not JSON",
        "stream": "limits",
        "shard": "shardId-000000000000",
        "sequenceNumber": "4965",
        "subSequenceNumber": 2,
        "arrivedAt": 1_767_225_600_000,
        "data": base64.b64encode(b"{]").decode(),
    }


def test_files_and_folders_are_for_their_owner_alone(tmp_path: Path, pool: Executor) -> None:
    root = tmp_path / "root"
    DirectoryQuarantine(root, pool).put([entry("4965")])
    assert [path.stat().st_mode & 0o777 for path in root.rglob("*.json")] == [0o600]
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    assert [path.stat().st_mode & 0o777 for path in folders] == [0o700] * 3


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory owned by another user."""
    made = tmp_path / "elsewhere"
    made.mkdir()
    (made / "file").write_text("theirs")
    return made


@pytest.mark.parametrize("planted", ["limits", "limits/shardId-000000000000"])
def test_a_folder_that_is_a_link_leads_nowhere(tmp_path: Path, elsewhere: Path, planted: str) -> None:
    link = tmp_path / "root" / planted
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(Unavailable, match=r"Not a directory|Too many levels of symbolic links"):
        DirectoryQuarantine(tmp_path / "root").put([entry()])
    assert [path.name for path in elsewhere.rglob("*")] == ["file"]


def test_an_entry_that_is_a_link_is_replaced_and_not_followed(tmp_path: Path, elsewhere: Path) -> None:
    place = tmp_path / "root" / path_of(entry().record.position)
    place.parent.mkdir(parents=True)
    place.symlink_to(elsewhere / "file")
    quarantine = DirectoryQuarantine(tmp_path / "root")
    assert foreign(quarantine) == {str(place): ("Not a regular file", True)}
    quarantine.put([entry()])
    assert (list(quarantine.entries()), (elsewhere / "file").read_text()) == ([entry()], "theirs")


def test_two_writers_of_one_process_id_never_share_a_scratch_file(tmp_path: Path) -> None:
    """In two containers, both are process 1: each must write the same record to its own scratch file."""
    names = written(tmp_path, [entry()]) + written(tmp_path, [entry()])
    assert len(names) == len(set(names)) == 2
    assert [name for name in names if str(os.getpid()) in name.split(".") or "1" in name.split(".")] == []


def written(root: Path, entries: list[Quarantined]) -> list[str]:
    """The names of the scratch files that existed while the entries were written."""
    seen: list[str] = []
    true = os.fsync

    def look(descriptor: int) -> None:
        seen.extend(path.name for path in root.rglob("*.tmp"))
        true(descriptor)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", look)
        DirectoryQuarantine(root).put(entries)
    return seen


def test_a_scratch_file_is_for_its_owner_alone_and_locked(tmp_path: Path) -> None:
    modes = []
    true = os.fsync

    def look(descriptor: int) -> None:
        for path in tmp_path.rglob("*.tmp"):
            modes.append(path.stat().st_mode & 0o777)
            with path.open("rb") as other, pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        true(descriptor)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", look)
        DirectoryQuarantine(tmp_path).put([entry()])
    assert modes == [0o600]


HALF = '{"reason": "JS'
SCRATCH = ("2.77.tmp", "2-1.77.tmp", f".{'0f' * 16}.tmp")


@pytest.mark.parametrize("name", SCRATCH)
def test_what_a_crash_left_half_written_is_no_entry_and_is_cleared(tmp_path: Path, name: str) -> None:
    quarantine = DirectoryQuarantine(tmp_path)
    quarantine.put([entry("1")])
    scratch = tmp_path / "limits" / "shardId-000000000000" / name
    scratch.write_text(HALF)
    assert (list(quarantine.entries()), quarantine.size()) == ([entry("1")], 1)
    assert quarantine.clear_scratch() == 1
    assert not scratch.exists()
    assert list(quarantine.entries()) == [entry("1")]


def test_what_is_being_written_is_not_cleared(tmp_path: Path) -> None:
    """Another process starts and scans the directory while this one writes."""
    cleared = []
    true = os.fsync

    def look(descriptor: int) -> None:
        cleared.append(DirectoryQuarantine(tmp_path).clear_scratch())
        true(descriptor)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", look)
        DirectoryQuarantine(tmp_path).put([entry("1")])
    assert cleared
    assert set(cleared) == {0}
    assert list(DirectoryQuarantine(tmp_path).entries()) == [entry("1")]


@pytest.mark.parametrize(
    "place",
    ["limits/2.77.tmp", "2.77.tmp", "limits/s/notes.tmp", "limits/s/.1.tmp", "limits/s/2.77.tmp/x", "a/b/c/2.7.tmp"],
)
def test_nothing_but_scratch_files_is_cleared(tmp_path: Path, place: str) -> None:
    theirs = tmp_path / place
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_text("theirs")
    assert DirectoryQuarantine(tmp_path).clear_scratch() == 0
    assert theirs.read_text() == "theirs"


def test_there_is_nothing_to_clear_where_nothing_is(tmp_path: Path) -> None:
    assert DirectoryQuarantine(tmp_path / "not-there").clear_scratch() == 0


def test_an_entry_about_to_be_replaced_is_not_dropped(tmp_path: Path) -> None:
    """The lock holder replaces the entry: after the wait, another file is at the path."""
    quarantine = DirectoryQuarantine(tmp_path)
    quarantine.put([entry()])
    true, dropped = os.replace, []

    def replace_while_dropping(*given: Any, **more: Any) -> None:
        dropping = Thread(target=lambda: dropped.append(quarantine.drop(entry())))
        dropping.start()
        until(waits_for_a_lock, "the other to wait for the lock")
        true(*given, **more)
        threads.append(dropping)

    threads: list[Thread] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "replace", replace_while_dropping)
        quarantine.put([entry(detail="second")])
    threads[0].join()
    assert dropped == [False]
    assert list(quarantine.entries()) == [entry(detail="second")]


def waits_for_a_lock() -> bool:
    """Whether a thread of this process does, according to the kernel."""
    locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    return any("->" in line and str(os.getpid()) in line.split() for line in locks)


def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="Not a directory"):
        DirectoryQuarantine(tmp_path / "file" / "quarantine").put([entry()])


def test_an_entry_that_cannot_be_read_removed_or_written_is_unavailable(tmp_path: Path) -> None:
    quarantine = DirectoryQuarantine(tmp_path)
    (tmp_path / path_of(entry().record.position)).mkdir(parents=True)
    with pytest.raises(Unavailable, match="Not a regular file"):
        list(quarantine.entries())
    with pytest.raises(Unavailable):
        quarantine.find(entry().record.position)
    with pytest.raises(Unavailable):
        quarantine.drop(entry())
    with pytest.raises(Unavailable):
        quarantine.put([entry()])


def test_of_several_files_those_that_cannot_be_written_are_left(tmp_path: Path, pool: Executor) -> None:
    quarantine = DirectoryQuarantine(tmp_path, pool)
    (tmp_path / path_of(entry("2").record.position)).mkdir(parents=True)
    with pytest.raises(PartlyKept, match="Is a directory") as partly:
        DirectoryQuarantine(tmp_path).put([entry("1"), entry("2"), entry("3")])
    assert partly.value.left == [entry("2"), entry("3")], "nothing is started after a failure"
    (tmp_path / path_of(entry("2").record.position)).rmdir()
    quarantine.put(partly.value.left)
    assert list(quarantine.entries()) == [entry("1"), entry("2"), entry("3")]


def test_foreign_files_are_reported_and_the_others_read(tmp_path: Path) -> None:
    quarantine = DirectoryQuarantine(tmp_path)
    quarantine.put([entry("1"), entry("2")])
    shard = tmp_path / "limits" / "shardId-000000000000"
    (tmp_path / "notes.txt").write_text("look at these")
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / "d.json").write_text("{}")
    (shard / "empty.json").touch()
    (shard / "half.json").write_text(HALF)
    (shard / "theirs.json").write_text("{}")
    (shard / "copy.json").write_bytes((shard / "1.json").read_bytes())
    (shard / "folder.json").mkdir()
    (shard / "away.json").symlink_to(tmp_path / "nowhere")
    os.mkfifo(shard / "pipe.json")
    (shard / "1.json.bak").write_text("")
    assert {Path(place).name: found for place, found in foreign(quarantine).items()} == {
        "notes.txt": ("not an entry of the quarantine", False),
        "c": ("Not a regular file", False),
        "empty.json": ("not JSON, or cut off", True),
        "half.json": ("not JSON, or cut off", True),
        "theirs.json": ("not an entry of the quarantine", True),
        "copy.json": ("the entry of limits/shardId-000000000000/1, in a place that is not its own", True),
        "folder.json": ("Not a regular file", True),
        "away.json": ("Not a regular file", True),
        "pipe.json": ("Not a regular file", True),
        "1.json.bak": ("not an entry of the quarantine", False),
    }
    assert list(quarantine.entries(lambda _: None)) == [entry("1"), entry("2")]
    assert quarantine.size() == 6, "those that can be entries"


def test_a_file_or_folder_that_may_not_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, to whom nothing is forbidden, so the refusal is simulated."""
    quarantine = DirectoryQuarantine(tmp_path)
    quarantine.put([entry("1"), entry("2"), entry("3", stream="other"), entry("4", stream="z")])
    (tmp_path / "lost+found").mkdir()
    opened, scanned = os.open, os.scandir

    def open_some(name: Any, *given: Any, **more: Any) -> int:
        return denied() if name == "1.json" else opened(name, *given, **more)

    def scan_some(path: Any) -> Any:
        return denied() if Path(path).name in ("other", "lost+found") else scanned(path)

    monkeypatch.setattr(os, "open", open_some)
    monkeypatch.setattr(os, "scandir", scan_some)
    assert {Path(place).name: found for place, found in foreign(quarantine).items()} == {
        "1.json": ("Permission denied", True),
        "other": ("Permission denied", True),
        "lost+found": ("Permission denied", False),
    }
    assert list(quarantine.entries(lambda _: None)) == [entry("2"), entry("4", stream="z")]


def denied() -> Any:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def foreign(quarantine: QuarantineStore) -> dict[str, tuple[str, bool]]:
    """The reported foreign files, each with whether it may contain a record."""
    found: list[Foreign] = []
    list(quarantine.entries(found.append))
    assert len({each.place for each in found}) == len(found)
    return {each.place: (each.why, each.lost) for each in found}


# S3


@pytest.mark.parametrize("prefix", ["quarantine", "/quarantine/", "", "/"])
def test_an_object_is_called_after_the_position(bucket: Bucket, prefix: str) -> None:
    bucket.quarantine(prefix).put([entry("4965", sub=2)])
    (found,) = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    assert found["Key"] == "quarantine/limits/shardId-000000000000/4965-2.json"


def test_a_prefix_may_have_parts_and_hides_other_objects(bucket: Bucket) -> None:
    bucket.quarantine("a/b").put([entry("1")])
    bucket.quarantine("a/bc").put([entry("2")])
    assert list(bucket.quarantine("/a/b/").entries()) == [entry("1")]


def test_more_objects_than_one_listing_holds(bucket: Bucket) -> None:
    put = [entry(f"{number}") for number in range(1_000, 2_050)]
    bucket.quarantine().put(put)
    assert list(bucket.quarantine().entries()) == put


def test_a_bucket_that_is_not_there_is_unavailable(bucket: Bucket) -> None:
    bucket.name = "not-there"
    quarantine = bucket.quarantine()
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        quarantine.put([entry()])
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        list(quarantine.entries())
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        quarantine.drop(entry())


def test_a_server_that_is_not_there_is_unavailable(bucket: Bucket) -> None:
    bucket.client.meta.events.register("before-send.s3", refuse)
    with pytest.raises(Unavailable, match="EndpointConnectionError"):
        bucket.quarantine().put([entry()])


def refuse(**_: object) -> None:
    raise EndpointConnectionError(endpoint_url="there")


def test_of_several_objects_those_that_could_not_be_put_are_left(bucket: Bucket) -> None:
    """Every third request is refused, and none is started after it. The rest is put again until all is stored."""
    refused: Counter[str] = Counter()

    def refuse_some(request: Any, **_: object) -> None:
        number = int(re.findall(r"([0-9]+)\.json", request.url)[0])
        if number % 3 == 0 and refused[request.url] < 2:  # boto3 makes two attempts
            refused[request.url] += 1
            refuse()

    bucket.client.meta.events.register("before-send.s3", refuse_some)
    left = [entry(f"{number}") for number in range(10, 40)]
    counts = []
    while left:
        counts.append(len(left))
        try:
            bucket.quarantine().put(left)
            left = []
        except PartlyKept as partly:
            left = list(partly.left)
        except Unavailable:
            assert counts.count(len(left)) < len(left), "all started requests failed"
    bucket.client.meta.events.unregister("before-send.s3", refuse_some)
    assert counts == sorted(counts, reverse=True)
    assert set(refused.values()) == {2}
    assert len(list(bucket.quarantine().entries())) == 30


def test_foreign_objects_are_reported_and_the_others_read(bucket: Bucket) -> None:
    quarantine = bucket.quarantine()
    quarantine.put([entry("1"), entry("2")])
    shard = "quarantine/limits/shardId-000000000000"
    (_, content) = objects(bucket).popitem()
    theirs = {
        "quarantine/": b"",
        f"{shard}/": b"",
        "quarantine/notes.txt": b"look at these",
        f"{shard}/a/3.json": b"{}",
        f"{shard}/empty.json": b"",
        f"{shard}/half.json": HALF.encode(),
        f"{shard}/theirs.json": b"{}",
        f"{shard}/copy.json": content,
    }
    for key, body in theirs.items():
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=body)
    other = ("not an entry of the quarantine", False)
    assert {place.removeprefix(f"s3://{bucket.name}/"): found for place, found in foreign(quarantine).items()} == {
        "quarantine/": other,
        f"{shard}/": other,
        "quarantine/notes.txt": other,
        f"{shard}/a/3.json": other,
        f"{shard}/empty.json": other,
        f"{shard}/half.json": ("not JSON, or cut off", True),
        f"{shard}/theirs.json": ("not an entry of the quarantine", True),
        f"{shard}/copy.json": ("the entry of limits/shardId-000000000000/2, in a place that is not its own", True),
    }
    assert list(quarantine.entries(lambda _: None)) == [entry("1"), entry("2")]
    assert quarantine.size() == 5, "those that can be entries"


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidObjectState", "KMS.DisabledException"])
def test_an_object_that_may_not_be_read_is_reported(bucket: Bucket, code: str) -> None:
    quarantine = bucket.quarantine()
    quarantine.put([entry("1"), entry("2")])
    answer_get(bucket, "1.json", code)
    assert list(foreign(quarantine).values()) == [(code, True)]
    assert list(quarantine.entries(lambda _: None)) == [entry("2")]
    with pytest.raises(Unavailable, match=code):
        quarantine.find(entry("1").record.position)


def test_a_bucket_that_throttles_is_unavailable_and_no_object_is_to_blame(bucket: Bucket) -> None:
    bucket.quarantine().put([entry("1"), entry("2")])
    answer_get(bucket, "1.json", "SlowDown")
    with pytest.raises(Unavailable, match="SlowDown"):
        foreign(bucket.quarantine())


def answer_get(bucket: Bucket, name: str, code: str) -> None:
    """S3 refuses to return that object."""

    def answer(params: Any, **_: object) -> Any:
        refused = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        return (AWSResponse("", 403, HTTPHeaders(), None), refused) if params["url_path"].endswith(name) else None

    bucket.client.meta.events.register("before-call.s3.GetObject", answer)


def test_s3_itself_refuses_to_drop_what_was_replaced_after_it_was_compared(bucket: Bucket) -> None:
    """Another entry is put between the comparison and the deletion."""
    quarantine = bucket.quarantine()
    quarantine.put([entry("1")])

    def put_another(**_: object) -> None:
        bucket.client.meta.events.unregister("before-call.s3.DeleteObject", put_another)
        quarantine.put([entry("1", detail="second")])

    bucket.client.meta.events.register("before-call.s3.DeleteObject", put_another)
    assert not quarantine.drop(entry("1"))
    assert list(quarantine.entries()) == [entry("1", detail="second")]


def objects(bucket: Bucket) -> dict[str, bytes]:
    """All objects by key, sorted."""
    listed = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    return {
        found["Key"]: bucket.client.get_object(Bucket=bucket.name, Key=found["Key"])["Body"].read() for found in listed
    }


def test_a_file_that_could_not_be_written_leaves_no_part_of_it(tmp_path: Path) -> None:
    in_the_way = tmp_path / path_of(entry().record.position)
    in_the_way.mkdir(parents=True)
    with pytest.raises(Unavailable, match="Is a directory"):
        DirectoryQuarantine(tmp_path).put([entry()])
    assert list(in_the_way.parent.iterdir()) == [in_the_way]
