"""Places for files: a directory of this machine, and a prefix in a bucket of S3."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from consumer.archive.place import Found
from consumer.engine.errors import Unavailable
from consumer.stores.aws import unavailable
from consumer.stores.directory import clear_scratch, content_of, opened, opened_file, written
from consumer.stores.s3 import prefix_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class DirectoryPlace:
    """Implements archive.Place in a directory. Only the owner can read it; no symbolic link is followed below it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._cleared: list[str] | None = None
        """The folder that was last cleared of incomplete files."""

    def write(self, path: str, content: bytes) -> None:
        *folders, name = _parts(path)
        with self._unavailable(path), opened(self._root, folders, make=True) as parent:
            # What a killed writer was writing is delivered again, and written to the same folder.
            if folders != self._cleared:
                clear_scratch(parent)
                self._cleared = folders
            with written(parent) as (descriptor, incomplete):
                with open(descriptor, "wb", closefd=False) as output:
                    output.write(content)
                os.fsync(descriptor)
                os.replace(incomplete, name, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)

    def read(self, path: str) -> bytes:
        *folders, name = _parts(path)
        with (
            self._unavailable(path),
            opened(self._root, folders) as parent,
            opened_file(name, parent) as descriptor,
        ):
            return content_of(descriptor)

    def list(self, prefix: str = "") -> Iterator[Found]:
        folder = prefix[: prefix.rfind("/") + 1]
        with self._unavailable(folder), suppress(FileNotFoundError):
            for found in _walk(self._root.joinpath(*_parts(folder[:-1]) if folder else ()), folder):
                if found.path.startswith(prefix):
                    yield found

    @contextmanager
    def _unavailable(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(f"archive {self._root / path}: {error.strerror}") from error


class S3Place:
    """Implements archive.Place in a bucket, below a prefix."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix_of(prefix, default="")

    def write(self, path: str, content: bytes) -> None:
        with self._unavailable():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + path, Body=content)

    def read(self, path: str) -> bytes:
        with self._unavailable():
            return self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)["Body"].read()

    def list(self, prefix: str = "") -> Iterator[Found]:
        paginator = self._client.get_paginator("list_objects_v2")
        with self._unavailable():
            for page in paginator.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for found in page.get("Contents", []):
                    yield Found(found["Key"].removeprefix(self._prefix), found["Size"])

    def _unavailable(self) -> AbstractContextManager[None]:
        return unavailable(f"archive bucket {self._bucket}")


def _parts(path: str) -> list[str]:
    """The names in a path. Raises Unavailable if it would lead out of the place."""
    names = path.split("/")
    if {"", ".", ".."} & set(names):
        raise Unavailable(f"not the path of a file: {path!r}")
    return names


def _walk(folder: Path, before: str) -> Iterator[Found]:
    """Regular files in the order of their paths. Hidden files are incomplete ones."""
    for each in sorted(os.scandir(folder), key=lambda each: each.name + "/" * each.is_dir(follow_symlinks=False)):
        if each.name.startswith("."):
            continue
        if each.is_dir(follow_symlinks=False):
            yield from _walk(Path(each.path), f"{before}{each.name}/")
        elif each.is_file(follow_symlinks=False):
            yield Found(before + each.name, each.stat().st_size)
