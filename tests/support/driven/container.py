"""Runs the images of `make image` with crun, as a container engine would: from the image's own configuration.

    with mounted("consumer") as image, container(image, variables, directory, memory=512 << 20) as running:
        running.execute(*image.health_check)

A container has its own process ids, host name and control group. It runs as the image's user without capabilities, on
a read-only root; only /tmp, a tmpfs, can be written. It shares the machine's network. Needs root.
"""

import itertools
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.image import buildah, inspect, name, output
from tests.support.driven.service import Service, children
from tests.support.driven.waiting import until

MIB = 1 << 20
# crun fails if both versions of control groups are mounted, as old distributions do.
CRUN = """
mountpoint --quiet /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified
exec crun --root "$0" --cgroup-manager=cgroupfs "$@"
"""
# The container is deleted when the pipe at standard input closes, so it cannot outlive the process that started it.
RUN = f"""
CRUN='{CRUN}'
exec 3<&0
( read -r _ <&3; sh -c "$CRUN" "$0" delete --force "$2" ) >/dev/null 2>&1 &
sh -c "$CRUN" "$0" run --bundle "$1" "$2" 3<&-
"""
OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
_numbers = itertools.count()


@dataclass(frozen=True)
class Image:
    """The configuration of an image, and the root of its files."""

    config: Mapping[str, Any]
    root: Path

    @property
    def command(self) -> list[str]:
        return [*(self.config["Entrypoint"] or []), *(self.config.get("Cmd") or [])]

    @property
    def health_check(self) -> list[str]:
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD", "no shell"
        return list(command)

    @property
    def user(self) -> dict[str, int]:
        uid, gid = self.config["User"].split(":")
        return {"uid": int(uid), "gid": int(gid)}


@contextmanager
def mounted(target: str) -> Iterator[Image]:
    """Mounts the image's files as a container sees them."""
    container = output(buildah("from", "--pull-never", name(target)))
    try:
        yield Image(inspect(name(target))["Docker"]["config"], Path(output(buildah("mount", container))))
    finally:
        output(buildah("rm", container))


@dataclass(frozen=True)
class Container:
    """A running container. `state` is crun's folder; `bundle` has the specification and the log."""

    id: str
    state: Path
    bundle: Path
    process: "subprocess.Popen[bytes]"

    @property
    def log(self) -> Path:
        return self.bundle / "log"

    @property
    def init(self) -> int:
        """The host's id of the process that has id 1 in the container; 0 while there is none."""
        answer = self._crun("state", self.id)
        return int(json.loads(answer.stdout)["pid"]) if answer.returncode == 0 else 0

    def processes(self) -> list[int]:
        """The ids of all processes of the container."""
        return list(_family(self.init))

    def execute(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Runs a command in the container with the same user and limits, as an engine does for a health check."""
        process = json.loads((self.bundle / "config.json").read_text())["process"] | {"args": command}
        described = self.bundle / f"exec-{next(_numbers)}.json"
        described.write_text(json.dumps(process))
        done = self._crun("exec", "--process", str(described), self.id)
        assert not check or done.returncode == 0, done
        return done

    def stop(self, within: float = 60.0) -> int:
        """Sends SIGTERM, as an engine does, and returns the exit code. Raises TimeoutExpired."""
        self._crun("kill", self.id, "TERM")
        return self.process.wait(within)

    def peak(self) -> int:
        """Peak memory charged to the container, in bytes, including memory that the kernel can reclaim."""
        found = [path for path in _memory(self.init, "memory.max_usage_in_bytes", "memory.peak") if path.exists()]
        return int(found[0].read_text())

    def _crun(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [*OWN_MOUNTS, CRUN, str(self.state), *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True)


@contextmanager
def container(
    image: Image,
    variables: Mapping[str, str],
    directory: Path,
    instead: Sequence[str] = (),
    memory: int | None = None,
) -> Iterator[Container]:
    """Runs a container during the block. `instead` replaces the image's command; `memory` is the limit in bytes."""
    number = f"image-test-{os.getpid()}-{next(_numbers)}"
    bundle = directory / number
    bundle.mkdir()
    (bundle / "config.json").write_text(json.dumps(_specification(image, variables, instead, memory)))
    state = directory / "crun"
    with (bundle / "log").open("wb") as file:
        command = [*OWN_MOUNTS, RUN, str(state), str(bundle), number]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=file, start_new_session=True)
    started = Container(number, state, bundle, process)
    try:
        until(lambda: started.init or process.poll() is not None, "the container to start")
        yield started
    finally:
        if process.stdin:
            process.stdin.close()
        started._crun("delete", "--force", number)
        process.wait()


def _family(parent: int) -> Iterator[int]:
    if parent:
        yield parent
        for child in children(parent):
            yield from _family(child)


def _memory(process: int, *names: str) -> Iterator[Path]:
    """Files of the process's memory control group. `names`: the file's name in version 1 and in version 2."""
    for line in Path(f"/proc/{process}/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers in ("memory", ""):
            for each in names:
                yield Path("/sys/fs/cgroup", controllers, group.lstrip("/"), each)


def _specification(
    image: Image, variables: Mapping[str, str], command: Sequence[str], memory: int | None
) -> dict[str, Any]:
    """The config.json of the OCI runtime specification."""
    environment = [*image.config["Env"], *(f"{key}={value}" for key, value in variables.items())]
    own = ("pid", "ipc", "uts", "mount", "cgroup")
    return {
        "ociVersion": "1.0.0",
        "process": {
            "user": image.user,
            "args": list(command) or image.command,
            "env": environment,
            "cwd": image.config["WorkingDir"] or "/",
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": str(image.root), "readonly": True},
        "hostname": "container",
        "mounts": [
            _mount("/proc", "proc", "nosuid", "noexec", "nodev"),
            _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            _mount("/tmp", "tmpfs", "nosuid", "nodev", "noexec", "mode=1777", "size=65536k"),
            _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
            _mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
            *(_file(path) for path in ("/etc/hosts", "/etc/resolv.conf")),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in own],
            "resources": {"memory": {"limit": memory}} if memory else {},
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/sched_debug", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def _mount(place: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": place, "type": kind, "source": kind, "options": list(options)}


def _file(path: str) -> dict[str, Any]:
    """A bind mount of the host's file, as engines do for name resolution."""
    return {"destination": path, "type": "bind", "source": path, "options": ["bind", "ro"]}


def as_service(running: Container, address: str) -> Service:
    """The service in the container, seen from outside."""
    return Service(running.process, address, running.log)
