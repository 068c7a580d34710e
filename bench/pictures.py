"""Draws how the costs grow: python -m bench.pictures RESULTS DIRECTORY, with the Python of .venv-bench.

The same results give the same files, byte for byte.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.model import fitted

LOGARITHMIC = ("batch", "backlog", "shards-memory", "shards-cpu")
SIZE = (6.4, 3.6)
"""Inches."""
BLUE, GREY = "#2a78d6", "#6b6a66"
STYLE = {"svg.hashsalt": "bench", "svg.fonttype": "none", "font.family": "sans-serif"}


def draw(key: str, x: str, y: str, points: Sequence[tuple[float, float]], file: Path) -> None:
    """One line with its points and their values; for distinct limits, also the model."""
    figure = Figure(SIZE, layout="tight")
    axes = figure.subplots()
    across, up = zip(*points, strict=True)
    axes.plot(across, up, marker="o", color=BLUE)
    if key == "limits":
        event, write = fitted(points)
        axes.plot(across, [event + write * each for each in across], linestyle="--", color=GREY)
    if key in LOGARITHMIC:
        axes.set_xscale("log")
        axes.set_xticks(across, [f"{value:,.0f}" for value in across])
        axes.minorticks_off()
    for place in points:
        axes.annotate(f"{place[1]:.0f}", place, textcoords="offset points", xytext=(0, 7), ha="center", color=GREY)
    axes.set_ylim(0, 1.2 * max(up))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, color=GREY, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    # The description lets a test compare the picture with the results.
    figure.savefig(file, metadata={"Date": None, "Creator": None, "Description": json.dumps(points)})


def main(results: Path, directory: Path) -> None:
    # Plain JSON: this Python has none of the service's packages.
    found = json.loads(results.read_text(encoding="utf-8"))
    with mpl.rc_context(STYLE):
        for each in found["growth"]:
            draw(each["key"], each["x"], each["y"], each["points"], directory / f"performance-{each['key']}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
