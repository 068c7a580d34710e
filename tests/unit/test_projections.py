"""CONSUMER_PROJECTION names what is kept: every part of the service keeps it, and none of it loads the limits."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from consumer import bootstrap, projections
from consumer.admin import provision
from consumer.engine.errors import SettingsError
from consumer.engine.stream import BelievedStream
from consumer.kcl import process
from consumer.kcl.process import Prepared, RequestMetrics
from consumer.limits.projection import Limits
from consumer.monitoring.metrics import WARNINGS, Metric
from consumer.settings import (
    ApiSettings,
    HistorySettings,
    LimitSettings,
    NoticeSettings,
    RecordSettings,
    Settings,
    load,
)
from consumer.supervisor import checks
from docs_generator import ROOT
from tests.support.driven import commands
from tests.support.driven.invocations import event
from tests.support.generators.events import records
from tests.support.generators.small_projection import Peaks

PEAKS = "tests.support.generators.small_projection:Peaks"
VARIABLES = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(ROOT),
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "ENABLE_DYNAMO_DB": "false",
    "CONSUMER_PROJECTION": PEAKS,
    "CONSUMER_STREAM_NAME": "s",
    "CONSUMER_QUARANTINE": "dir:q",
    "CONSUMER_ARCHIVE": "dir:a",
}


def reading(place: str, number: int) -> bytes:
    return json.dumps({"place": place, "number": number}).encode()


def refused(name: str) -> str:
    """The only line of the error, without the name of the setting."""
    with pytest.raises(SettingsError) as error:
        projections.load(name)
    (line,) = error.value.problems
    assert "\n" not in line
    return line.removeprefix(f"CONSUMER_PROJECTION={name}: ")


def package(folder: Path, module: str, source: str, *entries: str) -> None:
    """An installed package with one module, which registers the entries."""
    (folder / f"{module}.py").write_text(source)
    about = folder / f"{module}-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
    (about / "entry_points.txt").write_text("\n".join([f"[{projections.GROUP}]", *entries, ""]))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with packages."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


# Finding it


def test_the_limits_are_the_default() -> None:
    assert projections.load(RecordSettings().projection) == Limits()


def test_the_limits_are_registered_as_others_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"][projections.GROUP] == projections.SHIPPED


def test_a_class_of_a_module_is_found_once() -> None:
    assert projections.load(PEAKS) == Peaks()
    assert projections.load(PEAKS) is projections.load(PEAKS)


def test_a_package_registers_a_name(site: Path) -> None:
    package(site, "peaks_one", "from tests.support.generators.small_projection import Peaks", "peaks = peaks_one:Peaks")
    assert projections.load("peaks") == Peaks()


def test_a_name_that_two_packages_register_is_ambiguous(site: Path) -> None:
    for module in ("peaks_two", "peaks_three"):
        package(site, module, "", f"doubled = {module}:Peaks")
    assert refused("doubled") == "several packages register it: use peaks_three:Peaks or peaks_two:Peaks"


def test_a_name_that_no_package_registers(site: Path) -> None:
    package(site, "peaks_four", "", "other-peaks = peaks_four:Peaks")
    assert refused("peeks") == "no package registers it: use package.module:Name, or one of limits, other-peaks"


INCOMPLETE = "class Made:\n    key_names = ('a', 'b')\n    def decode(self, data): ..."
SAME_KEYS = """
from tests.support.generators.small_projection import Peaks
class Made(Peaks):
    def __init__(self):
        super().__init__(("a", "a"))
"""


@pytest.mark.parametrize(
    ("name", "source", "problem"),
    [
        ("absent_package.inner:Made", "", "there is no module absent_package: install it, or add its folder to PYTHON"),
        ("wrong_1.inner:Made", "", "there is no module wrong_1.inner: install it"),
        ("wrong_2:Made", "import absent_package", "wrong_2 needs absent_package, which is not installed: install it"),
        ("wrong_3:Made", "made = 1 +", "wrong_3 cannot be imported: SyntaxError: invalid syntax"),
        ("wrong_4:Made", "class Makes: ...", "wrong_4 has no class Made: correct the name"),
        ("wrong_5:Made", "Made = 1", "wrong_5 has no class Made: correct the name"),
        ("wrong_6:Made", "class Made:\n    def __init__(self, size): ...", "Made() raises TypeError: "),
        ("wrong_7:Made", INCOMPLETE, "Made is not a projection: it lacks dump, load, type_of, time_of, key, state_of"),
        ("wrong_8:Made", SAME_KEYS, "Made has the key_names ('a', 'a'): two different names of attributes are needed"),
    ],
)
def test_what_is_wrong_is_one_line(site: Path, name: str, source: str, problem: str) -> None:
    if source:
        (site / f"{name.partition(':')[0]}.py").write_text(source)
    if "inner" in name and "absent" not in name:
        (site / name.partition(".")[0]).mkdir()
    assert refused(name).startswith(problem)


@pytest.mark.parametrize("name", ["a:b:c", "a b", "a.b:c.d", ":x", "x:", "a/b:c"])
def test_what_cannot_be_a_name_is_refused_with_the_settings(name: str) -> None:
    with pytest.raises(SettingsError, match=r"^CONSUMER_PROJECTION: use package\.module:Name"):
        load(RecordSettings, projection=name)


# Keeping it


def settings(**more: Any) -> Settings:
    given = {"region": "eu-west-1", "stream_name": "s", "quarantine": "dir:q", "projection": PEAKS}
    return load(Settings, **given | more)


def test_the_table_has_its_keys() -> None:
    (states, *_) = provision.tables(provision.wanted(settings()))
    assert states.keys == ("region", "place")


def test_the_worker_does_not_start_with_a_wrong_one() -> None:
    with pytest.raises(SettingsError, match="wrong_0:Made: there is no module wrong_0"):
        checks.check(settings(projection="wrong_0:Made"), {}, "true", ["true"])


def test_the_core_keeps_it_in_its_table() -> None:
    assert bootstrap.processor(settings()).projection == Peaks()
    limits = settings(projection="limits", max_sequence_number=7)
    assert bootstrap.processor(limits).projection == Limits(max_sequence=7)


def test_the_metrics_of_its_warnings_begin_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[tuple[Metric, float, tuple[str, ...]]] = []
    monkeypatch.setattr(
        process, "sink", lambda: lambda metric, value, *labels: reported.append((metric, value, labels))
    )
    ready = Prepared(settings(), bootstrap.processor(settings()), BelievedStream("s"), RequestMetrics())
    process.shard_consumer(ready, process.exit_process)
    assert [(value, labels) for metric, value, labels in reported if metric is WARNINGS] == [(0, ("high",))]


def test_only_limits_have_the_commands_for_limits() -> None:
    given = {"region": "eu-west-1", "stream_name": "s", "archive": "dir:a", "projection": PEAKS}
    for kind in (LimitSettings, NoticeSettings, ApiSettings, HistorySettings):
        with pytest.raises(SettingsError, match=rf"^CONSUMER_PROJECTION={PEAKS}: only limits have this: unset it"):
            load(kind, **given)
        limits = given | {"projection": "consumer.limits.projection:Limits"}
        assert load(kind, **limits).projection == limits["projection"]


def run(folder: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=False, env=VARIABLES, cwd=folder)


DELIVERED = """
import json, sys, time
from consumer.aws_lambda.handler import container, handler
from consumer.admin.invoke import LocalContext
print(json.dumps(handler(json.loads(sys.stdin.read()), LocalContext(time.monotonic() + 60))), file=sys.stderr)
print([state.highest for state in container().core.repository.states()])
print([name for name in sys.modules if name.startswith("consumer.limits")])
"""


def test_the_function_keeps_it_and_loads_nothing_of_the_limits(tmp_path: Path) -> None:
    delivered = json.dumps(event(records(reading("a", 3), reading("b", 5), reading("a", 4)))).encode()
    kept, limits = run(tmp_path, "-c", DELIVERED, given=delivered).stdout.decode().splitlines()[-2:]
    assert kept == "[4, 5]"
    assert limits == "[]"


PREPARED = """
import sys
from consumer.kcl import fork_server, process, record_processor
from consumer.supervisor import start
print(type(process.prepare().core.projection).__name__)
print([name for name in sys.modules if name.startswith("consumer.limits")])
"""


def test_a_record_processor_and_the_supervisor_load_nothing_of_the_limits(tmp_path: Path) -> None:
    assert run(tmp_path, "-c", PREPARED).stdout.decode().splitlines() == ["Peaks", "[]"]


def test_a_file_is_applied(tmp_path: Path) -> None:
    lines = b"\n".join([reading("a", 3), reading("b", 2_000), reading("a", -1), b"{}"])
    ran = run(tmp_path, "-m", "consumer", "apply", "-", "--json", given=lines)
    shown = json.loads(ran.stdout)
    assert shown["states"] == [
        {"region": "north", "place": "a", "highest": 3},
        {"region": "north", "place": "b", "highest": 2_000},
    ]
    assert [(entry["position"], entry["reason"]) for entry in shown["quarantined"]] == [(2, "SCHEMA"), (3, "SCHEMA")]
    assert shown["warnings"] == {"high": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        ("limits", "u"),
        ("history", "u"),
        ("repair", "u", "l", "--without", "e"),
        ("archive", "index"),
        ("notices", "--once", "-"),
        ("put", "--generate", "1"),
    ],
)
def test_a_command_for_limits_says_that_it_is(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = commands.run(*arguments, environment=VARIABLES, directory=tmp_path)
    what = "only limits have this: unset it; `consumer show` shows what is kept"
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert ran.stderr.decode().splitlines() == [f"consumer: CONSUMER_PROJECTION={PEAKS}: {what}"]
