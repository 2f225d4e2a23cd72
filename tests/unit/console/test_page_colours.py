"""The colours of the console's states, as people with any colour vision see them."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest

SHEET = Path(__file__).parents[3] / "src" / "skerry" / "console" / "static" / "assets" / "console.css"
APART = 15.0
"""CIE76; from about 10 on two colours are told apart at a glance."""
# Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision Deficiency, 2009.
VISIONS = {
    "all cones": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
WHITE = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))

Triple = tuple[float, float, float]


def product(matrix: tuple[Triple, ...], vector: Triple) -> Triple:
    a, b, c = (sum(one * other for one, other in zip(row, vector, strict=True)) for row in matrix)
    return a, b, c


def linear(colour: str) -> Triple:
    shares = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    r, g, b = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares)
    return r, g, b


def lab(light: Triple) -> Triple:
    seen = product(WHITE, tuple(min(1.0, max(0.0, each)) for each in light))  # type: ignore[arg-type]
    x, y, z = (
        share ** (1 / 3) if share > 0.008856 else 7.787 * share + 16 / 116
        for share in (value / sum(row) for value, row in zip(seen, WHITE, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("vision", VISIONS)
def test_states_are_told_apart_whatever_cones_somebody_has(vision: str) -> None:
    """Well, not quite and down differ from each other, in light and in dark; each has a shape and a word besides."""
    sheet = SHEET.read_text()
    found = {name: re.findall(rf"--{name}:#([0-9a-f]{{6}})", sheet) for name in ("good", "warn", "bad")}
    assert [len(colours) for colours in found.values()] == [2, 2, 2]
    for scheme in (0, 1):
        seen = {name: lab(product(VISIONS[vision], linear(colours[scheme]))) for name, colours in found.items()}
        for one, other in itertools.combinations(seen, 2):
            assert math.dist(seen[one], seen[other]) >= APART, (one, other, ("light", "dark")[scheme])
