"""Draws how the costs grow: python -m bench.pictures RESULTS DIRECTORY, with the Python of .venv-bench.

The same results give the same files, byte for byte.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams |= {"svg.hashsalt": "bench", "svg.fonttype": "none", "font.family": "sans-serif"}

from matplotlib import pyplot as plt  # noqa: E402 - after the choice of the backend

LOGARITHMIC = ("batch", "backlog", "shards-memory", "shards-cpu")
SIZE = (6.4, 3.6)
BLUE, GREY = "#2a78d6", "#8a8984"


def draw(key: str, x: str, y: str, points: Sequence[tuple[float, float]], file: Path) -> None:
    """One line with its points and their values."""
    figure, axes = plt.subplots(figsize=SIZE)
    across, up = zip(*points, strict=True)
    axes.plot(across, up, marker="o", color=BLUE)
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
    figure.tight_layout()
    # The description lets a test compare the picture with the results.
    figure.savefig(file, metadata={"Date": None, "Creator": None, "Description": json.dumps(points)})
    plt.close(figure)


def main(results: Path, directory: Path) -> None:
    # Plain JSON: this Python has none of the service's packages.
    for each in json.loads(results.read_text(encoding="utf-8"))["growth"]:
        draw(each["key"], each["x"], each["y"], each["points"], directory / f"performance-{each['key']}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
