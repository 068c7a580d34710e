"""Builds the images without a container engine: `make image`, or python -m deploy.image [--base IMAGE]. As root.

buildah builds the images. Unless `--base` names a base image, debootstrap creates one once, equivalent to
debian:bookworm-slim. Everything is stored in `.image/`. The build gets this machine's registry configuration as
secrets, which are not part of any image.
"""

import argparse
import configparser
import functools
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".image"
TARBALL = PLACE / "bookworm.tar"
BASE = "localhost/bookworm"
BILLS: Mapping[str, str] = {"lambda": "var/task/sbom.cdx.json", "consumer": "opt/consumer/sbom.cdx.json"}
"""The targets, and the path of the bill of materials in each image."""
SUITES = ("bookworm", "bookworm-updates", "bookworm-security")
UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")
"""Removed from the base, as in Debian's own slim images."""
REGISTRY = ("index-url", "extra-index-url", "trusted-host", "default-timeout", "timeout")
"""The options of pip's configuration that select and reach its registry."""


class CannotBuildError(Exception):
    """A tool or permission is missing, or debootstrap failed; the message says which."""


def name(target: str) -> str:
    """The name of a target's image in the storage of `.image/`."""
    return f"localhost/limits-consumer:{target}"


def buildah(*arguments: str) -> list[str]:
    """A buildah command that uses the storage of this checkout."""
    storage = ("--root", f"{PLACE}/storage", "--runroot", f"{PLACE}/run", "--storage-driver", _driver())
    return ["buildah", *storage, *arguments]


@functools.cache
def _driver() -> str:
    """The storage driver: overlay where the kernel allows it, otherwise vfs, which copies every layer."""
    PLACE.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=PLACE) as scratch:
        tried = [
            "buildah",
            "--root",
            f"{scratch}/storage",
            "--runroot",
            f"{scratch}/run",
            "--storage-driver",
            "overlay",
        ]
        answer = subprocess.run([*tried, "info"], check=False, capture_output=True)
        unmount(Path(scratch))
    return "overlay" if answer.returncode == 0 else "vfs"


def unmount(below: Path = PLACE) -> None:
    """Unmounts what buildah left mounted on its storage: a folder with mounts cannot be removed."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    for place in sorted((place for place in mounted if Path(place).is_relative_to(below)), reverse=True):
        subprocess.run(["umount", place], check=True)


def output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def inspect(image: str) -> dict[str, Any]:
    """What buildah stores about an image; `Docker` and `config` in it is the configuration of a container."""
    found: dict[str, Any] = json.loads(output(buildah("inspect", "--type", "image", image)))
    return found


# --- The base ------------------------------------------------------------------------------------------------------


def make_base() -> str:
    """Returns the name of the base in the storage. Creates the base, and imports its archive, if it is missing."""
    if not TARBALL.exists():
        make_tarball()
    if not output(buildah("images", "--quiet", "--filter", f"reference={BASE}")):
        container = output(buildah("from", "scratch"))
        output(buildah("add", "--quiet", container, str(TARBALL), "/"))
        output(buildah("commit", "--quiet", container, BASE))
        output(buildah("rm", container))
    return BASE


def make_tarball() -> None:
    print("Creating a Debian bookworm base with debootstrap, once (takes about half a minute)", flush=True)
    with TemporaryDirectory(dir=PLACE) as scratch:
        root, made = Path(scratch, "root"), Path(scratch, "made.tar")
        sources = list(debian())
        log = Path(scratch, "log")
        mirror = [source.split()[0] for source in sources[:1]]
        with log.open("w") as output_file:
            tried = subprocess.run(
                ["debootstrap", "--variant=minbase", "bookworm", str(root), *mirror],
                check=False,
                stdout=output_file,
                stderr=subprocess.STDOUT,
            )
        if tried.returncode:
            raise CannotBuildError(f"debootstrap failed:\n{log.read_text()[-2000:]}")
        for unused in UNUSED:
            shutil.rmtree(root / unused, ignore_errors=True)
            (root / unused).mkdir()
        if sources:
            (root / "etc/apt/sources.list").write_text("".join(f"deb {source}\n" for source in sources))
        subprocess.run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(made), "."], check=True)
        made.rename(TARBALL)


def debian() -> Iterator[str]:
    """The sources of bookworm's packages in this machine's apt configuration, the main suite first.

    Empty if there are none: debootstrap then uses Debian's own mirror.
    """
    here = []
    if shutil.which("apt-get"):
        form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
        here = output(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).splitlines()
    found = [line for line in dict.fromkeys(here) if line.split()[1] in SUITES]
    found.sort(key=lambda line: SUITES.index(line.split()[1]))
    if found and found[0].split()[1] == SUITES[0]:
        yield from found


# --- The images ----------------------------------------------------------------------------------------------------


def build(target: str, base: str) -> None:
    """Builds one target. Raises CalledProcessError; buildah has printed the error."""
    with TemporaryDirectory(dir=PLACE) as scratch:
        options = [
            *("--format", "docker", "--isolation", "chroot", "--layers", "--tag", name(target), "--target", target),
            *_flat("--build-arg", [f"{key}={value}" for key, value in arguments(base).items()]),
            *_flat("--secret", secrets(Path(scratch))),
        ]
        subprocess.run(buildah("bud", *options, str(ROOT)), check=True)


def arguments(base: str) -> dict[str, str]:
    repository = os.environ.get("KCL_MVN_REPO_SEARCH_URL")
    given = {"BASE": base, "VERSION": version(), "REVISION": revision()}
    return given | ({"KCL_MVN_REPO_SEARCH_URL": repository} if repository else {})


def version() -> str:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(document["project"]["version"])


def revision() -> str:
    """The commit of the checkout, marked `-dirty` if there are uncommitted changes."""
    describe = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    git = ["git", "-C", str(ROOT), "-c", f"safe.directory={ROOT}", *describe]
    found = subprocess.run(git, check=False, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def secrets(scratch: Path) -> Iterator[str]:
    """Build secrets: pip's registry configuration, and the certificates of this machine."""
    configuration = scratch / "pip.conf"
    configuration.touch(mode=0o600)
    with configuration.open("w") as file:
        pip_configuration(output([sys.executable, "-m", "pip", "config", "list"])).write(file)
    yield f"id=pip.conf,src={configuration}"
    if bundle := os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile:
        yield f"id=ca.crt,src={bundle}"


def pip_configuration(listed: str) -> configparser.ConfigParser:
    """The registry options in the output of `pip config list` (lines like global.index-url='...')."""
    options = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        option = key.rpartition(".")[2]
        if option in REGISTRY:
            options[option] = value.strip("'\"").replace("\\n", "\n")
    made = configparser.ConfigParser(interpolation=None)
    made["global"] = options
    return made


def size(target: str) -> str:
    """The size of all layers, unpacked, for example `327 MB`."""
    return output(buildah("images", "--format", "{{.Size}}", name(target)))


def export(target: str, into: Path) -> None:
    """Writes the image as an archive for `docker load`, and its bill of materials."""
    into.mkdir(parents=True, exist_ok=True)
    archive = into / f"limits-consumer-{target}.tar"
    archive.unlink(missing_ok=True)
    output(buildah("push", "--quiet", name(target), f"docker-archive:{archive}:limits-consumer:{target}"))
    container = output(buildah("from", "--pull-never", name(target)))
    try:
        root = Path(output(buildah("mount", container)))
        shutil.copy(root / BILLS[target], into / f"limits-consumer-{target}.cdx.json")
    finally:
        output(buildah("rm", container))


def _flat(option: str, values: Iterator[str] | Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def make(base: str | None) -> None:
    """Builds every target. Raises CannotBuildError."""
    tools = ["buildah"] if base else ["buildah", "debootstrap"]
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        raise CannotBuildError(
            f"make image needs {' and '.join(missing)} on the PATH (Debian: packages of these names)"
        )
    if os.geteuid():
        raise CannotBuildError("make image needs root")
    PLACE.mkdir(exist_ok=True)
    chosen = base or make_base()
    for target in BILLS:
        build(target, chosen)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the images, without a container engine.")
    parser.add_argument("--base", help="an image of Debian bookworm; without it, debootstrap creates one")
    parser.add_argument("--export", type=Path, metavar="FOLDER", help="write the built images as archives")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        if options.export:
            for target in BILLS:
                export(target, options.export)
        else:
            make(options.base)
            print(*(f"{name(target)}: {size(target)}" for target in BILLS), sep="\n")
            print(f"built in {time.monotonic() - started:.0f} s")
    except CannotBuildError as problem:
        print(problem, file=sys.stderr)
        return 1
    finally:
        unmount()
    return 0


if __name__ == "__main__":
    sys.exit(main())
