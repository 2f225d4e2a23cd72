"""The page of `skerry strangle report`, as a person sees it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "gateway"))

from chromium import Chromium
from strangler_reports import rolled_back, untouched

from skerry.gateway.strangler.picture import page
from skerry.gateway.strangler.report import Report

pytestmark = pytest.mark.chromium
EVIL = '</title><img src="http://evil.example/x" onerror="window.hit=1"><svg onload="window.hit=1">\u202e"`\''


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Chromium(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def shown(browser: Chromium, folder: Path, report: Report) -> Chromium:
    file = folder / "report.html"
    file.write_text(page(report))
    browser.open(file.as_uri())
    return browser


def test_the_page_needs_nothing_but_itself(browser, tmp_path) -> None:
    """Opened from a file it asks for nothing else, has no script, and its own policy has nothing to refuse."""
    shown(browser, tmp_path, rolled_back())
    assert [url for url in browser.requests if not url.startswith("data:")] == [(tmp_path / "report.html").as_uri()]
    assert browser.complaints == []
    assert browser.run("document.scripts.length") == 0


def test_what_happened_stands_first_and_each_drawing_says_itself_in_words(browser, tmp_path) -> None:
    """Before any drawing the state is read; each drawing has a name that tells its figures."""
    shown(browser, tmp_path, rolled_back())
    text = browser.run("document.body.innerText")
    assert text.index("Rolled back") < text.index("Over time") < text.index("Decisions")
    said = json.loads(
        browser.run("JSON.stringify([...document.querySelectorAll('svg')].map(s => s.getAttribute('aria-label')))")
    )
    assert len(said) == 3
    assert "It goes back at 100. errors at most" in said[2]
    assert browser.run("document.querySelectorAll('svg[role=img]').length") == 3


def test_every_line_is_within_its_drawing_and_no_name_covers_another(browser, tmp_path) -> None:
    """Lines, numbers of decisions and names at the ends, as they are laid out."""
    shown(browser, tmp_path, rolled_back())
    outside = """[...document.querySelectorAll('svg')].reduce((sum, svg) => { const box = svg.getBoundingClientRect();
        return sum + [...svg.children].filter(c => { const b = c.getBoundingClientRect();
          return b.left < box.left - 1 || b.right > box.right + 1 ||
            b.top < box.top - 1 || b.bottom > box.bottom + 1 }).length }, 0)"""
    assert browser.run(outside) == 0
    names = "JSON.stringify([...document.querySelectorAll('svg')].map(s => [...s.querySelectorAll('text.name')]"
    for drawing in json.loads(
        browser.run(names + ".map(n => n.getBoundingClientRect()).map(b => [b.top, b.bottom])))")
    ):
        for (_, bottom), (top, _) in zip(sorted(drawing), sorted(drawing)[1:], strict=False):
            assert top >= bottom - 3


def test_lines_differ_by_more_than_their_colour(browser, tmp_path) -> None:
    """Of the lines in one drawing no two have the same dashes."""
    shown(browser, tmp_path, rolled_back())
    dashes = "JSON.stringify([...document.querySelectorAll('svg')].map(s => [...s.querySelectorAll('path.line')]"
    for drawing in json.loads(
        browser.run(dashes + ".map(p => [p.getAttribute('class'), getComputedStyle(p).strokeDasharray])))")
    ):
        kinds = dict(drawing)
        assert len(set(kinds.values())) == len(kinds)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_its_ground(browser, tmp_path, scheme: str) -> None:
    """In light and dark each colour of text has at least 4.5 to 1 against what is behind it (WCAG 2.2, 1.4.3)."""
    browser.ask("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    shown(browser, tmp_path, rolled_back())
    ratio = """(() => { const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(n => n / 255)
          .map(n => n <= .04045 ? n / 12.92 : ((n + .055) / 1.055) ** 2.4); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
        const box = light(getComputedStyle(document.querySelector('figure')).backgroundColor);
        const colours = [...document.querySelectorAll('svg text')].map(t => getComputedStyle(t).fill)
          .concat([...document.querySelectorAll('path.line')].map(p => getComputedStyle(p).stroke),
                  [...document.querySelectorAll('dt, dd, td, p')].map(e => getComputedStyle(e).color));
        return Math.min(...colours.map(c => { const l = light(c);
          return (Math.max(l, box) + .05) / (Math.min(l, box) + .05) })) })()"""
    assert browser.run(ratio) >= 4.5


def test_hostile_texts_are_shown_and_not_obeyed(browser, tmp_path) -> None:
    """Whatever a route, a path or an answer is called: no element is made of it, and nothing is asked for."""
    shown(browser, tmp_path, rolled_back(EVIL, path=EVIL, sample=EVIL))
    assert browser.run("window.hit") is None
    assert browser.run("document.querySelectorAll('img, iframe, object').length") == 0
    assert not [url for url in browser.requests if "evil.example" in url]
    assert "\u202e" not in str(browser.run("document.body.innerText"))


def test_a_ramp_that_nobody_has_begun_has_a_page_too(browser, tmp_path) -> None:
    """It says so, and draws nothing."""
    shown(browser, tmp_path, untouched())
    assert browser.complaints == []
    assert "Not begun" in str(browser.run("document.body.innerText"))
    assert browser.run("document.querySelectorAll('svg').length") == 0
