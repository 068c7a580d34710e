"""The start of a record processor, before the protocol with the daemon."""

import gc
from pathlib import Path

import pytest

from consumer.bootstrap import OBJECTS, collect_rarely
from consumer.kcl.process import clear_scratch
from consumer.settings import Settings


def settings(place: str) -> Settings:
    return Settings(region="eu-west-1", stream_name="limits", quarantine=place)


def test_scratch_files_of_exited_processes_are_removed_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scratch = tmp_path / "limits" / "shardId-000000000000" / f".{'0f' * 16}.tmp"
    scratch.parent.mkdir(parents=True)
    scratch.write_text('{"reason": "JS')
    clear_scratch(settings(f"dir:{tmp_path}"))
    assert not scratch.exists()
    (line,) = caplog.records
    assert (line.message, line.__dict__["files"]) == (
        "scratch files of exited processes removed from the quarantine",
        1,
    )


@pytest.mark.parametrize("place", ["dir:not-there", "s3://bucket/quarantine"])
def test_without_a_directory_nothing_is_logged(place: str, caplog: pytest.LogCaptureFixture) -> None:
    clear_scratch(settings(place))
    assert caplog.records == []


def test_an_unreadable_directory_does_not_end_the_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    clear_scratch(settings(f"dir:{tmp_path / 'file'}"))
    (line,) = caplog.records
    assert "Not a directory" in line.__dict__["cause"]


def test_the_garbage_collector_runs_rarely_and_leaves_alone_what_exists() -> None:
    before = gc.get_threshold()
    try:
        collect_rarely()
        assert gc.get_threshold() == (OBJECTS, *before[1:])
        assert gc.get_freeze_count() > 1_000
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
