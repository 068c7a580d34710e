"""Generated pages and pictures are up to date, and the generators find everything."""

from pathlib import Path

import pytest

from consumer.settings import FIELDS, Settings, variable
from docs_generator import ROOT, decisions, pictures, rooms, settings
from docs_generator.files import FILES


@pytest.mark.parametrize("name", FILES)
def test_a_generated_file_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == FILES[name](), f"{name} is out of date: run `make docs`"


def test_every_setting_is_on_the_page_once() -> None:
    page = settings.page()
    assert [field for field in FIELDS if page.count(f"| `{variable(field)}` |") != 1] == []


def test_the_order_of_the_timeouts_is_the_checked_one() -> None:
    given = Settings.model_construct(
        batch_deadline_seconds=1, handoff_seconds=2, shutdown_grace_seconds=3, stop_timeout_seconds=4
    )
    assert tuple(given.timeouts) == settings.TIMEOUTS


def test_every_command_is_on_the_page() -> None:
    page = FILES["docs/reference/cli.md"]()
    commands = (
        "run",
        "process",
        "provision",
        "doctor",
        "status",
        "put",
        "limits show",
        "apply",
        "notices",
        "quarantine replay",
    )
    assert [name for name in commands if f"\n## consumer {name}\n" not in page] == []


def test_every_room_is_in_the_picture() -> None:
    assert pictures.PLACES.keys() == rooms.arrows().keys()


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    assert rooms.direct({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


@pytest.mark.parametrize(
    "text",
    [
        "# A title without a number\n\nStatus: accepted\n\nWhy.",
        "# 7. A number that is not the file's\n\nStatus: accepted\n\nWhy.",
        "# 1. No status\n\nWhy.",
        "# 1. An unknown status\n\nStatus: draft\n\nWhy.",
    ],
)
def test_a_decision_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "0001-a.md").write_text(text)
    with pytest.raises(ValueError, match=r"0001-a\.md: begin with `# 1\. TITLE` and `Status: accepted`"):
        decisions.decisions(tmp_path)


def test_decisions_are_numbered_without_gaps() -> None:
    found = decisions.decisions()
    assert [each.number for each in found] == list(range(1, len(found) + 1))


def test_a_decision_names_the_one_that_replaces_it(tmp_path: Path) -> None:
    (tmp_path / "0001-a.md").write_text("# 1. A\n\nStatus: superseded by 0002\n\nWhy.")
    (tmp_path / "0002-b.md").write_text("# 2. B\n\nStatus: accepted\n\nWhy.")
    assert decisions.rows(decisions.decisions(tmp_path)) == (
        "| [1. A](0001-a.md) | superseded by [2](0002-b.md) |\n| [2. B](0002-b.md) | accepted |\n"
    )
