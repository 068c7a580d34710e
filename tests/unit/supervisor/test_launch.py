"""What the daemon is started with: worker id, environment, grace period."""

from pathlib import Path
from typing import Any

import pytest

from consumer.daemon import aot_cache, shim_jar
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


def test_java_finds_the_region_and_the_arn_of_the_stream(tmp_path: Path) -> None:
    arn = "arn:aws:kinesis:us-east-1:111122223333:stream/events"
    found = launch.daemon_environment(settings(stream_arn=arn), {"AWS_DEFAULT_REGION": "eu-north-1"}, tmp_path)
    assert (found["AWS_REGION"], found["CONSUMER_STREAM_ARN"]) == ("eu-north-1", arn)
    assert "CONSUMER_STREAM_ARN" not in launch.daemon_environment(settings(), {}, tmp_path)


def test_worker_ids_are_unique() -> None:
    assert len({launch.make_worker_id() for _ in range(100)}) == 100


def test_the_worker_is_killed_before_its_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.supervisor.launch.make_worker_id", lambda: "worker-1")
    tight = settings(shutdown_grace_seconds=15, stop_timeout_seconds=16)
    plan = launch.prepare(tight, tmp_path, {}, "true", ["true"])
    assert 15 < plan.grace_seconds < 16


def class_path(plan: launch.Plan) -> list[Path]:
    return [Path(entry) for entry in plan.command[plan.command.index("-cp") + 1].split(":")]


def test_the_class_path_consists_of_jars_in_a_fixed_order(tmp_path: Path) -> None:
    first, *others = class_path(launch.prepare(settings(), tmp_path, {}, "true"))
    assert first == aot_cache.shim()
    assert others == sorted(others)
    assert all(jar.is_file() for jar in others)


def test_the_daemon_starts_with_the_cache(tmp_path: Path) -> None:
    plan = launch.prepare(settings(), tmp_path, {}, "true")
    assert f"-XX:AOTCache={aot_cache.cache()}" in plan.command


def test_a_heap_too_small_for_the_cache_starts_without_it(tmp_path: Path) -> None:
    plan = launch.prepare(settings(java_options="-XX:+UseSerialGC -Xms8m -Xmx80m"), tmp_path, {}, "true")
    assert [option for option in plan.command if "AOT" in option] == []


def test_without_a_build_the_first_jar_is_written_and_no_cache_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aot_cache, "folder", lambda: tmp_path / "nothing")
    plan = launch.prepare(settings(), tmp_path, {}, "true")
    assert class_path(plan)[0] == tmp_path / shim_jar.FILE
    assert (tmp_path / shim_jar.FILE).read_bytes() == shim_jar.contents()
    assert [option for option in plan.command if "AOT" in option] == []


def test_a_cache_beside_an_altered_jar_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aot_cache, "folder", lambda: tmp_path)
    aot_cache.cache().touch()
    (tmp_path / shim_jar.FILE).write_bytes(b"altered")
    assert [option for option in launch.prepare(settings(), tmp_path, {}, "true").command if "AOT" in option] == []


def test_another_java_starts_without_the_cache(tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.touch(mode=0o755)
    plan = launch.prepare(settings(), tmp_path, {"JAVA_HOME": str(tmp_path)}, "true")
    assert plan.command[0] == str(java)
    assert [option for option in plan.command if "AOT" in option or "Xlog" in option] == []
