"""The start of a record processor, before the protocol with the daemon."""

from pathlib import Path

import pytest

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
