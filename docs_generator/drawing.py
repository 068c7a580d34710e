"""Boxes and arrows as SVG. The pictures need no script and no font of their own, so the site shows them offline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

SMALL = 'font-size="12"'
CENTRED = SMALL + ' text-anchor="middle" fill="#334155"'
NAME = 'font-size="15" font-weight="bold" text-anchor="middle" fill="#0f172a"'

HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" role="img">
<title>{title}</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">\
<path d="M0 0 L8 4 L0 8 z" fill="#475569"/></marker></defs>
<rect width="{width}" height="{height}" rx="8" fill="#f8fafc"/>
"""


@dataclass(frozen=True)
class Box:
    """A named thing and what it is; lengths are pixels, from its upper left corner. A `frame` is behind the others."""

    x: float
    y: float
    width: float
    height: float
    name: str
    lines: Sequence[str] = ()
    fill: str = "#ffffff"
    frame: bool = False

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def edge(self, towards: tuple[float, float]) -> tuple[float, float]:
        """Where a line from the centre leaves the box."""
        (x, y), (to_x, to_y) = self.centre, towards
        across, down = to_x - x, to_y - y
        share = min(
            self.width / 2 / abs(across) if across else float("inf"),
            self.height / 2 / abs(down) if down else float("inf"),
        )
        return x + across * share, y + down * share


@dataclass(frozen=True)
class Arrow:
    """From one box to another, by name. `shift` moves it sideways; `at` is where on the way its label is, 0..1."""

    start: str
    end: str
    label: str = ""
    dashed: bool = False
    shift: tuple[float, float] = (0, 0)
    at: float = 0.5


def picture(title: str, size: tuple[int, int], boxes: Sequence[Box], arrows: Sequence[Arrow]) -> str:
    """The text of an SVG file."""
    width, height = size
    by_name = {box.name: box for box in boxes}
    frames = [_box(box) for box in boxes if box.frame]
    lines = [_line(arrow, by_name) for arrow in arrows]
    front = [_box(box) for box in boxes if not box.frame]
    labels = [_label(arrow, by_name) for arrow in arrows if arrow.label]
    head = HEAD.format(width=width, height=height, title=escape(title))
    return head + "\n".join([*frames, *lines, *front, *labels, "</svg>"]) + "\n"


def _box(box: Box) -> str:
    stroke = 'stroke="#94a3b8" stroke-dasharray="5 4"' if box.frame else 'stroke="#475569"'
    shape = (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="6"'
        f' fill="{box.fill}" {stroke}/>'
    )
    if box.frame:
        return shape + _text(box.x + 10, box.y + 20, box.name, SMALL + ' fill="#64748b"')
    x, y = box.centre
    top = y + 5 - len(box.lines) * 8
    below = (_text(x, top + 17 * place, line, CENTRED) for place, line in enumerate(box.lines, 1))
    return shape + _text(x, top, box.name, NAME) + "".join(below)


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(text)}</text>'


def _ends(arrow: Arrow, boxes: Mapping[str, Box]) -> tuple[float, float, float, float]:
    start, end = boxes[arrow.start], boxes[arrow.end]
    across, down = arrow.shift
    x1, y1 = start.edge(end.centre)
    x2, y2 = end.edge(start.centre)
    return x1 + across, y1 + down, x2 + across, y2 + down


def _line(arrow: Arrow, boxes: Mapping[str, Box]) -> str:
    x1, y1, x2, y2 = _ends(arrow, boxes)
    dash = ' stroke-dasharray="5 4"' if arrow.dashed else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#475569" stroke-width="1.5"{dash}'
        ' marker-end="url(#tip)"/>'
    )


def _label(arrow: Arrow, boxes: Mapping[str, Box]) -> str:
    x1, y1, x2, y2 = _ends(arrow, boxes)
    x, y = x1 + (x2 - x1) * arrow.at, y1 + (y2 - y1) * arrow.at
    wide = 6.4 * len(arrow.label) + 8
    behind = f'<rect x="{x - wide / 2:.1f}" y="{y - 9:.1f}" width="{wide:.1f}" height="18" rx="3" fill="#f8fafc"/>'
    return behind + _text(round(x, 1), round(y + 4, 1), arrow.label, CENTRED)
