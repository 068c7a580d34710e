"""The contents of the images: what must be in them, and what must not."""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from consumer.daemon import aot_cache, shim_jar
from consumer.daemon.jars import parse_lock, problems
from deploy.image import BILLS, export, version
from tests.support.driven.container import Image

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("pip", "pip3", "gcc", "cc", "g++", "ld", "as", "make", "cmake", "javac", "mvn", "git", "curl", "wget", "uv")
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(str(problem) if problem else 0)
"""


@pytest.fixture(params=["consumer", "lambda"])
def image(request: pytest.FixtureRequest) -> Image:
    found: Image = request.getfixturevalue(f"{request.param}_image")
    return found


def test_the_user_is_numeric_and_no_command_needs_a_shell(image: Image) -> None:
    assert image.config["User"] == "10001:10001"
    assert image.command[0] in ("consumer", "python3")


def test_the_image_runs_the_service_and_checks_its_health(consumer_image: Image) -> None:
    assert consumer_image.command == ["consumer", "run"]
    assert consumer_image.health_check == ["consumer", "doctor", "--live"]


def test_lambda_calls_the_handler(lambda_image: Image) -> None:
    assert lambda_image.command == ["python3", "-m", "awslambdaric", "consumer.aws_lambda.handler.handler"]


def test_the_labels_name_the_version_and_the_revision(image: Image) -> None:
    labels = {
        name.rpartition(".")[2]: value for name, value in image.config["Labels"].items() if "opencontainers" in name
    }
    assert labels["version"] == version()
    assert labels["revision"] != "unknown"
    assert {"title", "description", "licenses"} <= labels.keys()


def test_no_tool_that_builds_or_downloads_is_installed(image: Image) -> None:
    folders = [image.root / folder for folder in ("usr/bin", "usr/sbin", "usr/local/bin", "opt/consumer/bin")]
    assert [str(folder / tool) for folder in folders for tool in TOOLS if (folder / tool).exists()] == []
    assert {name for name, _ in installed(image)} & {"pip", "setuptools", "wheel"} == set()
    assert list(image.root.glob("usr/lib/python3*/ensurepip/_bundled")) == []


def test_the_jars_match_the_lock(consumer_image: Image) -> None:
    (jars,) = consumer_image.root.glob("opt/consumer/lib/python3*/site-packages/amazon_kclpy/jars")
    assert problems(locked(), jars) == []


def test_the_aot_cache_and_the_first_jar_are_those_of_the_lock(consumer_image: Image) -> None:
    folder = consumer_image.root / "opt" / "consumer" / "lib" / "limits-consumer"
    assert sorted(path.name for path in folder.iterdir()) == [aot_cache.cache().name, shim_jar.FILE]
    assert (folder / shim_jar.FILE).read_bytes() == shim_jar.contents()


def test_the_bill_of_materials_is_valid(image: Image) -> None:
    python = ROOT / ".venv-deploy" / "bin" / "python"
    validated = subprocess.run(
        [python, "-c", VALIDATE], input=json.dumps(bill(image)), text=True, capture_output=True, check=False
    )
    assert validated.returncode == 0, validated.stderr


def test_the_bill_names_every_package_and_every_jar_with_its_hash(consumer_image: Image) -> None:
    components = bill(consumer_image)["components"]
    hashed = {component["purl"]: component["hashes"][0]["content"] for component in components if "hashes" in component}
    (jars,) = consumer_image.root.glob("opt/consumer/lib/python3*/site-packages/amazon_kclpy/jars")
    on_disk = {hashlib.sha256(path.read_bytes()).hexdigest() for path in jars.glob("*.jar")}

    assert {purl for purl in hashed if purl.startswith("pkg:pypi/")} == set(purls(consumer_image)) - {
        own(consumer_image)
    }
    assert {sha256 for purl, sha256 in hashed.items() if purl.startswith("pkg:maven/")} == on_disk
    assert [component["name"] for component in components if "hashes" not in component] == ["openjdk"]


def test_the_functions_bill_names_every_package(lambda_image: Image) -> None:
    named = {component["purl"] for component in bill(lambda_image)["components"]}
    assert named == set(purls(lambda_image))


def test_docker_load_can_read_the_archive_and_its_bill_is_exported(lambda_image: Image, tmp_path: Path) -> None:
    export("lambda", tmp_path)
    with tarfile.open(tmp_path / "limits-consumer-lambda.tar") as archive:
        (manifest,) = json.load(archive.extractfile("manifest.json") or io.BytesIO())
    assert {tag.rpartition("/")[2] for tag in manifest["RepoTags"]} == {"limits-consumer:lambda"}
    assert json.loads((tmp_path / "limits-consumer-lambda.cdx.json").read_text()) == bill(lambda_image)


def bill(image: Image) -> dict[str, Any]:
    (path,) = (image.root / place for place in BILLS.values() if (image.root / place).exists())
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def own(image: Image) -> str:
    return str(bill(image)["metadata"]["component"]["purl"])


def purls(image: Image) -> Iterator[str]:
    return (f"pkg:pypi/{name}@{version}" for name, version in installed(image))


def installed(image: Image) -> Iterator[tuple[str, str]]:
    """Names and versions of the Python packages."""
    folders = (*image.root.glob("opt/consumer/lib/python3*/site-packages"), *image.root.glob("opt/runtime"))
    for found in metadata.distributions(path=[str(path) for path in (*folders, image.root / "var" / "task")]):
        yield found.name.lower().replace("_", "-").replace(".", "-"), found.version


def locked() -> Any:
    return parse_lock((ROOT / "consumer" / "daemon" / "jars.lock").read_text(encoding="ascii"))
