"""docs/how-to/test.md names the emulators' versions, the files and the targets as they are."""

import json
import re
from pathlib import Path

import pytest

from tests.faults.conftest import LONGEST
from tests.support.emulators.aws import ROOT
from tests.support.emulators.place import KINDS

PAGE = Path(ROOT, "docs", "how-to", "test.md").read_text(encoding="utf-8")
CONFORMANCE = ROOT / "tests" / "conformance"


def test_the_versions_are_those_that_are_locked() -> None:
    versions = {
        "MiniStack": _pinned("ministack.in", "ministack"),
        "LocalStack": _pinned("localstack.in", "localstack-core[runtime]"),
        "kinesis-mock": _npm("kinesis-mock"),
        "DynamoDB Local": _first(
            r"<version>([0-9.]+)</version>\s*</dependency>", CONFORMANCE / "dynamodb-local" / "pom.xml"
        ),
    }

    assert [f"{name} {version}" for name, version in versions.items() if f"{name} {version}" not in PAGE] == []
    assert f"kinesis-mock {_npm('localstack')} behind LocalStack" in PAGE


def test_every_place_and_target_exists() -> None:
    makefile = Path(ROOT, "Makefile").read_text(encoding="utf-8")

    assert set(re.findall(r"CONSUMER_TEST_AWS=([a-z-]+)", PAGE)) < set(KINDS)
    for target in set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", PAGE, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_fault_tests_that_begin_first_exist() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / "faults" / name).exists()] == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:tests|docs|deploy|requirements)/[\w/.-]+\w", PAGE))))
def test_every_file_exists(path: str) -> None:
    assert Path(ROOT, path).exists()


def _pinned(file: str, package: str) -> str:
    return _first(rf"^{re.escape(package)}==([0-9.]+)$", ROOT / "requirements" / file)


def _npm(name: str) -> str:
    package = json.loads((CONFORMANCE / name / "package.json").read_text(encoding="utf-8"))
    return str(package["dependencies"]["kinesis-local"])


def _first(pattern: str, file: Path) -> str:
    found = re.search(pattern, file.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, file
    return found[1]
