"""Packs the Lambda functions: python -m deploy.lambda_zip [--api] [--arch aarch64] [--python 3.12] [--add FOLDER].

There are two archives: `make lambda-zip` packs the functions of the limits and of notices, `make lambda-api-zip` that
of the HTTP API, which needs more packages.

An archive is reproducible: names are sorted, times and permissions are fixed, and the wheels are those of the lock, by
hash, unpacked unchanged. It contains no bytecode, which would depend on the build of Python.
"""

import argparse
import hashlib
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
LOCK = Path("requirements", "lambda.txt")

MOST_BYTES = 30_000_000
PLATFORM = "manylinux2014"
"""Works on every Python runtime of Lambda: Amazon Linux 2 has glibc 2.26, and later versions have newer ones."""
SERVICES = frozenset({"dynamodb", "events", "s3", "sts"})
"""Service descriptions of botocore to keep. Those of all of AWS are most of its size."""
THE_PAST = (1980, 1, 1, 0, 0, 0)
FILE_MODE = 0o100644


OF_INSTALLER = (["RECORD"], ["INSTALLER"], ["REQUESTED"], ["direct_url.json"])
"""Files of a `.dist-info` that say how, and on which machine, a package was installed."""


class TooLargeError(Exception):
    """The archive is larger than `MOST_BYTES`."""


class AddedTwiceError(Exception):
    """A file of an added folder would replace one of the archive."""


@dataclass(frozen=True)
class Package:
    """An archive: its name, the lock of its wheels, the parts of the service that it leaves out.

    Of `consumer/monitoring/` it contains only the modules in `monitoring`.
    """

    name: str
    lock: Path
    left_out: tuple[str, ...]
    monitoring: frozenset[str]

    def contains(self, name: str) -> bool:
        """Whether a module of `consumer/` is in the archive."""
        folder, _, file = name.partition("/")
        return not name.startswith(self.left_out) and (folder != "monitoring" or file in self.monitoring)


ELSEWHERE = ("__main__.py", "admin/", "cli/", "daemon/", "kcl/", "supervisor/", "testing.py", "limits/sample.py")
"""Parts of the service that only the container and the command line need."""
MONITORING = frozenset({"__init__.py", "metrics.py", "emf.py", "logs.py"})

LIMITS = Package(
    "lambda.zip",
    LOCK,
    (*ELSEWHERE, "api/", "aws_lambda/api.py", "aws_lambda/gateway.py", "limits/answers.py", "limits/schema.py"),
    MONITORING,
)
API = Package(
    "limits-api.zip",
    Path("requirements", "lambda-api.txt"),
    (*ELSEWHERE, "api/server.py"),
    MONITORING | {"prometheus.py", "responses.py"},
)


@dataclass(frozen=True)
class Target:
    """The runtime of the function: `arch` as printed by uname, `python` such as 3.11."""

    arch: str = "x86_64"
    python: str = "3.11"


def build(target: Target, checkout: Path = ROOT, package: Package = LIMITS, added: Path | None = None) -> bytes:
    """The archive of the service in `checkout`, with the packages that pip has installed into the folder `added`.

    Raises TooLargeError and AddedTwiceError.
    """
    files = dict(contents(target, checkout, package))
    more = dict(installed(added)) if added else {}
    if twice := sorted(files.keys() & more.keys()):
        raise AddedTwiceError(f"{added}/{twice[0]} is in the archive already: install without dependencies (--no-deps)")
    archive = pack(files | more)
    if len(archive) > MOST_BYTES:
        raise TooLargeError(f"the archive has {len(archive):,} bytes; at most {MOST_BYTES:,} are allowed")
    return archive


def contents(target: Target, checkout: Path, package: Package) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of every file in the archive."""
    for wheel in wheels(target, checkout / package.lock):
        yield from unpacked(wheel)
    folder = checkout / "consumer"
    for path in folder.rglob("*.py"):
        name = path.relative_to(folder).as_posix()
        if package.contains(name):
            yield f"consumer/{name}", path.read_bytes()
    if package is API:
        yield metadata(checkout / "pyproject.toml")


def installed(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The files of packages that `pip install --target` has put into a folder. Raises FileNotFoundError."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.suffix != ".pyc" and placed(name):
            yield name, path.read_bytes()


def metadata(project: Path) -> tuple[str, bytes]:
    """Name and version as an installer would write them: the OpenAPI document contains the version."""
    found = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    name, version = found["name"], found["version"]
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    return f"{name.replace('-', '_')}-{version}.dist-info/METADATA", text.encode()


def pack(files: Mapping[str, bytes]) -> bytes:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zipped:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, THE_PAST)
            entry.create_system = 3  # Unix, on any system
            entry.external_attr = FILE_MODE << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            zipped.writestr(entry, files[name])
    return archive.getvalue()


def unpacked(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """The importable files of a wheel, without scripts and the record of installed files."""
    with zipfile.ZipFile(wheel) as zipped:
        for name in zipped.namelist():
            place = placed(name)
            if place and not name.endswith("/"):
                yield place, zipped.read(name)


def placed(name: str) -> str | None:
    """The path of a wheel's file in the archive, None to leave it out."""
    top, *rest = name.split("/")
    if top.endswith(".data"):
        return "/".join(rest[1:]) if rest[0] in ("purelib", "platlib") else None
    if top.endswith(".dist-info") and rest in OF_INSTALLER:
        return None
    is_description = len(rest) > 2 and (top, rest[0]) in (("botocore", "data"), ("boto3", "data"))
    return None if is_description and rest[1] not in SERVICES else name


def wheels(target: Target, lock: Path) -> list[Path]:
    """The wheels of the lock, downloaded once and kept in `build/`."""
    stamp = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    kept = ROOT / "build" / "lambda" / f"{target.python}-{target.arch}-{stamp}"
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=kept.parent) as scratch:
            download(target, lock, Path(scratch, "wheels"))
            Path(scratch, "wheels").rename(kept)
    return sorted(kept.glob("*.whl"))


def download(target: Target, lock: Path, into: Path) -> None:
    """Downloads with pip, which checks every hash, and fails for a package without a wheel for the target."""
    options = {
        "--platform": f"{PLATFORM}_{target.arch}",
        "--python-version": target.python,
        "--abi": f"cp{target.python.replace('.', '')}",
        "--implementation": "cp",
        "--only-binary": ":all:",
        "--requirement": str(lock),
        "--dest": str(into),
    }
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "download"]
    subprocess.run([*pip, "--no-deps", "--require-hashes", *_flat(options.items())], check=True)


def _flat(options: Iterable[tuple[str, str]]) -> list[str]:
    return [word for option in options for word in option]


def main() -> None:
    parser = argparse.ArgumentParser(description="Pack a Lambda function reproducibly.")
    parser.add_argument("--api", action="store_const", const=API, default=LIMITS, dest="package", help="the HTTP API")
    parser.add_argument("--arch", choices=["x86_64", "aarch64"], default=Target.arch, help="aarch64 is arm64")
    parser.add_argument("--python", default=Target.python, help="version of the runtime, for example 3.11")
    parser.add_argument("--add", type=Path, help="a folder of packages that pip has installed with --target")
    parser.add_argument("--out", type=Path, help="the file to write; by default dist/ and the archive's name")
    options = parser.parse_args()
    try:
        archive = build(Target(options.arch, options.python), package=options.package, added=options.add)
    except (AddedTwiceError, FileNotFoundError, TooLargeError) as error:
        parser.error(str(error))
    out: Path = options.out or ROOT / "dist" / options.package.name
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(archive)
    digest = hashlib.sha256(archive).hexdigest()
    print(f"{out}: {len(archive):,} bytes, {options.arch}, Python {options.python}, sha256 {digest}")


if __name__ == "__main__":
    main()
