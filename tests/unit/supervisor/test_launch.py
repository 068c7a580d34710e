"""What the daemon is started with: worker id, environment, grace period."""

from pathlib import Path
from typing import Any

import pytest

from consumer.settings import Settings, load
from consumer.supervisor import launch


def settings(**more: Any) -> Settings:
    given = {"region": "eu-north-1", "stream_name": "events", "quarantine": "dir:/tmp"}
    return load(Settings, **given | more)


@pytest.mark.parametrize(
    "endpoint", [None, "https://kinesis.eu-north-1.amazonaws.com", "https://kinesis.cn-north-1.amazonaws.com.cn"]
)
def test_cbor_is_used_with_aws(endpoint: str | None, tmp_path: Path) -> None:
    assert "CBOR_ENABLED" not in launch.daemon_environment(settings(kinesis_endpoint=endpoint), {}, tmp_path)


def test_worker_ids_are_unique() -> None:
    assert len({launch.make_worker_id() for _ in range(100)}) == 100


def test_the_worker_is_killed_before_its_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.supervisor.launch.make_worker_id", lambda: "worker-1")
    tight = settings(shutdown_grace_seconds=15, stop_timeout_seconds=16)
    plan = launch.prepare(tight, tmp_path, {}, "true", ["true"])
    assert 15 < plan.grace_seconds < 16
