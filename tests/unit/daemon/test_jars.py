"""Each difference between the jars and the lock is one line."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from consumer.daemon import jars as jars_module
from consumer.daemon.jars import Coordinates, Locked


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    folder = tmp_path / "jars"
    folder.mkdir()
    for name in ("one-1.0.jar", "two-2.0.jar"):
        with zipfile.ZipFile(folder / name, "w") as jar:
            jar.writestr("inside", name * 1000)
    (folder / "__init__.py").touch()
    return folder


@pytest.fixture
def locked(jars: Path) -> list[Locked]:
    return jars_module.parse_lock(
        jars_module.lock([Coordinates("b", "two", "2.0"), Coordinates("a", "one", "1.0")], jars)
    )


def test_jars_that_match_the_lock_have_no_problems(jars: Path, locked: list[Locked]) -> None:
    assert jars_module.problems(locked, jars) == []


def test_the_lock_names_group_artifact_version_and_hash(jars: Path, locked: list[Locked]) -> None:
    digest = hashlib.sha256((jars / "one-1.0.jar").read_bytes()).hexdigest()
    assert locked[0] == Locked(Coordinates("a", "one", "1.0"), digest)


def test_a_missing_jar_is_reported(jars: Path, locked: list[Locked]) -> None:
    (jars / "one-1.0.jar").unlink()
    assert jars_module.problems(locked, jars) == ["one-1.0.jar: missing"]


def test_an_altered_jar_is_reported(jars: Path, locked: list[Locked]) -> None:
    with zipfile.ZipFile(jars / "one-1.0.jar", "a") as jar:
        jar.writestr("more", "")
    assert jars_module.problems(locked, jars) == ["one-1.0.jar: altered"]


def test_an_incomplete_download_is_reported(jars: Path, locked: list[Locked]) -> None:
    whole = (jars / "one-1.0.jar").read_bytes()
    (jars / "one-1.0.jar").write_bytes(whole[: len(whole) // 2])
    assert jars_module.problems(locked, jars) == ["one-1.0.jar: truncated, or not a jar"]


@pytest.mark.parametrize("name", ["three-3.0.jar", "three-3.0.JAR"])
def test_an_additional_jar_that_java_would_load_is_reported(jars: Path, locked: list[Locked], name: str) -> None:
    (jars / name).touch()
    assert jars_module.problems(locked, jars) == [f"{name}: unexpected, it is not in jars.lock"]


def test_every_difference_is_one_line(jars: Path, locked: list[Locked]) -> None:
    for jar in jars.glob("*.jar"):
        jar.rename(jar.with_name(f"x{jar.name}"))
    assert len(jars_module.problems(locked, jars)) == 4


def test_a_missing_folder_is_one_line(tmp_path: Path, locked: list[Locked]) -> None:
    assert len(jars_module.problems(locked, tmp_path / "none")) == 1


def test_the_committed_lock_has_the_kcl_and_no_duplicates() -> None:
    locked = jars_module.parse_lock(jars_module.LOCK.read_text(encoding="ascii"))
    names = [(jar.coordinates.group, jar.coordinates.artifact) for jar in locked]
    assert ("software.amazon.kinesis", "amazon-kinesis-client-multilang") in names
    assert len(set(names)) == len(names)


def test_verify_exits_with_1_and_prints_one_line_per_difference(
    jars: Path, locked: list[Locked], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (jars / "one-1.0.jar").unlink()
    monkeypatch.setattr(jars_module, "installed_problems", lambda: jars_module.problems(locked, jars))
    assert jars_module.main(["verify"]) == 1
    assert capsys.readouterr().err == "one-1.0.jar: missing\n"


POM = """<project xmlns="urn:a-pom">
  <properties><sdk.version>2.33.0</sdk.version></properties>
  <dependencies>
    <dependency><groupId>g</groupId><artifactId>a</artifactId><version>${sdk.version}</version></dependency>
    <dependency><groupId>h</groupId><artifactId>b</artifactId><version>1.0</version></dependency>
  </dependencies>
</project>"""


def test_the_coordinates_are_read_from_the_pom_of_amazon_kclpy() -> None:
    assert jars_module.coordinates(POM) == [Coordinates("g", "a", "2.33.0"), Coordinates("h", "b", "1.0")]
