"""Packs the Lambda function: `make lambda-zip`, or python -m deploy.lambda_zip [--arch aarch64] [--python 3.12].

The same files give the same bytes, wherever and whenever they are packed: names are sorted, times and permissions
are fixed, and the wheels are those of the lock, by hash, unpacked as they are. There is no bytecode: it would depend
on the very build of Python.
"""

import argparse
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
LOCK = Path("requirements", "lambda.txt")
OUT = ROOT / "dist" / "lambda.zip"

MOST_BYTES = 30_000_000
PLATFORM = "manylinux2014"
"""Fits every Python runtime of Lambda: Amazon Linux 2 has glibc 2.26, and later ones newer."""
SERVICES = frozenset({"dynamodb", "s3", "sts"})
"""Whose descriptions are kept of botocore's: it has those of all of AWS, most of its size."""
PACKED_OF_MONITORING = frozenset({"__init__.py", "metrics.py", "emf.py", "logs.py"})
NOT_PACKED = ("__main__.py", "admin/", "cli/", "daemon/", "kcl/", "supervisor/", "limits/sample.py", "limits/schema.py")
"""Of the package: what only the container, the command line and trials need."""
THE_PAST = (1980, 1, 1, 0, 0, 0)
FILE_MODE = 0o100644


class TooLargeError(Exception):
    """The archive is larger than a function's should be."""


@dataclass(frozen=True)
class Target:
    """What the function runs on: `arch` as uname has it, `python` as in 3.11."""

    arch: str = "x86_64"
    python: str = "3.11"


def build(target: Target, checkout: Path = ROOT) -> bytes:
    """The archive of the service in `checkout`. Raises TooLargeError."""
    archive = pack(dict(contents(target, checkout)))
    if len(archive) > MOST_BYTES:
        raise TooLargeError(f"{len(archive):,} bytes, {MOST_BYTES:,} at the most")
    return archive


def contents(target: Target, checkout: Path) -> Iterator[tuple[str, bytes]]:
    """Every file's name in the archive, and its bytes."""
    for wheel in wheels(target, checkout / LOCK):
        yield from unpacked(wheel)
    package = checkout / "consumer"
    for path in package.rglob("*.py"):
        name = path.relative_to(package).as_posix()
        if not name.startswith(NOT_PACKED) and (path.parent.name != "monitoring" or path.name in PACKED_OF_MONITORING):
            yield f"consumer/{name}", path.read_bytes()


def pack(files: Mapping[str, bytes]) -> bytes:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zipped:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, THE_PAST)
            entry.create_system = 3  # Unix, whatever this is
            entry.external_attr = FILE_MODE << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            zipped.writestr(entry, files[name])
    return archive.getvalue()


def unpacked(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """What of a wheel belongs on the path: no scripts, no record of what was installed."""
    with zipfile.ZipFile(wheel) as zipped:
        for name in zipped.namelist():
            place = placed(name)
            if place and not name.endswith("/"):
                yield place, zipped.read(name)


def placed(name: str) -> str | None:
    """Where a wheel's file belongs, None for nowhere."""
    top, *rest = name.split("/")
    if top.endswith(".data"):
        return "/".join(rest[1:]) if rest[0] in ("purelib", "platlib") else None
    if top.endswith(".dist-info") and rest == ["RECORD"]:
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
    """Has pip check every hash; a package without a wheel for the target fails."""
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
    parser = argparse.ArgumentParser(description="Pack the Lambda function, the same bytes every time.")
    parser.add_argument("--arch", choices=["x86_64", "aarch64"], default=Target.arch, help="aarch64 is arm64")
    parser.add_argument("--python", default=Target.python, help="version of the runtime, as in 3.11")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    archive = build(Target(asked.arch, asked.python))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_bytes(archive)
    digest = hashlib.sha256(archive).hexdigest()
    print(f"{asked.out}: {len(archive):,} bytes, {asked.arch}, Python {asked.python}, sha256 {digest}")


if __name__ == "__main__":
    main()
