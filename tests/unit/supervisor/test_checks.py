"""All problems of this machine are reported at once, before Java starts."""

import os
from pathlib import Path
from typing import Any

import pytest

from consumer.engine.errors import SettingsError
from consumer.settings import Settings, load
from consumer.supervisor import checks


def settings(**more: Any) -> Settings:
    given = {"region": "eu-north-1", "stream_name": "events", "quarantine": "dir:/tmp"}
    return load(Settings, **given | more)


def test_all_problems_are_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.daemon.jars.installed_problems", lambda: ["one-1.0.jar: missing"])
    (tmp_path / "consumer.properties").write_text("shardSyncIntervalMilis = 1\n")
    environment = {"PROMETHEUS_MULTIPROC_DIR": "/tmp", "JAVA_HOME": str(tmp_path)}
    with pytest.raises(SettingsError) as refused:
        checks.check(settings(properties=tmp_path), environment, "no-such-program process")
    words = (
        "AwsCredentialsProvider",
        "Milis",
        "PATH",
        "PROMETHEUS",
        "logback.xml",
        "JAVA_HOME",
        "one-1.0.jar",
    )
    assert len(refused.value.problems) == len(words)
    for word, line in zip(words, refused.value.problems, strict=True):
        assert word in line


def test_a_valid_setup_has_no_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.daemon.jars.installed_problems", list)
    checks.check(settings(), {"PATH": os.environ["PATH"]}, "true")
