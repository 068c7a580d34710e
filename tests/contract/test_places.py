"""The contract of all places: in memory, a directory, and a prefix in a bucket."""

import fcntl
from pathlib import Path

import pytest

from consumer.archive.place import Found, InMemoryPlace, Place
from consumer.engine.errors import Unavailable
from consumer.stores.places import DirectoryPlace, S3Place
from tests.contract.conftest import Bucket

PATHS = ("a-b/x.json.gz", "a.json.gz", "a/b=1/c.json.gz", "a/b=1/d.json.gz", "a/x.json.gz", "b/x.json.gz")
"""In the order of their bytes, which is not the order of their folders' names."""


@pytest.fixture(params=["memory", "directory", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        return InMemoryPlace()
    if request.param == "directory":
        return DirectoryPlace(tmp_path / "not" / "there yet")
    bucket: Bucket = request.getfixturevalue("bucket")
    return S3Place(bucket.client, bucket.name, "/some/prefix")


def test_an_empty_place_has_no_files(files: Place) -> None:
    assert list(files.list()) == []
    assert list(files.list("a/")) == []


@pytest.mark.parametrize("content", [b"", b"\0\x1f\x8b", b"x" * 1_000_000], ids=len)
def test_what_is_written_is_read(files: Place, content: bytes) -> None:
    files.write("a/b=1/c.json.gz", content)
    assert files.read("a/b=1/c.json.gz") == content


def test_writing_again_overwrites(files: Place) -> None:
    files.write("a/x", b"first")
    files.write("a/x", b"second one")
    assert files.read("a/x") == b"second one"
    assert list(files.list()) == [Found("a/x", 10)]


def test_files_are_listed_in_the_order_of_their_paths(files: Place) -> None:
    for number, path in enumerate(reversed(PATHS)):
        files.write(path, b"x" * number)
    assert list(files.list()) == [Found(path, len(PATHS) - 1 - number) for number, path in enumerate(PATHS)]


@pytest.mark.parametrize("prefix", ["a", "a/", "a/b=1/", "a/b=1/c", "a/b", "b/", "c", "c/d/", "a.json.gz"])
def test_a_prefix_need_not_be_a_folder(files: Place, prefix: str) -> None:
    for path in PATHS:
        files.write(path, b"")
    assert [found.path for found in files.list(prefix)] == [path for path in PATHS if path.startswith(prefix)]


def test_a_file_that_is_not_there_is_unavailable(files: Place) -> None:
    with pytest.raises(Unavailable, match="archive"):
        files.read("a/x")


def test_a_bucket_that_is_not_there_is_unavailable(bucket: Bucket) -> None:
    place = S3Place(bucket.client, f"{bucket.name}-2", "")
    for attempt in (lambda: place.write("a", b""), lambda: place.read("a"), lambda: list(place.list())):
        with pytest.raises(Unavailable, match=f"^archive bucket {bucket.name}-2: NoSuchBucket$"):
            attempt()


def test_a_prefix_may_be_empty(bucket: Bucket) -> None:
    S3Place(bucket.client, bucket.name, "").write("a/x", b"1")
    S3Place(bucket.client, bucket.name, "/a/").write("y", b"2")
    keys = [found["Key"] for found in bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]]
    assert keys == ["a/x", "a/y"]


def test_files_and_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    DirectoryPlace(tmp_path / "archive").write("a/b/c", b"personal")
    made = [tmp_path / "archive" / path for path in (".", "a", "a/b", "a/b/c")]
    assert [path.stat().st_mode & 0o777 for path in made] == [0o700, 0o700, 0o700, 0o600]


def test_incomplete_files_and_links_are_not_listed(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path)
    place.write("a/x", b"1")
    (tmp_path / "a" / f".{'0' * 32}.tmp").write_bytes(b"half")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "x")
    (tmp_path / "folder").symlink_to(tmp_path / "a")
    assert [found.path for found in place.list()] == ["a/x"]


STALE, HELD = f".{'0f' * 16}.tmp", f".{'f0' * 16}.tmp"


def test_the_next_writer_in_a_folder_removes_what_killed_ones_left(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path)
    place.write("a/x", b"1")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / STALE).write_bytes(b"half")
    place.write("a/y", b"2")
    assert (tmp_path / "a" / STALE).exists(), "a folder is looked through once"
    DirectoryPlace(tmp_path).write("a/y", b"3")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["x", "y"]
    assert (tmp_path / "b" / STALE).exists(), "nobody writes there"


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    """A file that is being written, what is not a file, and files that only resemble one."""
    theirs = {HELD, STALE, f".{'1' * 32}.tmp", ".note.tmp", f"{'0' * 32}.tmp", f".{'0' * 31}.tmp"}
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / STALE).mkdir()
    (folder / f".{'1' * 32}.tmp").symlink_to(tmp_path)
    for name in sorted(theirs):
        if not (folder / name).is_dir():
            (folder / name).write_bytes(b"theirs")
    with (folder / HELD).open("rb") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        DirectoryPlace(tmp_path).write("a/x", b"1")
    assert {path.name for path in folder.iterdir()} == {*theirs, "x"}
    DirectoryPlace(tmp_path).write("a/x", b"2")
    assert {path.name for path in folder.iterdir()} == {*theirs - {HELD}, "x"}


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "a//x", "a/.", "", "..", "link/x"])
def test_no_path_leads_out_of_a_directory(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    (tmp_path / "x").write_bytes(b"outside")
    place = DirectoryPlace(root)
    with pytest.raises(Unavailable):
        place.write(path, b"overwritten")
    with pytest.raises(Unavailable):
        place.read(path)
    assert (tmp_path / "x").read_bytes() == b"outside"


def test_a_file_that_could_not_be_written_leaves_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "a" / "x").mkdir(parents=True)
    with pytest.raises(Unavailable, match=r"^archive .*/a/x: Is a directory$"):
        DirectoryPlace(tmp_path).write("a/x", b"1")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x"]
