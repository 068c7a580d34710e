"""The contract of all quarantines: in memory, in a directory, and in S3."""

import base64
import errno
import fcntl
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import EndpointConnectionError

from consumer.engine.entry_names import named, path_of
from consumer.engine.errors import Reason, Unavailable
from consumer.engine.quarantine import Copy, Foreign, Listed, PartlyKept, Quarantined, QuarantineStore
from consumer.engine.records import Position, Record
from consumer.stores.directory import DirectoryQuarantine
from consumer.stores.requests import observe_requests
from tests.contract.conftest import Bucket
from tests.support.driven.waiting import until

HOSTILE = ("", ".", "..", "../..", "/", "a/b", "%2F", "\0", "\n", "\u00e9", "\ud800", "a-1", "a.json", "~", "x" * 5_000)


def entry(
    sequence: str = "1", data: bytes = b"{}", *, sub: int = 0, stream: str = "limits", detail: str = "not JSON"
) -> Quarantined:
    position = Position(stream, "shardId-000000000000", sequence, sub)
    return Quarantined(Record(position, data, 1_767_225_600_000), Reason.JSON, detail)


def drop(quarantine: QuarantineStore, *entries: Quarantined) -> bool:
    """Whether all of them were dropped, as they are now."""
    listed = [quarantine.find(each.record.position) for each in entries]
    return all(quarantine.drop([each for each in listed if each]))


def found(quarantine: QuarantineStore, entries: Iterable[Quarantined]) -> list[Quarantined]:
    """What is found at the positions of the entries."""
    listed = [quarantine.find(each.record.position) for each in entries]
    return [each for _, each in quarantine.read(each for each in listed if each)]


def name(of: Quarantined) -> str:
    return named(of.summary)


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
    drop(quarantine, entry("1"))
    assert quarantine.size() == len(list(quarantine.entries())) == 3


def test_an_entry_is_found_by_its_position(quarantine: QuarantineStore) -> None:
    put = [entry("1"), entry("10"), entry("1", sub=1)]
    quarantine.put(put)
    assert found(quarantine, put) == put
    assert quarantine.find(entry("1", sub=2).record.position) is None
    assert quarantine.find(entry("1", stream="other").record.position) is None


def test_what_is_dropped_is_gone_and_nothing_else(quarantine: QuarantineStore) -> None:
    quarantine.put([entry("1"), entry("2"), entry("2", sub=1)])
    assert drop(quarantine, entry("2"))
    assert list(quarantine.entries()) == [entry("1"), entry("2", sub=1)]


def test_what_is_not_there_counts_as_dropped(quarantine: QuarantineStore) -> None:
    quarantine.put([entry("1"), entry("2")])
    listed = list(quarantine.listing())
    assert quarantine.drop(listed[1:]) == [True]
    assert quarantine.drop(listed[1:]) == [True]
    assert list(quarantine.entries()) == [entry("1")]


def test_what_was_put_after_an_entry_was_read_is_not_dropped(quarantine: QuarantineStore) -> None:
    """Another record has the same name, if it is refused for the same reason."""
    quarantine.put([entry("1")])
    ((listed, read),) = quarantine.read(quarantine.listing())
    assert read == entry("1")
    quarantine.put([entry("1", b"other")])
    assert quarantine.drop([listed]) == [False]
    assert list(quarantine.entries()) == [entry("1", b"other")]


def test_what_was_put_for_another_reason_after_an_entry_was_read_stays(quarantine: QuarantineStore) -> None:
    quarantine.put([entry("1")])
    listed = list(quarantine.listing())
    quarantine.put([entry("1", detail="other")])
    quarantine.drop(listed)
    assert list(quarantine.entries()) == [entry("1", detail="other")]


def test_a_record_that_is_refused_for_another_reason_is_one_entry(quarantine: QuarantineStore) -> None:
    quarantine.put([entry("1", detail="first"), entry("2")])
    quarantine.put([entry("1", detail="second")])
    assert [each.summary.detail for each in quarantine.listing()] == ["second", "not JSON"]
    assert quarantine.size() == 2
    ((listed, read), _) = quarantine.read(quarantine.listing())
    assert read == entry("1", detail="second")
    assert quarantine.drop([listed]) == [True]
    assert list(quarantine.entries()) == [entry("2")]


def test_a_listing_shows_everything_but_the_data(quarantine: QuarantineStore) -> None:
    put = [
        replace(entry("1", detail="payload.value: a b \u00e9\ud800~%"), type="USER_LIMIT_CREATED"),
        entry("2", detail="x" * 5_000),
    ]
    quarantine.put(put)
    first, second = (each.summary for each in quarantine.listing())
    assert first == put[0].summary
    assert second.detail[:50] == "x" * 50
    assert list(quarantine.entries()) == put, "complete"


def test_many_are_read_and_dropped_together(quarantine: QuarantineStore) -> None:
    put = [entry(f"{number}") for number in range(100, 200)]
    quarantine.put(put)
    read = list(quarantine.read(quarantine.listing()))
    assert [each for _, each in read] == put
    quarantine.put([entry("150", b"other")])
    gone = quarantine.drop([listed for listed, _ in read])
    assert [put[at] for at, is_gone in enumerate(gone) if not is_gone] == [entry("150")]
    assert list(quarantine.entries()) == [entry("150", b"other")]


def test_an_entry_may_be_dropped_while_they_are_looked_through(quarantine: QuarantineStore) -> None:
    quarantine.put([entry(f"{number}") for number in range(10, 15)])
    for each in quarantine.listing():
        quarantine.drop([each])
    assert list(quarantine.entries()) == []


def test_a_reason_of_another_version_is_kept(quarantine: QuarantineStore) -> None:
    other = replace(entry(), reason="NOT_KNOWN_YET")
    quarantine.put([other])
    assert list(quarantine.entries()) == [other]
    assert drop(quarantine, other)


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
    assert found(quarantine, put) == put
    assert drop(quarantine, put[0])
    assert set(quarantine.entries()) == set(put[1:])


# entries of earlier versions, whose name is the position alone


@dataclass(frozen=True)
class Earlier:
    """Puts an entry as an earlier version did."""

    put: Callable[[Quarantined], object]
    store: QuarantineStore


@pytest.fixture(params=["directory", "s3"])
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Earlier:
    if request.param == "s3":
        bucket: Bucket = request.getfixturevalue("bucket")
        return Earlier(lambda each: _put_earlier_object(bucket, each), bucket.quarantine())
    return Earlier(
        lambda each: _put_earlier_file(tmp_path / "quarantine", each), DirectoryQuarantine(tmp_path / "quarantine")
    )


def _put_earlier_object(bucket: Bucket, each: Quarantined) -> None:
    key = f"quarantine/{path_of(each.record.position)}"
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=_earlier(each))


def _put_earlier_file(root: Path, each: Quarantined) -> None:
    path = root / path_of(each.record.position)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_earlier(each))


def _earlier(each: Quarantined) -> bytes:
    document = each.to_json()
    del document["type"]
    return json.dumps(document).encode()


def test_entries_of_earlier_versions_are_listed_read_and_dropped(earlier: Earlier) -> None:
    put = [entry("1", detail="x" * 500), entry("2", sub=1)]
    for each in put:
        earlier.put(each)
    earlier.store.put([entry("3")])
    assert [each.summary for each in earlier.store.listing()] == [each.summary for each in [*put, entry("3")]]
    assert list(earlier.store.entries()) == [*put, entry("3")]
    assert found(earlier.store, put) == put
    assert earlier.store.size() == 3
    assert drop(earlier.store, *put)
    assert list(earlier.store.entries()) == [entry("3")]


def test_a_record_that_an_earlier_version_quarantined_is_one_entry(earlier: Earlier) -> None:
    earlier.put(entry("1", detail="as it was worded"))
    earlier.store.put([entry("1")])
    (listed,) = earlier.store.listing()
    assert (listed.summary, earlier.store.size()) == (entry("1").summary, 1)
    assert earlier.store.drop([listed]) == [True]
    assert list(earlier.store.entries()) == []


def test_an_aggregate_is_not_dropped_with_its_first_record(earlier: Earlier) -> None:
    """Both have the same position. The record was quarantined by itself after an upgrade."""
    earlier.put(entry("1", b"the whole"))
    earlier.store.put([entry("1", b"the first record")])
    (read,) = earlier.store.read(earlier.store.listing())
    assert read[1] == entry("1", b"the first record")
    assert earlier.store.drop([read[0]]) == [True]
    assert list(earlier.store.entries()) == [entry("1", b"the whole")]


# a directory


def test_a_hundred_thousand_are_listed_without_opening_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [entry(f"{number}") for number in range(100_000, 200_000)]
    (tmp_path / name(wanted[0])).parent.mkdir(parents=True)
    for each in wanted:
        (tmp_path / name(each)).touch()
    monkeypatch.setattr(os, "open", None)
    quarantine = DirectoryQuarantine(tmp_path)
    assert [each.summary for each in quarantine.listing()] == [each.summary for each in wanted]
    assert quarantine.size() == 100_000


def test_a_file_says_what_where_and_why(tmp_path: Path) -> None:
    DirectoryQuarantine(tmp_path).put([entry("4965", b"{]", sub=2)])
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.relative_to(tmp_path) == Path(
        "limits/shardId-000000000000/4965-2.1767225600000.JSON.UNREADABLE.not~JSON.json"
    )
    assert json.loads(file.read_text()) == {
        "reason": "JSON",
        "detail": "not JSON",
        "type": "UNREADABLE",
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
    place = tmp_path / "root" / name(entry())
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
    true, listed = os.replace, list(quarantine.listing())
    dropped: list[bool] = []

    def replace_while_dropping(*given: Any, **more: Any) -> None:
        dropping = Thread(target=lambda: dropped.extend(quarantine.drop(listed)))
        dropping.start()
        until(waits_for_a_lock, "the other to wait for the lock")
        true(*given, **more)
        threads.append(dropping)

    threads: list[Thread] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "replace", replace_while_dropping)
        quarantine.put([entry(data=b"second")])
    threads[0].join()
    assert dropped == [False]
    assert list(quarantine.entries()) == [entry(data=b"second")]


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
    (tmp_path / name(entry())).mkdir(parents=True)
    with pytest.raises(Unavailable, match="Not a regular file"):
        list(quarantine.entries())
    listed = quarantine.find(entry().record.position)
    assert listed
    with pytest.raises(Unavailable, match="Not a regular file"):
        list(quarantine.read([listed]))
    with pytest.raises(Unavailable, match="Not a regular file"):
        quarantine.drop([listed])
    with pytest.raises(Unavailable, match="Is a directory"):
        quarantine.put([entry()])


def test_of_several_files_those_that_cannot_be_written_are_left(tmp_path: Path, pool: Executor) -> None:
    quarantine = DirectoryQuarantine(tmp_path, pool)
    (tmp_path / name(entry("2"))).mkdir(parents=True)
    with pytest.raises(PartlyKept, match="Is a directory") as partly:
        DirectoryQuarantine(tmp_path).put([entry("1"), entry("2"), entry("3")])
    assert partly.value.left == [entry("2"), entry("3")], "nothing is started after a failure"
    (tmp_path / name(entry("2"))).rmdir()
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
    (shard / "copy.json").write_bytes((tmp_path / name(entry("1"))).read_bytes())
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

    def open_some(path: Any, *given: Any, **more: Any) -> int:
        return denied() if str(path).startswith("1.") else opened(path, *given, **more)

    def scan_some(path: Any) -> Any:
        return denied() if Path(path).name in ("other", "lost+found") else scanned(path)

    monkeypatch.setattr(os, "open", open_some)
    monkeypatch.setattr(os, "scandir", scan_some)
    assert {Path(place).name: found for place, found in foreign(quarantine).items()} == {
        Path(name(entry("1"))).name: ("Permission denied", True),
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
    assert found["Key"] == f"quarantine/{name(entry('4965', sub=2))}"


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
        quarantine.find(entry().record.position)
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        quarantine.drop([Listed(entry().summary, [Copy(name(entry()), '"0"')])])


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
        number = int(re.findall(r"shardId-[0-9]+/([0-9]+)", request.url)[0])
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
    answer_get(bucket, entry("1"), code)
    assert list(foreign(quarantine).values()) == [(code, True)]
    assert list(quarantine.entries(lambda _: None)) == [entry("2")]
    with pytest.raises(Unavailable, match=code):
        found(quarantine, [entry("1")])


def test_a_bucket_that_throttles_is_unavailable_and_no_object_is_to_blame(bucket: Bucket) -> None:
    bucket.quarantine().put([entry("1"), entry("2")])
    answer_get(bucket, entry("1"), "SlowDown")
    with pytest.raises(Unavailable, match="SlowDown"):
        foreign(bucket.quarantine())


def answer_get(bucket: Bucket, refused_one: Quarantined, code: str) -> None:
    """S3 refuses to return that object."""

    def answer(params: Any, **_: object) -> Any:
        refused = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        is_it = params["url_path"].endswith(f"/{Path(name(refused_one)).name}")
        return (AWSResponse("", 403, HTTPHeaders(), None), refused) if is_it else None

    bucket.client.meta.events.register("before-call.s3.GetObject", answer)


def test_s3_itself_refuses_to_drop_what_was_replaced_at_the_last_moment(bucket: Bucket) -> None:
    quarantine = bucket.quarantine()
    quarantine.put([entry("1")])

    def put_another(**_: object) -> None:
        bucket.client.meta.events.unregister("before-call.s3.DeleteObject", put_another)
        quarantine.put([entry("1", b"second")])

    bucket.client.meta.events.register("before-call.s3.DeleteObject", put_another)
    assert not drop(quarantine, entry("1"))
    assert list(quarantine.entries()) == [entry("1", b"second")]


def test_a_listing_takes_a_request_for_each_1000_objects_and_the_rest_one_for_each(bucket: Bucket) -> None:
    put = [entry(f"{number}") for number in range(1_000, 2_050)]
    quarantine = bucket.quarantine()
    quarantine.put(put)
    requests: Counter[str] = Counter()
    observe_requests(bucket.client, lambda request: requests.update([request.operation]))
    listed = list(quarantine.listing())
    assert ([each.summary for each in listed], requests) == ([each.summary for each in put], {"ListObjectsV2": 2})
    assert quarantine.size() == len(put)
    assert [each for _, each in quarantine.read(listed)] == put
    assert quarantine.drop(listed) == [True] * len(put)
    assert requests == {"ListObjectsV2": 4, "GetObject": len(put), "DeleteObject": len(put)}


def objects(bucket: Bucket) -> dict[str, bytes]:
    """All objects by key, sorted."""
    listed = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    return {
        found["Key"]: bucket.client.get_object(Bucket=bucket.name, Key=found["Key"])["Body"].read() for found in listed
    }


def test_a_file_that_could_not_be_written_leaves_no_part_of_it(tmp_path: Path) -> None:
    in_the_way = tmp_path / name(entry())
    in_the_way.mkdir(parents=True)
    with pytest.raises(Unavailable, match="Is a directory"):
        DirectoryQuarantine(tmp_path).put([entry()])
    assert list(in_the_way.parent.iterdir()) == [in_the_way]
