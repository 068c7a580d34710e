"""The way of a new user through the commands: doctor, provision, doctor, put, run, limits."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support import oracle
from tests.support.emulators import Emulator
from tests.support.service import environment, service
from tests.support.waiting import until

STORY = Path(__file__).parents[2] / "examples" / "events.json"


def run(variables: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "consumer", *arguments]
    return subprocess.run(command, env=variables, check=False, capture_output=True, text=True)


def test_from_doctor_to_limits(aws: Emulator, tmp_path: Path) -> None:
    variables = environment("newcomer", tmp_path, AWS_ENDPOINT_URL=aws.endpoint)

    before = run(variables, "doctor", "--json")
    assert before.returncode == 1
    missing = [finding["what"] for finding in json.loads(before.stdout) if finding["advice"]]
    assert missing == ["stream", "table", "table", "table", "table"]

    planned = run(variables, "provision", "--stream", "2", "--dry-run").stdout.splitlines()
    assert len(planned) == 6
    assert all(line.startswith("create ") for line in planned)
    assert run(variables, "doctor").returncode == 1, "a dry run makes nothing"

    assert run(variables, "provision", "--stream", "2").returncode == 0
    again = run(variables, "provision", "--stream", "2").stdout.splitlines()
    assert all(line.startswith("exists ") for line in again)
    assert run(variables, "doctor").returncode == 0

    assert run(variables, "put", str(STORY), "--generate", "50", "--seed", "1").returncode == 0
    assert run(variables, "limits", "u-anna", "--json").stdout == "[]\n"
    with service(variables, tmp_path / "log") as running:
        count = len(json.loads(STORY.read_text())) + 50
        until(lambda: running.received() == count, f"{count} records to be settled")
        assert running.stop() == 0

    shown = json.loads(run(variables, "limits", "u-anna", "--json").stdout)
    wanted = oracle.expected([event for event in json.loads(STORY.read_text()) if _is_sound(event)], 2**53)
    assert shown == [wanted[key] for key in sorted(wanted) if key[0] == "u-anna"]
    assert "u-anna" in run(variables, "limits", "u-anna").stdout
    listed = run(variables, "quarantine", "list", "--json").stdout.splitlines()
    assert [json.loads(line)["reason"] for line in listed] == ["SCHEMA"]


def test_a_properties_file_that_java_would_not_take_is_told_before_java_starts(aws: Emulator, tmp_path: Path) -> None:
    variables = environment("wrong", tmp_path, AWS_ENDPOINT_URL=aws.endpoint)
    shipped = Path(__file__).parents[2] / "properties"
    (tmp_path / "logback.xml").write_bytes((shipped / "logback.xml").read_bytes())
    text = (shipped / "consumer.properties").read_text(encoding="utf-8")
    wrong = text.replace("parentShardPollIntervalMillis = 2000", "parentShardPollIntervalMillis = soon")
    (tmp_path / "consumer.properties").write_text(f"{wrong}\nfailoverTimeMilis = 5000\n", encoding="utf-8")

    told = run({**variables, "CONSUMER_PROPERTIES": str(tmp_path)}, "run")

    assert told.returncode == 2
    assert [line for line in told.stderr.splitlines() if "failoverTimeMilis" in line]
    assert [line for line in told.stderr.splitlines() if "parentShardPollIntervalMillis" in line]
    assert len(told.stderr.splitlines()) == 2


def _is_sound(event: dict[str, object]) -> bool:
    payload = event["payload"]
    return isinstance(payload, dict) and payload.get("status", "ACTIVE") in (
        "ACTIVE",
        "CANCELED",
        "FUTURE",
        "IN_COOLDOWN",
    )
