"""The soak test for one minute."""

import json
import subprocess
import sys

from tests.faults.conftest import Note


def test_soak_for_a_minute(seed: int, note: Note) -> None:
    options = ("--minutes", "1", "--seed", str(seed), "--patience", "100", "--json")
    command = [sys.executable, "-m", "tests.support.driven.soak", *options]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    report = json.loads(ran.stdout.splitlines()[-1])
    assert report["problems"] == []
    assert report["received"] > 0
    assert sum(report["hits"].values()) > 0
    faults, sizes = sum(report["injected"].values()), {life["role"]: round(life["most"]) for life in report["memory"]}
    note(f"{report['put']} records, {faults} faults, a wait of {report['longest_wait_seconds']} s; MiB {sizes}")
