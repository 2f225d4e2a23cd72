"""What of a page a machine can find hard to perceive: axe, and the contrast of words in drawings, which axe leaves open."""

from __future__ import annotations

from pathlib import Path

from chromium import Chromium

AXE = Path(__file__).parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
"""WCAG 2.2 A and AA, and good practice."""
DRAWN = """[...document.querySelectorAll('svg text')].flatMap(text => {
    const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b }
    const solid = colour => /^rgb\\(/.test(colour)
    let ground = ''
    for (let at = text; at.tagName !== 'svg' && !ground; at = at.parentElement)
      for (let by = at.previousElementSibling; by && !ground; by = by.previousElementSibling)
        if (by.tagName === 'rect' && solid(getComputedStyle(by).fill)) ground = getComputedStyle(by).fill
    for (let at = text.closest('svg'); at && !ground; at = at.parentElement)
      if (solid(getComputedStyle(at).backgroundColor)) ground = getComputedStyle(at).backgroundColor
    const [dark, bright] = [light(getComputedStyle(text).fill), light(ground)].sort((a, b) => a - b)
    const contrast = (bright + 0.05) / (dark + 0.05)
    return contrast < 4.5 ? [`${text.textContent} has a contrast of ${contrast.toFixed(2)}`] : []
  })"""


def violations(page: Chromium) -> list[str]:
    """What of the page, as it is shown now, breaks a rule: how grave it is, the rule and the elements."""
    if not page.run("'axe' in window"):
        page.run(f"{AXE.read_text()};0")
    found: list[str] = page.until(
        f"axe.run(document, {{runOnly: {RULES!r}, resultTypes: ['violations']}}).then(r => ({{bad: r.violations.map("
        "v => v.impact + ' ' + v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200)).join(' '))}))"
    )["bad"]
    return found + list(page.run(DRAWN))
