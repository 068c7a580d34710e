"""The deployment files agree with each other and with the service. tests/image tests the images they produce."""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.api.server import bounds_of
from consumer.daemon.jars import Coordinates, Locked
from consumer.settings import ApiSettings, Settings, load, misspelled, variable
from deploy import image, sbom

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "release.yaml"
DEPLOY = ROOT / "deploy"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^\.PHONY: ([a-z0-9-]+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


# --- The Dockerfile ------------------------------------------------------------------------------------------------


def test_the_consumer_is_the_default_target() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert stages[-1] == "consumer"
    assert set(image.BILLS) <= set(stages)


def test_the_build_context_has_every_copied_file_and_no_secrets() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert [line for line in lines if line.startswith("!") and not (ROOT / line[1:]).exists()] == []


# --- compose -------------------------------------------------------------------------------------------------------


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = read(DEPLOY / "compose.yaml")["services"]
    return found


def test_every_third_party_image_is_pinned(services: dict[str, Any]) -> None:
    others = [service["image"] for service in services.values() if "build" not in service]
    assert len(others) == 3
    assert all(re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", name) for name in others)


def test_the_settings_are_valid_and_none_is_misspelt(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in map(variable, Settings.model_fields):
        monkeypatch.delenv(name, raising=False)
    for name, value in services["consumer"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load(Settings)
    assert misspelled(services["consumer"]["environment"]) == []
    assert settings.stop_timeout_seconds < int(services["consumer"]["stop_grace_period"].removesuffix("s"))


def test_the_service_has_a_read_only_root_and_no_capabilities(services: dict[str, Any]) -> None:
    for name in ("provision", "consumer", "watcher", "limits-api", "put"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
        assert [place.partition(":")[0] for place in services[name]["tmpfs"]] == ["/tmp"]


def test_prometheus_reaches_what_it_scrapes_on_its_own_loopback_interface(services: dict[str, Any]) -> None:
    published = {port.rpartition(":")[2] for port in services["prometheus"]["ports"]}
    for name in ("consumer", "watcher", "limits-api"):
        address = services[name]["environment"]["CONSUMER_METRICS_ADDRESS"]
        assert services[name]["network_mode"] == "service:prometheus"
        assert address.rpartition(":")[2] in published


def test_the_watcher_serves_where_its_health_check_calls_and_does_not_depend_on_the_worker(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = services["watcher"]
    for name, value in watcher["environment"].items():
        monkeypatch.setenv(name, value)
    assert watcher["command"] == ["status", "--serve", load(Settings).metrics_address]
    assert {**watcher["environment"], "CONSUMER_METRICS_ADDRESS": ""} == {
        **services["consumer"]["environment"],
        "CONSUMER_METRICS_ADDRESS": "",
    }
    assert "depends_on" not in watcher


def test_only_this_machine_reaches_the_api_and_it_may_finish_its_requests(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = services["limits-api"]
    for name, value in api["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load(ApiSettings)
    port = settings.api_address.rpartition(":")[2]

    assert api["command"] == ["serve"]
    assert settings.api_trusted_proxy
    assert [each for each in services["prometheus"]["ports"] if each.endswith(f":{port}")] == [
        f"127.0.0.1:{port}:{port}"
    ]
    assert api["environment"]["CONSUMER_METRICS_ADDRESS"] == settings.api_address, "where the health check calls"
    assert bounds_of(settings).seconds < int(api["stop_grace_period"].removesuffix("s"))
    assert f"EXPOSE {port}\n" in (ROOT / "Dockerfile").read_text()


def test_mounted_files_exist(services: dict[str, Any]) -> None:
    places = [volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    assert places
    assert [place for place in places if not (DEPLOY / place).exists()] == []


def test_grafana_has_the_data_source_and_the_folder_of_the_dashboard(services: dict[str, Any]) -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = read(provisioning / "datasources" / "prometheus.yaml")["datasources"]
    (provider,) = read(provisioning / "dashboards" / "consumer.yaml")["providers"]
    assert source["isDefault"]
    assert source["url"] == "http://prometheus:9090"
    assert f"./grafana/consumer.json:{provider['options']['path']}/consumer.json:ro" in services["grafana"]["volumes"]


# --- The workflow --------------------------------------------------------------------------------------------------


def steps() -> Iterator[dict[str, Any]]:
    for job in read(WORKFLOW)["jobs"].values():
        yield from job["steps"]


def test_every_action_is_pinned_by_commit() -> None:
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", name)] == []


def test_the_workflow_runs_every_part_that_ci_runs_by_the_same_targets() -> None:
    jobs = read(WORKFLOW)["jobs"]
    parts = set(jobs["part"]["strategy"]["matrix"]["part"])
    called = parts | {name for step in steps() for name in re.findall(r"^make ([a-z0-9-]+)$", step.get("run", ""))}
    (ci,) = re.findall(r"for part in ([a-z0-9 -]+);", (ROOT / ".ci" / "run").read_text())
    assert set(ci.split()) <= called <= targets()
    assert {"check", "test", "conformance", "faults", "image"} <= called


def test_a_release_waits_for_every_part() -> None:
    assert set(read(WORKFLOW)["jobs"]["release"]["needs"]) == {"part", "image"}


def test_the_image_has_the_packages_of_the_api_and_the_archive_of_the_functions_does_not() -> None:
    locked = {
        name: set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE))
        for name in ("run", "lambda")
    }
    of_the_api = {"fastapi", "pyjwt", "cryptography"}
    assert of_the_api <= locked["run"]
    assert not of_the_api & locked["lambda"]


# --- Building ------------------------------------------------------------------------------------------------------


def test_the_build_gets_pips_index_settings_and_nothing_else() -> None:
    listed = "global.cache-dir='/a'\nglobal.index-url='https://one'\n:env:.index-url='https://two'\nlist.format='json'"
    made = image.pip_configuration(listed)
    assert {name: dict(made[name]) for name in made.sections()} == {"global": {"index-url": "https://two"}}


def test_the_first_source_of_packages_is_the_suite() -> None:
    sources = [line.split() for line in image.debian()]
    assert sources[0][1] == "bookworm"
    assert {suite for _, suite, _ in sources} <= set(image.SUITES)


# --- The bill of materials -----------------------------------------------------------------------------------------


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "Some_Thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_thing-1.0.dist-info/METADATA", "Name: Some_Thing\nVersion: 1.0\nLicense-Expression: MIT\n")
        wheel.writestr("vendored/other-2.0.dist-info/METADATA", "Name: other\nVersion: 2.0\n")
        wheel.writestr(sbom.JRE, 'IMPLEMENTOR="x"\nJAVA_VERSION="25.0.2"\n')
    return tmp_path


def test_a_wheel_is_named_as_the_index_names_it_with_its_hash_and_the_java_it_brings(wheels: Path) -> None:
    thing, java = sbom.wheels(wheels)
    assert (thing["purl"], thing["licenses"]) == ("pkg:pypi/some-thing@1.0", [{"expression": "MIT"}])
    assert thing["hashes"] == [
        {"alg": "SHA-256", "content": hashlib.sha256(next(wheels.glob("*.whl")).read_bytes()).hexdigest()}
    ]
    assert java["purl"] == "pkg:generic/openjdk@25.0.2"


def test_a_licence_that_is_a_whole_text_is_left_out() -> None:
    said = Message()
    said["License"] = "MIT"
    assert sbom.licence(said) == {"licenses": [{"license": {"name": "MIT"}}]}
    said.replace_header("License", "Permission is hereby granted\n to anybody")
    assert sbom.licence(said) == {}


def test_a_jar_is_named_as_maven_names_it() -> None:
    (jar,) = sbom.jars([Locked(Coordinates("g.h", "a", "1.0"), "ff")])
    assert (jar["purl"], jar["group"]) == ("pkg:maven/g.h/a@1.0", "g.h")
    assert jar["hashes"] == [{"alg": "SHA-256", "content": "ff"}]


def test_duplicates_are_listed_once_and_the_service_is_not_its_own_component(wheels: Path) -> None:
    made = sbom.document(sbom.project(), [sbom.project(), *sbom.wheels(wheels), *sbom.wheels(wheels)])
    parts = json.loads(json.dumps(made))["components"]
    assert [part["name"] for part in parts] == ["openjdk", "Some_Thing"]
