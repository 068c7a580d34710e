"""The AOT cache is used with each of our own sets of options, and silently ignored when it does not fit."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from consumer.daemon import aggregator_shim, aot_cache, jars, java, memory, shim_jar
from consumer.settings import Settings

MIB = 1 << 20
SHIPPED: Sequence[str] = Settings.model_fields["java_options"].default.split()
REQUIRED = "-XX:AOTMode=on"
"""With this option the JVM does not start without the cache."""


def start(options: Sequence[str], shim: Path | None = None) -> str:
    """All that the daemon prints when it starts without its properties."""
    found = java.find_java({})
    class_path = ":".join(map(str, jars.class_path(shim or aot_cache.folder() / shim_jar.FILE)))
    command = [str(found), *options, "-cp", class_path, java.DAEMON]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert ended.returncode == 1
    return ended.stdout


def used(given: Sequence[str] = ()) -> tuple[str, ...]:
    return aot_cache.options(java.find_java({}), given)


@pytest.fixture(scope="module")
def without() -> str:
    """What the daemon prints without a cache."""
    printed = start([])
    assert printed.startswith("java.lang.RuntimeException: Properties file missing")
    return printed


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the cache, in the place of the original one. The jar stays where it is."""
    copied = Path(shutil.copy(aot_cache.cache(), tmp_path / "copy.aot"))
    copied.chmod(0o600)
    monkeypatch.setattr(aot_cache, "cache", lambda: copied)
    return copied


# --- It is used ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cpus", [1, 4])
@pytest.mark.parametrize("limit", [None, 64 * MIB, 256 * MIB, 512 * MIB, 1024 * MIB, 4096 * MIB, 64 * 1024 * MIB])
def test_it_fits_the_options_of_every_container(limit: int | None, cpus: int, without: str) -> None:
    assert start([REQUIRED, *used(SHIPPED), *memory.options(SHIPPED, limit, cpus)]) == without


@pytest.mark.parametrize("collector", ["-XX:+UseG1GC", "-XX:+UseParallelGC"])
def test_it_fits_other_collectors(collector: str, without: str) -> None:
    assert start([REQUIRED, *used(), collector, "-Xmx1g"]) == without


def test_the_daemon_is_loaded_from_it_but_the_replaced_class_is_not() -> None:
    loaded = start([*used(), "-Xlog:class+load"])
    assert f"{java.DAEMON} source: shared objects file" in loaded
    assert aggregator_shim.NAME.replace("/", ".") not in loaded


@pytest.mark.parametrize(("initial", "accepted"), [([], True), (["-Xms8m"], False)])
def test_a_trial_shows_whether_its_objects_fit_the_initial_heap(initial: list[str], accepted: bool) -> None:
    class_path = ":".join(map(str, jars.class_path(aot_cache.folder() / shim_jar.FILE)))
    options = [*used(), *SHIPPED, "-Xmx80m", *initial]
    assert aot_cache.accepted([str(java.find_java({})), *options, "-cp", class_path, java.DAEMON], {}) is accepted


# --- It is ignored -------------------------------------------------------------------------------------------------


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: 10 * MIB])


def alter(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, alter, empty])
def test_a_damaged_cache_is_ignored(damage: Callable[[Path], None], copy: Path, without: str) -> None:
    damage(copy)
    assert str(copy) in used()[0]
    assert start(used()) == without
    assert start([REQUIRED, *used()]) != without


@pytest.mark.parametrize(
    "options",
    [
        ["-XX:+UseZGC"],
        ["-XX:-UseCompressedOops"],
        ["-XX:+UseCompactObjectHeaders"],
        ["-Xmx40g"],
        ["--add-opens=java.base/java.lang=ALL-UNNAMED"],
    ],
)
def test_it_is_ignored_with_options_that_it_does_not_fit(options: list[str], without: str) -> None:
    assert start([*used(options), *options]) == without
    assert start([REQUIRED, *used(options), *options]) != without


def test_it_is_ignored_with_another_class_path(tmp_path: Path, without: str) -> None:
    shim = tmp_path / shim_jar.FILE
    shim.write_bytes(shim_jar.contents())
    assert start(used(), shim) == without
    assert start([REQUIRED, *used()], shim) != without


def test_another_java_gets_no_option_that_it_may_not_know(tmp_path: Path) -> None:
    assert aot_cache.options(tmp_path / "bin" / "java", []) == ()


def test_a_missing_cache_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aot_cache, "folder", lambda: tmp_path)
    assert used() == ()


@pytest.mark.parametrize("given", ["-Xshare:off", "-XX:AOTCache=mine", "-XX:SharedArchiveFile=mine", "-XX:AOTMode=off"])
def test_the_operators_choice_is_respected(given: str) -> None:
    assert used([given]) == ()


# --- The jar before the others -------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", shim_jar.contents()[:-1], shim_jar.contents() + b"x"])
def test_a_jar_with_other_contents_is_not_used(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aot_cache, "folder", lambda: tmp_path)
    if content is not None:
        (tmp_path / shim_jar.FILE).write_bytes(content)
    assert aot_cache.shim() is None


def test_the_build_creates_the_jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aot_cache, "folder", lambda: tmp_path / "new")
    monkeypatch.setattr(aot_cache, "dump", lambda _java, _class_path, file: file.touch())
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "daemon-old.aot").touch()
    aot_cache.build(java.find_java({}))
    assert aot_cache.shim() == tmp_path / "new" / shim_jar.FILE
    assert sorted((tmp_path / "new").iterdir()) == [aot_cache.cache(), aot_cache.shim()]


# --- The build -----------------------------------------------------------------------------------------------------


def test_the_cache_of_other_jars_has_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = aot_cache.cache()
    lock = tmp_path / "jars.lock"
    lock.write_text(jars.LOCK.read_text(encoding="ascii") + "\ng:a:1:00\n", encoding="ascii")
    monkeypatch.setattr(jars, "LOCK", lock)
    assert aot_cache.cache() != before


def test_nothing_is_built_from_jars_that_differ_from_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(aot_cache, "folder", lambda: tmp_path / "new")
    monkeypatch.setattr(jars, "installed_problems", lambda: ["one-1.0.jar: altered"])
    assert aot_cache.main() == 1
    assert capsys.readouterr().err == "one-1.0.jar: altered\n"
    assert not (tmp_path / "new").exists()


def test_the_class_list_names_the_daemon() -> None:
    assert java.DAEMON.replace(".", "/") in aot_cache.CLASS_LIST.read_text(encoding="ascii").splitlines()
