"""Row 62: duplicates, disorder, poison records and kills at once, and the proof that the limits are right after it."""

import json
import subprocess
import sys

import pytest

from tests.faults.conftest import Note
from tests.support.driven.proof import PROMISES

pytestmark = pytest.mark.conformance


def test_62_everything_at_once_and_the_proof(seed: int, note: Note) -> None:
    """The command of `make proof`, with fewer events."""
    options = ("--events", "4000", "--kills", "3", "--seed", str(seed), "--json")
    command = [sys.executable, "-m", "tests.support.driven.proof", *options]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    results = json.loads(ran.stdout.splitlines()[-1])
    assert [(each["promise"], each["wrong"]) for each in results] == [(promise, "") for promise in PROMISES]
    for each in results:
        note(f"{each['promise']}: {each['found']}")
