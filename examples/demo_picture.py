"""Draws docs/images/demo.svg, the output of `make demo`: `python -m examples.demo_picture docs/images/demo.svg`."""

import sys
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from examples.demo import show
from examples.status_picture import FORM

WIDTH = 100


def main() -> None:
    target = Path(sys.argv[1]).resolve()
    console = Console(record=True, width=WIDTH, file=StringIO(), highlight=False)
    console.print("$ make demo", style="bold")
    with TemporaryDirectory(prefix="demo-") as directory:
        show(console, Path(directory), events=5_000, seed=2026)
    target.write_text(console.export_svg(title="make demo", code_format=FORM, unique_id="demo"), encoding="utf-8")


if __name__ == "__main__":
    main()
