"""A projection that is not about limits is kept by the same service, and the same commands work on it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.driven.scenario import until_received
from tests.support.driven.service import Sample, consumer, environment, service
from tests.support.emulators.aws import ROOT, Emulator

PLACES = [f"p-{number}" for number in range(30)]
HIGH, REFUSED = 2_000, -1
READINGS = [(place, number) for number in (3, 5, 4) for place in PLACES] + [("p-0", HIGH), ("p-1", REFUSED)]
HIGHEST = dict.fromkeys(PLACES, 5) | {"p-0": HIGH}


@dataclass(frozen=True)
class Kept:
    """What the service has left, and what it measured."""

    variables: Mapping[str, str]
    folder: Path
    samples: list[Sample]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "consumer", *arguments]
        theirs = {**self.variables, **variables}
        return subprocess.run(command, env=theirs, cwd=self.folder, capture_output=True, text=True, check=False)

    def json(self, *arguments: str, **variables: str) -> Any:
        done = self.run(*arguments, "--json", **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def kept(aws: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """The service has kept the readings, and is stopped."""
    folder = tmp_path_factory.mktemp("peaks")
    variables = environment("peaks", folder, AWS_ENDPOINT_URL=aws.endpoint) | {
        "PYTHONPATH": str(ROOT),
        "CONSUMER_PROJECTION": "tests.support.generators.small_projection:Peaks",
        "CONSUMER_ARCHIVE": f"dir:{folder / 'archive'}",
        "CONSUMER_ARCHIVE_SECONDS": "1",
    }
    consumer(variables, "provision", "--stream", "2")
    file = folder / "readings.jsonl"
    file.write_text("".join(json.dumps({"place": place, "number": number}) + "\n" for place, number in READINGS))
    consumer(variables, "put", "--raw", str(file))
    with service(variables, folder / "log") as running:
        until_received(running, len(READINGS))
        samples = running.samples()
        assert running.stop() == 0
    return Kept(variables, folder, samples)


def documents(places: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"region": "north", "place": place, "highest": places[place]} for place in sorted(places)]


def test_its_states_are_in_a_table_with_its_keys(kept: Kept) -> None:
    assert kept.json("show", "north") == documents(HIGHEST)
    assert kept.json("show", "north", "p-0") == documents({"p-0": HIGH})
    assert kept.run("show", "south").stdout == "no states are stored under this key\n"


def test_people_see_a_row_for_each_state(kept: Kept) -> None:
    headings, _, *rows = [line.split() for line in kept.run("show", "north").stdout.splitlines() if line.strip()]
    assert headings == ["region", "place", "highest"]
    assert rows == [["north", place, str(HIGHEST[place])] for place in sorted(PLACES)]


def test_its_types_and_warnings_are_labels(kept: Kept) -> None:
    types = {each.labels["type"] for each in kept.samples if each.name == "consumer_records_total"}
    warnings = {each.labels["kind"]: each.value for each in kept.samples if each.name == "consumer_warnings_total"}
    assert types == {"READING"}
    assert warnings == {"high": 1}


def test_what_it_refuses_is_in_the_quarantine_and_can_be_replayed(kept: Kept) -> None:
    position, _, reason, kind, _ = kept.run("quarantine", "list").stdout.strip().split("\t")
    assert (reason, kind) == ("SCHEMA", "READING")
    replayed = kept.run("quarantine", "replay", position)
    assert (replayed.returncode, "number: below zero" in replayed.stdout) == (1, True)


def test_its_table_is_verified_and_rebuilt_from_the_archive(kept: Kept) -> None:
    found = kept.json("verify", "--patience", "0")
    assert (found["ok"], found["states"], found["records"]["applied"]) == (True, len(PLACES), len(READINGS))

    another = {"AWS_TABLE_NAME": "peaks-rebuilt"}
    kept.run("provision", **another)
    differs = kept.run("verify", "--patience", "0", "--json", **another)
    (first, *_) = json.loads(differs.stdout)["findings"]
    assert (differs.returncode, first["region"], first["kinds"]) == (1, "north", ["missing"])

    kept.json("rebuild", "--into", "peaks-rebuilt")
    assert kept.json("show", "north", **another) == documents(HIGHEST)
    assert kept.json("verify", "--user", "north", "--patience", "0", **another)["ok"]
