"""Nothing that another user placed in the run directory is read, run, or written through."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.daemon import shim_jar
from consumer.engine.errors import SettingsError
from consumer.supervisor.run_directory import (
    METRICS,
    PROPERTIES,
    STOPPING,
    not_ours,
    run_directory,
    write,
)
from tests.support.emulators.aws import CREDENTIALS

NOBODY = 65_534
ADVICE = "use a directory that does not exist yet, or one that only this user can write to"


def refusal(directory: Path) -> str:
    with pytest.raises(SettingsError) as refused, run_directory(directory):
        raise AssertionError("it was taken")
    (line,) = refused.value.problems
    return line


def a_strangers(directory: Path) -> Path:
    """A directory of another user: as root one that is given to another user, otherwise one of root's."""
    if os.geteuid() != 0:
        return Path("/usr")
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    return directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- Which directories are used ------------------------------------------------------------------------------------


def test_a_missing_directory_is_created_for_its_owner_only(tmp_path: Path) -> None:
    with run_directory(tmp_path / "a" / "b") as made:
        assert made == tmp_path / "a" / "b"
        assert {mode(made), mode(made / METRICS)} == {0o700}


def test_a_temporary_directory_is_created_for_its_owner_only_and_removed() -> None:
    with run_directory(None) as made:
        assert mode(made) == 0o700
    assert not made.exists()


def test_a_directory_of_another_user_is_refused_and_not_changed(tmp_path: Path) -> None:
    theirs = a_strangers(tmp_path / "run")
    before = sorted(theirs.iterdir())
    owner, me = theirs.stat().st_uid, os.geteuid()
    assert refusal(theirs) == (
        f"CONSUMER_RUN_DIRECTORY: {theirs} belongs to user {owner}, and the worker runs as user {me}: {ADVICE}"
    )
    assert sorted(theirs.iterdir()) == before


@pytest.mark.parametrize("bits", [0o770, 0o707, 0o777, 0o1777, 0o720])
def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path, bits: int) -> None:
    open_to_others = tmp_path / "run"
    open_to_others.mkdir()
    open_to_others.chmod(bits)
    assert refusal(open_to_others).endswith(f"is writable by other users: {ADVICE}")


@pytest.mark.parametrize("bits", [0o700, 0o755, 0o2755])
def test_a_directory_that_others_can_only_read_is_used(tmp_path: Path, bits: int) -> None:
    named = tmp_path / "run"
    named.mkdir()
    named.chmod(bits)
    with run_directory(named):
        assert (named / METRICS).is_dir()


def test_a_link_is_refused_wherever_it_leads(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "ours")
    assert refusal(tmp_path / "run").endswith(f"is a link or a file: {ADVICE}")
    assert list((tmp_path / "ours").iterdir()) == []


@pytest.mark.parametrize(
    ("owner", "bits", "reason"),
    [
        (10_001, 0o40700, None),
        (0, 0o40700, "belongs to user 0, and the worker runs as user 10001"),
        (10_001, 0o40770, "is writable by other users"),
        (10_001, 0o100600, "is a link or a file"),
        (10_001, 0o120777, "is a link or a file"),
    ],
)
def test_a_directory_is_checked_for_type_owner_and_mode(owner: int, bits: int, reason: str | None) -> None:
    found = os.stat_result((bits, 0, 0, 1, owner, 0, 0, 0, 0, 0))
    assert not_ours(found, 10_001) == reason


def test_two_workers_cannot_share_a_directory(tmp_path: Path) -> None:
    with (
        run_directory(tmp_path / "run"),
        pytest.raises(SettingsError, match="another worker uses"),
        run_directory(tmp_path / "run"),
    ):
        pass


def test_a_directory_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file" / "run").startswith("CONSUMER_RUN_DIRECTORY: Not a directory")


# --- Contents ------------------------------------------------------------------------------------------------------


def plant_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def plant_second_name(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def plant_folder(path: Path, _victim: Path) -> None:
    path.mkdir()
    (path / "evil").touch()


Plant = Callable[[Path, Path], None]


@pytest.mark.parametrize("plant", [plant_link, plant_second_name, plant_folder])
@pytest.mark.parametrize("name", [PROPERTIES, STOPPING, METRICS, shim_jar.FILE])
def test_planted_files_are_removed_and_their_targets_not_changed(tmp_path: Path, plant: Plant, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run").mkdir(mode=0o700)
    plant(tmp_path / "run" / name, victim)
    with run_directory(tmp_path / "run") as named:
        assert sorted(path.name for path in named.iterdir()) == ["lock", METRICS]
        assert list((named / METRICS).iterdir()) == []
        write(named / PROPERTIES, "ours")
        assert (named / PROPERTIES).read_text() == "ours"
        assert mode(named / PROPERTIES) == 0o600
    assert victim.read_text() == "precious"


def test_a_folder_behind_a_link_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "precious").touch()
    (tmp_path / "run" / METRICS).symlink_to(tmp_path / "theirs")
    with run_directory(tmp_path / "run") as named:
        assert not (named / METRICS).is_symlink()
    assert (tmp_path / "theirs" / "precious").exists()


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "run" / "lock").symlink_to(victim)
    assert refusal(tmp_path / "run").endswith(str(tmp_path / "run" / "lock"))
    assert victim.read_text() == "precious"


def test_a_written_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link").symlink_to(victim)
    write(tmp_path / "link", "ours")
    assert (victim.read_text(), (tmp_path / "link").read_text()) == ("precious", "ours")


def test_a_full_disk_is_reported_before_the_start(tmp_path: Path) -> None:
    """The disk has one block, which is too small for the properties."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "properties").mkdir()
    shipped = Path(__file__).parents[3] / "properties"
    (tmp_path / "properties" / "logback.xml").write_bytes((shipped / "logback.xml").read_bytes())
    (tmp_path / "properties" / PROPERTIES).write_bytes(
        (shipped / PROPERTIES).read_bytes() + b"metricsEnabledDimensions=" + b"x" * 4_096 + b"\n"
    )
    environment = {
        **CREDENTIALS,
        "PATH": os.environ["PATH"],
        "AWS_REGION": "eu-north-1",
        "CONSUMER_STREAM_NAME": "events",
        "CONSUMER_QUARANTINE": f"dir:{tmp_path}",
        "CONSUMER_METRICS_ADDRESS": "127.0.0.1:0",
        "CONSUMER_PROPERTIES": str(tmp_path / "properties"),
        "CONSUMER_RUN_DIRECTORY": str(tmp_path / "disk" / "run"),
    }
    disk = ("tests.support.faults.small_disk", str(tmp_path / "disk"), "4096", "consumer", "run")
    done = subprocess.run([sys.executable, "-m", *disk], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("consumer: ")]
    assert line.startswith("consumer: CONSUMER_RUN_DIRECTORY: No space left on device: ")
    assert line.endswith(PROPERTIES)
