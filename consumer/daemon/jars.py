"""The KCL's jars: where they are, and whether they match jars.lock.

`python -m consumer.daemon.jars verify` compares the installed jars with jars.lock and prints one line per difference.
`python -m consumer.daemon.jars lock [SDIST]` updates jars.lock after an upgrade of amazon-kclpy.
"""

import argparse
import hashlib
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


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Maven coordinates of an artifact."""

    group: str
    artifact: str
    version: str

    @property
    def file(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


@dataclass(frozen=True, slots=True)
class Locked:
    """An entry of jars.lock; `sha256` in lower-case hex."""

    coordinates: Coordinates
    sha256: str


def jars_directory() -> Path:
    """Where amazon_kclpy keeps its jars. Raises SettingsError when it is not installed."""
    package = util.find_spec("amazon_kclpy")
    if package is None or package.origin is None:
        raise SettingsError(["amazon-kclpy is not installed"])
    return Path(package.origin).with_name("jars")


def class_path(first: Path) -> list[Path]:
    """The class path of the daemon: the jar `first`, then the jars of jars.lock, in the order of their names."""
    folder = jars_directory()
    return [first, *(folder / name for name in sorted(jar.coordinates.file for jar in locked()))]


def locked() -> list[Locked]:
    """The entries of the committed lock."""
    return parse_lock(LOCK.read_text(encoding="ascii"))


def path_of(artifact: str) -> Path:
    """The installed jar of an artifact in jars.lock."""
    found = next(
        jar.coordinates for jar in parse_lock(LOCK.read_text(encoding="ascii")) if jar.coordinates.artifact == artifact
    )
    return jars_directory() / found.file


def versions() -> str:
    """The versions of this package, amazon_kclpy and, according to jars.lock, the KCL."""
    ours, kclpy = metadata.version("limits-consumer"), metadata.version("amazon-kclpy")
    jars = (jar.coordinates for jar in locked())
    kcl = next(jar.version for jar in jars if jar.artifact == "amazon-kinesis-client")
    return f"consumer {ours}, amazon_kclpy {kclpy}, KCL {kcl}"


def parse_lock(text: str) -> list[Locked]:
    """The entries `group:artifact:version:sha256`, one per line; skips blank lines and `#` comments."""
    lines = (line.strip() for line in text.splitlines())
    fields = (line.split(":") for line in lines if line and not line.startswith("#"))
    return [Locked(Coordinates(*field[:3]), field[3]) for field in fields]


def problems(locked: Sequence[Locked], jars: Path) -> list[str]:
    """The differences between the lock and the jars in the folder `jars`, one line each."""
    if not jars.is_dir():
        return [f"{jars} does not exist: reinstall amazon-kclpy"]
    wanted = {jar.coordinates.file for jar in locked}
    # Java expands "folder/*" to these two spellings of the suffix and nothing else.
    present = {path.name for path in jars.iterdir() if path.suffix in (".jar", ".JAR")}
    found = (_difference(jar, jars / jar.coordinates.file) for jar in locked)
    unlocked = [f"{name}: unexpected, it is not in jars.lock" for name in sorted(present - wanted)]
    return [line for line in found if line] + unlocked


def _difference(jar: Locked, path: Path) -> str | None:
    if not path.is_file():
        return f"{path.name}: missing"
    if _sha256(path) == jar.sha256:
        return None
    # The table of contents of a zip file is at its end, so an incomplete download has none.
    return f"{path.name}: {'altered' if zipfile.is_zipfile(path) else 'truncated, or not a jar'}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def installed_problems() -> list[str]:
    """The differences between the installed jars and the committed lock."""
    return problems(locked(), jars_directory())


def coordinates(pom: str) -> list[Coordinates]:
    """The dependencies in amazon-kclpy's pom.xml, with version properties resolved."""
    root = ET.fromstring(pom)  # noqa: S314 - from the sdist that pip fetched and whose code it ran
    properties = root.iterfind("{*}properties/*")
    versions = {f"${{{item.tag.rpartition('}')[2]}}}": item.text or "" for item in properties}
    return [Coordinates(*_fields(dependency, versions)) for dependency in root.iterfind(".//{*}dependency")]


def _fields(dependency: ET.Element, versions: Mapping[str, str]) -> Iterator[str]:
    for name in ("groupId", "artifactId", "version"):
        text = (dependency.findtext(f"{{*}}{name}") or "").strip()
        yield versions.get(text, text)


def lock(artifacts: Sequence[Coordinates], jars: Path) -> str:
    """The text of jars.lock for `artifacts` in the folder `jars`. Raises OSError when one is missing."""
    ordered = sorted(artifacts, key=lambda jar: (jar.group, jar.artifact))
    lines = (f"{jar.group}:{jar.artifact}:{jar.version}:{_sha256(jars / jar.file)}\n" for jar in ordered)
    return "# group:artifact:version:sha256 of every jar of amazon-kclpy. Written by `make jars-lock`.\n" + "".join(
        lines
    )


def _pom(sdist: Path) -> str:
    """The pom.xml of an sdist; wheels do not contain it."""
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
    """The exit code: 0 the jars match the lock, 1 they differ."""
    parser = argparse.ArgumentParser(prog="python -m consumer.daemon.jars")
    parser.add_argument("action", choices=("verify", "lock"))
    parser.add_argument("sdist", nargs="?", type=Path, help="the sdist of amazon-kclpy; downloaded with pip by default")
    chosen = parser.parse_args(arguments)
    if chosen.action == "lock":
        pom = _pom(chosen.sdist) if chosen.sdist else _fetched_pom()
        LOCK.write_text(lock(coordinates(pom), jars_directory()), encoding="ascii")
    found = installed_problems()
    sys.stderr.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
