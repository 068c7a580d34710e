"""The class that stands where KCL looks for one that Java no longer has."""

import subprocess
from pathlib import Path

from consumer.worker import guard, java


def test_java_takes_it_for_a_class(tmp_path: Path) -> None:
    """It is loaded, and found to have no main method."""
    path = guard.write(tmp_path)
    command = [str(java.find_java({})), "-cp", f"{path}:{java.jars_directory()}/*", guard.NAME.replace("/", ".")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Main method not found in class javax.xml.bind.DatatypeConverter" in done.stderr
