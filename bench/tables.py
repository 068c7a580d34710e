"""The results as tables, for a terminal and as Markdown."""

from collections.abc import Iterator

from bench.cpu import PEER
from bench.results import Results, ratios


def text(found: Results) -> str:
    lines = [", ".join(f"{name} {value}" for name, value in found.machine.items()), "", *_rounds(found)]
    return "\n".join(lines) + "\n"


def _rounds(found: Results) -> Iterator[str]:
    peer = found.of(PEER)
    yield f"{'':44} {'us/event':>9} {'ratio':>6} {'of the rounds':>14} {'requests':>9} {'writes':>7}"
    for row in found.rounds:
        line = f"{row.title:44} {row.median:9.1f}"
        if peer:
            each = sorted(ratios(peer, row))
            spread = f"{each[0]:.1f} to {each[-1]:.1f}"
            line += f" {each[len(each) // 2]:5.1f}x {spread:>14} {row.requests:9.4f} {row.writes:7.4f}"
        yield line
