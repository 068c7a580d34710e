"""The tutorials and the guide for an event type, followed in a fresh copy of the checkout, lead where they say."""

from pathlib import Path

import pytest

from tests.support.driven.guides import MARK, Block, blocks, check_shown, copied, printed
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.emulators.aws import ROOT

PAGES = [ROOT / "docs" / f"{name}.md" for name in ("tutorial", "tutorial-projection", "how-to/add-an-event-type")]


def inserted(before: str, added: str) -> str:
    """Inserts as the page says: at the first or last line of `added` if `before` has it, otherwise at the end."""
    first, *_, last = added.splitlines(keepends=True)
    places = [line for line in (first, last) if f"\n{line}" in before]
    if not places:
        return f"{before}\n\n{added}" if before else added
    (line,) = places
    assert before.count(f"\n{line}") == 1, f"not one place for {line!r}"
    return before.replace(f"\n{line}", f"\n{added}")


def script(steps: list[Block], checkout: Path) -> str:
    """The page as one bash script with its commands and its changes to files."""
    lines = ["set -eu -o pipefail"]
    contents: dict[Path, str] = {}
    for number, step in enumerate(steps):
        if step.kind == "sh":
            lines += [step.text, f"echo '{MARK}'"]
        elif step.file:
            target = checkout / step.file
            before = contents.get(target) or (target.read_text(encoding="utf-8") if target.exists() else "")
            contents[target] = inserted(before, step.text)
            version = checkout.with_name(f"version-{number}")
            version.write_text(contents[target], encoding="utf-8")
            lines.append(f"cp '{version}' '{target}'")
    return "\n".join(lines).replace(":4566", f":{(port := free_port())}").replace("=4566", f"={port}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_leads_where_it_says(page: Path, tmp_path: Path) -> None:
    steps, checkout = blocks(page), copied(tmp_path / "checkout")
    address = f"{LOOPBACK}:{free_port()}"
    outputs = printed(script(steps, checkout), checkout, PYTHONPATH=str(checkout), CONSUMER_METRICS_ADDRESS=address)
    check_shown(steps, [step for step in steps if step.kind == "sh"], outputs)
