"""Fetches DynamoDB Local (Maven), kinesis-mock, LocalStack's Kinesis and axe-core (npm) into .tools/, as locked.

    fetch.py dynamodb-local kinesis-mock localstack axe-core

Each is fetched to a temporary folder, checked, and then moved into place, so what is in .tools/ is complete. It is not
fetched again while it matches its lock. `--lock` rewrites the lock of DynamoDB Local from what Maven downloads.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parents[1] / ".tools"

POM = HERE / "dynamodb-local" / "pom.xml"
JARS_LOCK = HERE / "dynamodb-local" / "jars.lock"
JARS = TOOLS / "dynamodb-local" / "lib"

NPM = ("kinesis-mock", "localstack", "axe-core")
"""Names of folders with npm's files here, and of the installed folders in .tools/."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", action="store_true", help="rewrite dynamodb-local/jars.lock")
    parser.add_argument("names", nargs="*", choices=["dynamodb-local", *NPM], help="what to fetch")
    arguments = parser.parse_args()
    if arguments.lock:
        lock_dynamodb_local()
    for name in arguments.names:
        if name in NPM:
            fetch_npm(name)
        else:
            fetch_dynamodb_local()


def lock_dynamodb_local() -> None:
    JARS_LOCK.write_text(_hashes(_download_jars()))


def fetch_dynamodb_local() -> None:
    locked = JARS_LOCK.read_text()
    if _hashes(JARS) == locked:
        return
    fetched = _download_jars()
    if differing := sorted(set(_hashes(fetched).splitlines()) ^ set(locked.splitlines())):
        sys.exit("DynamoDB Local does not match jars.lock:\n" + "\n".join(differing))
    _move(fetched, JARS)


def fetch_npm(name: str) -> None:
    lock, place = "package-lock.json", TOOLS / name
    installed = place / lock
    if installed.exists() and installed.read_bytes() == (HERE / name / lock).read_bytes():
        return
    fetched = _emptied(place.with_name(f"{name}.partial"))
    for file in ("package.json", lock):
        shutil.copy(HERE / name / file, fetched)
    _run(name, ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], fetched)
    _move(fetched, place)


def _download_jars() -> Path:
    jars = _emptied(JARS.with_name("lib.partial"))
    maven = ["mvn", "--batch-mode", "--quiet", "--strict-checksums", "-Dstyle.color=never"]
    goal = ["--file", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
    _run("DynamoDB Local", maven + goal, jars)
    return jars


def _hashes(folder: Path) -> str:
    """One line per file, in the format of sha256sum."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _move(fetched: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    fetched.rename(place)


def _run(name: str, command: list[str], folder: Path) -> None:
    sys.stdout.write(f"Fetching {name}\n")
    sys.stdout.flush()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
