"""The help of every command has an example, its exit codes and its settings."""

import re

import pytest
import typer

from consumer.cli.help_pages import PAGES, commands, lines
from consumer.cli.main import app
from consumer.settings import Settings, variable
from tests.support.driven.commands import in_text, run

NAMES = [name for name, _ in commands(typer.main.get_command(app))]


def test_every_command_has_its_page_and_every_page_its_command() -> None:
    assert {"", "run", "quarantine", "quarantine replay", "process"} <= set(NAMES)
    assert sorted(PAGES) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_command_has_all_parts(name: str) -> None:
    done = in_text(run(*name.split(), "--help", environment={}))
    shown = " ".join(done.stdout.split())

    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: {f'consumer {name}'.strip()} " in shown
    for part in ("Example: consumer ", "Exit codes: 0 success; 1 ", "; 130 interrupted", "Settings: "):
        assert shown.count(part) == 1
    assert all(line in shown for line in lines(PAGES[name]))


@pytest.mark.parametrize("name", NAMES)
def test_the_example_runs_the_command(name: str) -> None:
    words = PAGES[name].example.split()
    assert words[0] == "consumer"
    assert words[1 : 1 + len(name.split())] == name.split()


@pytest.mark.parametrize("name", [name for name in NAMES if "none are required" not in lines(PAGES[name])[2]])
def test_a_command_without_settings_names_those_of_its_page(name: str) -> None:
    arguments = PAGES[name].example.split()[1:]
    done = in_text(run(*arguments, environment={}))
    missing = {line.split()[1] for line in done.stderr.splitlines() if line.endswith(" is not set")}

    assert done.returncode == 2
    assert missing == set(re.findall(r"\b(?:AWS|CONSUMER)_[A-Z_]+", lines(PAGES[name])[2]))
    assert missing <= {variable(field) for field in Settings.model_fields}


def test_the_record_processor_is_hidden() -> None:
    done = run("--help", environment={})
    assert b"process " not in done.stdout
    assert b"lambda-invoke" in done.stdout
