"""The page of `skerry map -o html`, as a person without a network sees it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chromium import Chromium

from skerry.architecture.model import Datastore, Edge, Evidence, Service, Source, SystemModel, Use
from skerry.architecture.picture import as_page
from skerry.architecture.source import Place

pytestmark = pytest.mark.chromium
EVIL = '</script><img src="http://evil.example/x" onerror="window.hit=1"><svg onload="window.hit=1">\u202e\x1b[2J\'"`${hit=1}'
SAID = (Evidence("said here", Source.CODE, Place("order/app.py", 3)),)


def system(name: str = "payment") -> SystemModel:
    services = {each: Service(name=each, roots=(each,), lines=100, evidence=SAID) for each in ("order", name, "alone")}
    return SystemModel(
        services=services,
        stores={
            "own": Datastore(identity="own", kind="sqlite", server="a", database="own"),
            "shared": Datastore(identity="shared", kind="postgresql", server="db", database=name),
        },
        uses=(
            Use(service="order", store="own", evidence=SAID),
            Use(service="order", store="shared", evidence=SAID),
            Use(service=name, store="shared", evidence=SAID),
        ),
        edges=(
            Edge(caller="order", callee=name, waits=True, evidence=SAID),
            Edge(caller=name, callee="order", waits=False, topic=name, evidence=SAID),
        ),
        externals=(name,),
        unknown=(Evidence(name, Source.DEPLOY, Place(name, 1)),),
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Chromium(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def shown(browser: Chromium, folder: Path, model: SystemModel, title: str = "shop") -> Chromium:
    file = folder / "map.html"
    file.write_text(as_page(model, title=title))
    browser.open(file.as_uri())
    return browser


def about(browser: Chromium) -> str:
    return str(browser.run("document.getElementById('about').innerText"))


def test_the_page_needs_nothing_but_itself(browser, tmp_path) -> None:
    """Opened from a file it asks for nothing else, no script fails, and the sum of what is there stands at its top."""
    shown(browser, tmp_path, system())
    assert [url for url in browser.requests if not url.startswith("data:")] == [(tmp_path / "map.html").as_uri()]
    assert browser.complaints == []
    assert (
        browser.run("document.getElementById('sum').textContent") == "3 services, 2 stores, 1 call, 1 flow of messages"
    )


def test_every_box_is_in_sight_and_none_covers_another(browser, tmp_path) -> None:
    """Before anybody moves anything."""
    shown(browser, tmp_path, system())
    boxes = json.loads(
        browser.run(
            "JSON.stringify([...document.querySelectorAll('.node')].map(n => n.getBoundingClientRect())"
            ".map(b => [b.left, b.top, b.right, b.bottom]))"
        )
    )
    width, height = browser.run("innerWidth"), browser.run("innerHeight")
    assert len(boxes) == 5
    assert all(left >= 0 and top >= 0 and right <= width and bottom <= height for left, top, right, bottom in boxes)
    for number, one in enumerate(boxes):
        for other in boxes[number + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_the_keyboard_is_enough(browser, tmp_path) -> None:
    """Tab reaches a service, Enter shows it, its list leads to an edge with its place, Escape comes back."""
    shown(browser, tmp_path, system())
    for _ in range(10):
        browser.press("Tab")
        if browser.run("document.activeElement.getAttribute('aria-label')") == "order":
            break
    browser.press("Enter", "\r")
    assert "waits for payment" in about(browser)
    browser.run("[...document.querySelectorAll('aside button')].find(b => b.innerText.includes('waits for')).focus()")
    browser.press("Enter", "\r")
    assert "order/app.py:3" in about(browser)
    browser.press("Escape")
    assert "What is here" in about(browser)


def test_shared_databases_are_named_first(browser, tmp_path) -> None:
    """The one that two services use stands in the overview, the one of a single service does not."""
    shown(browser, tmp_path, system())
    text = about(browser)
    assert "Databases that several services use" in text
    assert "shared" in text.split("Services")[0]
    assert "\nown\n" not in text


def test_hostile_names_are_shown_and_not_obeyed(browser, tmp_path) -> None:
    """Whatever a service, a file or a topic is called: no element is made of it, no script runs, nothing is asked for."""
    shown(browser, tmp_path, system(EVIL), EVIL)
    for node in range(5):
        browser.run(f"document.querySelectorAll('.node')[{node}].dispatchEvent(new MouseEvent('click'))")
    assert browser.run("window.hit") is None
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert not [url for url in browser.requests if "evil.example" in url]
    assert EVIL[:9] in str(browser.run("document.title"))


def test_an_empty_system_has_a_page_too(browser, tmp_path) -> None:
    """Nothing fails where nothing was found."""
    shown(browser, tmp_path, SystemModel())
    assert browser.complaints == []
    assert "0 services" in str(browser.run("document.getElementById('sum').textContent"))
