"""Lines over time as SVG, for the page of a ramp: drawn here, so the page needs no script.

Whoever cannot tell colours apart has dashes and marks at the ends, and each drawing says in words what is on it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

WIDTH: Final = 880
LEFT: Final = 64
RIGHT: Final = 150
"""Room for the names of the lines, beside their ends."""
TOP: Final = 26
BOTTOM: Final = 34
MOST: Final = 600
"""Points of a line; of more, so many are drawn that stand for all."""
_APART: Final = 15.0
_EVENLY: Final = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0)


Style = Literal["a", "b", "c", "d"]


@dataclass(frozen=True, slots=True)
class Line:
    """`points` are (seconds, value), in their order. `style` is one of `a` to `d`: a colour, dashes and a mark of its own."""

    name: str
    points: Sequence[tuple[float, float]]
    style: Style
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from `least` to `most`. `logarithmic`: by powers of ten. `unit` follows each number."""

    least: float
    most: float
    unit: str = ""
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """How far up a value is, 0 to 1."""
        low, high, at = self.least, self.most, min(max(value, self.least), self.most)
        if self.logarithmic:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        return (at - low) / (high - low)

    def marks(self) -> list[float]:
        """Where lines across stand."""
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.least)), math.floor(math.log10(self.most))
            apart = max(1, math.ceil((last - first) / 5))
            return [10.0**power for power in range(first, last + 1, apart)]
        return [self.least + (self.most - self.least) * part / 4 for part in range(5)]


def chart(
    title: str,
    says: str,
    lines: Sequence[Line],
    axis: Axis,
    *,
    until: float,
    decisions: Sequence[float] = (),
    limits: Sequence[tuple[str, float]] = (),
    height: int = 210,
) -> str:
    """One drawing, of the seconds 0 to `until`. `says` is what it shows, in words; `decisions` are the moments of the numbered
    ones, `limits` values with a name that are drawn across.
    """
    until = max(until, 1.0)
    area = _Area(height, axis, until)
    said = text(f"{title}. {says}")
    opened = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{said}">'
    parts = [f"<figure><figcaption>{text(title)}</figcaption>{opened}", *_grid(area)]
    parts += [_limit(area, name, value) for name, value in limits]
    parts += [_mark(area, number, at) for number, at in enumerate(decisions, 1)]
    drawn = [line for line in lines if line.points]
    parts += [_line(area, line) for line in drawn]
    parts += _names(area, drawn)
    return "".join([*parts, "</svg></figure>"])


@dataclass(frozen=True, slots=True)
class _Area:
    height: int
    axis: Axis
    until: float

    def x(self, seconds: float) -> float:
        return LEFT + min(max(seconds, 0.0), self.until) / self.until * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return self.height - BOTTOM - self.axis.share(value) * (self.height - TOP - BOTTOM)


def _grid(area: _Area) -> list[str]:
    found: list[str] = []
    for value in area.axis.marks():
        y = area.y(value)
        found += (
            f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>',
            f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(value)}{area.axis.unit}</text>',
        )
    apart = next((each for each in _EVENLY if area.until / each <= 8), area.until)
    for place in range(int(area.until / apart) + 1):
        x = area.x(place * apart)
        found += (
            f'<path class="grid" d="M{x:.1f} {area.height - BOTTOM}v5"/>',
            f'<text class="tick" x="{x:.1f}" y="{area.height - BOTTOM + 19}" text-anchor="middle">{span(place * apart)}</text>',
        )
    return found


def _limit(area: _Area, name: str, value: float) -> str:
    y = area.y(value)
    return (
        f'<path class="limit" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        f'<text class="limit" x="{LEFT + 6}" y="{y - 5:.1f}">{text(name)}</text>'
    )


def _mark(area: _Area, number: int, at: float) -> str:
    x = area.x(at)
    return (
        f'<path class="decision" d="M{x:.1f} {TOP - 8}V{area.height - BOTTOM}"/>'
        f'<circle class="decision" cx="{x:.1f}" cy="{TOP - 14}" r="9"/>'
        f'<text class="decision" x="{x:.1f}" y="{TOP - 10}" text-anchor="middle">{number}</text>'
    )


def _line(area: _Area, line: Line) -> str:
    points = thinned(line.points)
    x, y = area.x(points[0][0]), area.y(points[0][1])
    path = [f"M{x:.1f} {y:.1f}"]
    for seconds, value in points[1:]:
        x, y = area.x(seconds), area.y(value)
        path.append(f"H{x:.1f}V{y:.1f}" if line.steps else f"L{x:.1f} {y:.1f}")
    return f'<path class="line {line.style}" d="{"".join(path)}"/>'


def _names(area: _Area, lines: Sequence[Line]) -> list[str]:
    """Each at the end of its line, moved apart where ends are close."""
    ends = sorted(((area.y(line.points[-1][1]), line) for line in lines), key=lambda each: each[0])
    found: list[str] = []
    lowest = 0.0
    room = area.height - BOTTOM - _APART * (len(ends) - 1)
    for place, (y, line) in enumerate(ends):
        lowest = max(min(y, room + _APART * place), lowest + _APART)
        x = WIDTH - RIGHT + 8
        found.append(
            f'<path class="line {line.style}" d="M{x} {lowest:.1f}h22"/>'
            f'<text class="name" x="{x + 28}" y="{lowest + 4:.1f}">{text(line.name)}</text>'
        )
    return found


def thinned(points: Sequence[tuple[float, float]], *, most: int = MOST) -> Sequence[tuple[float, float]]:
    """At most so many points, in their order: of each bundle of neighbours its highest, for a peak must not be lost."""
    if len(points) <= most:
        return points
    size = math.ceil(len(points) / (most - 2))
    inner = points[1:-1]
    bundles = [inner[start : start + size] for start in range(0, len(inner), size)]
    return [points[0], *(max(bundle, key=lambda each: each[1]) for bundle in bundles), points[-1]]


def number(value: float) -> str:
    """As short as it can be read: 12,400, 3.2, 0.05, 1e6."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 0.001:
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def span(seconds: float) -> str:
    """`40 s`, `2 min`, `3 h`, `2 days`."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def text(told: str) -> str:
    """Escaped, and without what would turn the line around or could not be printed: some of it came from answers."""
    plain = "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in told)
    return html.escape(plain)
