"""What `make package` built, and an empty environment into which the wheel is installed as by a user."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.emulators.aws import ROOT
from tests.support.generators.projects import EXAMPLES

DIST = ROOT / "dist"


def built(pattern: str) -> Path:
    found = list(DIST.glob(pattern))
    assert len(found) == 1, f"{found}: run `make package`"
    return found[0]


@pytest.fixture(scope="session")
def wheel() -> Path:
    return built("limits_consumer-*.whl")


@pytest.fixture(scope="session")
def source() -> Path:
    return built("limits_consumer-*.tar.gz")


@dataclass(frozen=True)
class Installed:
    """A virtual environment in `home`. Commands run there, and get nothing from the environment of the test."""

    home: Path

    @property
    def bin(self) -> Path:
        return self.home / "venv" / "bin"

    def run(self, *command: str, **variables: str) -> str:
        """The output of a command of the environment."""
        environment = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.home), **variables}
        return self._run(command, environment)

    def pip(self, *arguments: str) -> str:
        """pip finds its index as it does elsewhere on this machine."""
        return self._run(("python", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments), os.environ)

    def _run(self, command: tuple[str, ...], environment: Mapping[str, str]) -> str:
        name, *arguments = command
        line = [str(self.bin / name), *arguments]
        done = subprocess.run(line, cwd=self.home, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    made = Installed(tmp_path_factory.mktemp("home"))
    subprocess.run([sys.executable, "-m", "venv", made.home / "venv"], check=True)
    locks = ROOT / "requirements"
    made.pip("install", "--require-hashes", "--only-binary", ":all:", "-r", str(locks / "build.txt"))
    made.pip("install", "--require-hashes", "--no-build-isolation", "-r", str(locks / "run.txt"))
    made.pip("install", "--no-index", "--no-deps", str(wheel))
    return made


@pytest.fixture(scope="session")
def with_projections(installed: Installed) -> Installed:
    """The same environment, with the projections of `examples/` installed too, each from a copy of its project."""
    installed.pip("install", "--require-hashes", "-r", str(ROOT / "requirements" / "examples.txt"))
    for name, example in EXAMPLES.items():
        project = installed.home / name
        shutil.copytree(example.folder, project, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
        installed.pip("install", "--no-index", "--no-deps", "--no-build-isolation", str(project))
    installed.pip("check")
    return installed
