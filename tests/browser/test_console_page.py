"""The console's page in a real browser, in front of a stage whose states are hard to bring about in a system that runs."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chromium import Chromium
from console_axe import violations
from console_scenes import EVIL, MORE, SAGA, TRACE, edge, healthy, hostile, payment_down, service
from console_stage import Stage

pytestmark = pytest.mark.chromium
EDGE = """document.querySelector('[data-edge="[\\\\"order\\\\",\\\\"payment\\\\",\\\\"call\\\\"]"]')"""
TEXT = "document.querySelector('main').innerText"
FIRST_DRAWN = """(() => {
    const canvas = document.querySelector('figure canvas');
    const wanted = getComputedStyle(document.documentElement).getPropertyValue('--link').trim().slice(1);
    const [red, green, blue] = [0, 2, 4].map(at => parseInt(wanted.slice(at, at + 2), 16));
    const { data, width, height } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let x = 0; x < width; x++)
        for (let y = 0; y < height; y++) {
            const at = 4 * (y * width + x);
            if (data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] === 255) return x / width;
        }
    return null;
})()"""
"""How far from the left the line of the first chart begins, as a share of the drawing."""
PAGES = {
    "": "Services",
    "service/order": "What it depends on",
    "traces": "POST /orders",
    f"traces/{TRACE}": "5 spans",
    "sagas": "order-4711",
    "sagas/order/01JC8XK1E7": "Timeline",
    "dead": "shop.order.placed",
    "dead/search/17": "order-4698",
    "strangler": "monolith",
    "checks": "shared-database",
    "audit": "Nothing yet",
}


@pytest.fixture(scope="module")
def stage():
    served = Stage()
    yield served
    served.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Chromium(tmp_path_factory.mktemp("profile"), width=1360)
    yield opened
    opened.close()


@pytest.fixture
def page(browser, stage):
    """A stage where all is well."""
    stage.reset()
    return browser


def shown(browser: Chromium, stage: Stage, path: str = "", *, until: str = "Services") -> None:
    browser.open("about:blank")  # another part behind # alone loads nothing
    browser.open(f"{stage.url}#/{path}")
    browser.until(f"document.querySelector('main')?.innerText.includes({until!r})")


def clicked(browser: Chromium, words: str, *, within: str = "document") -> None:
    """Click the button that begins with these words, once it is there."""
    button = f"[...{within}.querySelectorAll('button')].find(b => b.innerText.startsWith({words!r}))"
    browser.until(f"({button}) && (({button}).click(), true)")


def focused(browser: Chromium, words: str, *, most: int = 80) -> None:
    """Press Tab until what has these words has the focus."""
    for _ in range(most):
        browser.press("Tab")
        said = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
        if " ".join(str(browser.run(said)).split()).startswith(words):
            return
    pytest.fail(f"Tab does not reach {words}")


def test_it_is_quiet_when_all_is_well(page, stage) -> None:
    """One sentence, nothing red, nothing for a person; the page asks nobody but its server, and its policy refuses nothing."""
    shown(page, stage)
    assert "All 6 services are well" in page.run("document.querySelector('h1').innerText")
    assert page.run("document.querySelectorAll('main .bad, main .warn, main .failing, main .open').length") == 0
    assert "Needs a person" not in page.run(TEXT)
    assert all(url.startswith(stage.url) for url in page.requests)
    assert page.complaints == []


def test_what_is_down_is_named_and_its_edge_is_open(page, stage) -> None:
    """An open page hears of it by itself: sentence, title, the edge with its breaker, the service first; then quiet again."""
    shown(page, stage)
    stage.show(payment_down())
    page.until("document.querySelector('h1').innerText.includes('payment is down since 14:02:11')")
    assert page.run("document.title").startswith("\u2715")
    assert page.run(f"{EDGE}.classList.contains('open')")
    assert "breaker open" in page.run(f"{EDGE}.getAttribute('aria-label')")
    assert "payment" in page.run("document.querySelector('tbody tr').innerText")
    assert "212 events wait" in page.run("document.querySelector('main').innerText")
    stage.show(healthy())
    page.until("document.querySelector('h1').innerText.includes('All 6 services are well')")
    assert not page.run(f"{EDGE}.classList.contains('open')")


def test_boxes_on_the_map_cover_neither_each_other_nor_go_to_the_left(page, stage) -> None:
    """Each box is within the drawing; a caller stands to the left of whom it calls."""
    stage.show(payment_down())
    shown(page, stage)
    boxes = page.run(
        "[...document.querySelectorAll('.node')].map(n => [n.querySelector('.name').textContent, n.querySelector('rect')"
        ".getBoundingClientRect()]).map(([name, b]) => [name, b.left, b.top, b.right, b.bottom])"
    )
    for number, one in enumerate(boxes):
        for other in boxes[number + 1 :]:
            assert one[3] <= other[1] or other[3] <= one[1] or one[4] <= other[2] or other[4] <= one[2]
    left = {name: edge for name, edge, *_ in boxes}
    assert left["gateway"] < left["order"] < left["payment"]


def test_a_long_name_stands_whole_on_the_map(page, stage) -> None:
    """Two that begin alike are told apart: a box is as wide as its name."""
    view = healthy()
    view["services"] += [service("customer-notification-service"), service("customer-notification-worker")]
    view["edges"].append(edge("customer-notification-service", "customer-notification-worker"))
    stage.show(view)
    shown(page, stage)
    room = page.run(
        "[...document.querySelectorAll('.node')].filter(n => n.textContent.includes('customer')).map(n => "
        "n.querySelector('rect').getBBox().width - 40 - n.querySelector('.name').getComputedTextLength())"
    )
    assert len(room) == 2
    assert min(room) >= 0


def test_what_runs_beside_the_services_is_listed_and_not_on_the_map(page, stage) -> None:
    """Servers and sidecars, through which nothing is known to flow, would be more boxes than the services."""
    view = healthy()
    view["services"] += [service("nats", kind="external", rate=0.0), service("mail", kind="external", rate=0.0)]
    view["edges"].append(edge("order", "mail"))
    stage.show(view)
    shown(page, stage)
    boxes = page.run("[...document.querySelectorAll('.node .name')].map(n => n.textContent)")
    assert sorted(boxes) == ["gateway", "mail", "order", "payment", "search", "shipping", "stock"]
    assert "nats" in page.run("document.querySelector('tbody').innerText")


def test_a_stuck_saga_is_resolved_by_clicking(page, stage) -> None:
    """A dialog asks first and wants a reason; then one POST that repeats the id, and the saga is gone from the list."""
    stage.show(payment_down())
    stage.after = lambda _path: stage.show(healthy())
    shown(page, stage)
    clicked(page, "Resolve")
    page.until("document.querySelector('dialog').open")
    assert stage.posted == []
    page.run("document.querySelector('select[name=as]').value = 'compensated'")
    page.run("document.querySelector('select[name=as]').dispatchEvent(new Event('change', { bubbles: true }))")
    clicked(page, "Resolve the saga", within="document.querySelector('dialog')")
    assert page.run("document.querySelector('dialog').open"), "no reason was given"
    page.run("document.querySelector('textarea').focus()")
    page.ask("Input.insertText", {"text": "refunded by hand"})
    clicked(page, "Resolve the saga", within="document.querySelector('dialog')")
    page.until("!document.querySelector('main').innerText.includes('Needs a person')")
    wanted = {"confirm": SAGA["id"], "reason": "refunded by hand", "as": "compensated"}
    assert stage.posted == [(f"sagas/order/{SAGA['id']}/resolve", wanted, "1")]
    assert page.complaints == []


def test_skipping_names_the_step_at_which_the_saga_stands(page, stage) -> None:
    """The dialog has asked for it, so that a person sees what is taken for done."""
    stage.show(payment_down())
    shown(page, stage)
    clicked(page, "Skip")
    page.until("document.querySelector('input[name=step]')?.value === 'refund'")
    page.run("document.querySelector('textarea').focus()")
    page.ask("Input.insertText", {"text": "paid back in cash"})
    clicked(page, "Skip the saga", within="document.querySelector('dialog')")
    page.until("!document.querySelector('dialog').open")
    assert stage.posted[0][1] == {"confirm": SAGA["id"], "reason": "paid back in cash", "step": "refund"}


def test_a_dead_letter_is_replayed_by_clicking(page, stage) -> None:
    """From the list of dead letters, after the dialog; the list is read again and is empty."""

    def handled(_path: str) -> None:
        stage.answers["dead"] = {"dead": [], "total": 0, "errors": []}

    stage.after = handled
    shown(page, stage, "dead", until="shop.order.placed")
    clicked(page, "Replay")
    clicked(page, "Replay the dead letter", within="document.querySelector('dialog')")
    page.until("document.querySelector('main').innerText.includes('everything was handled')")
    assert stage.posted == [("dead/search/17/replay", {"confirm": 17, "reason": ""}, "1")]


def test_what_is_refused_is_said_in_the_dialog(page, stage) -> None:
    """The dialog stays with the server's sentence, and nothing looks done."""
    stage.show(payment_down())
    stage.refuse = "the saga is not stuck any more"
    shown(page, stage)
    clicked(page, "Retry")
    clicked(page, "Retry the saga", within="document.querySelector('dialog')")
    page.until("document.querySelector('dialog [role=alert]')?.innerText === 'the saga is not stuck any more'")
    assert page.run("document.querySelector('dialog').open")


def test_the_keyboard_is_enough(page, stage) -> None:
    """Tab reaches the map and the actions, Enter opens the dialog, Escape leaves it without a trace and gives the focus back."""
    stage.show(payment_down())
    shown(page, stage)
    focused(page, "payment down")
    focused(page, "Retry")
    page.press("Enter", "\r")
    page.until("document.querySelector('dialog').open")
    assert page.run("document.querySelector('dialog').contains(document.activeElement)")
    page.press("Escape")
    page.until("!document.querySelector('dialog').open")
    assert page.run("document.activeElement.innerText").startswith("Retry")
    assert stage.posted == []
    page.press("Enter", "\r")
    focused(page, "Retry the saga")
    page.press("Enter", "\r")
    page.until("!document.querySelector('dialog').open")
    assert [path for path, *_ in stage.posted] == [f"sagas/order/{SAGA['id']}/retry"]


def test_hostile_names_are_shown_and_not_obeyed(page, stage) -> None:
    """Whatever anything is called: no element is made of it, no script runs, nothing is turned round."""
    stage.show(hostile())
    stage.answers["dead/search/17"] |= {"type": EVIL, "reason": EVIL, "key": EVIL, "envelope": {EVIL: EVIL}}
    stage.answers[f"traces/{TRACE}"]["spans"][0] |= {"name": EVIL, "service": EVIL, "attributes": {EVIL: EVIL}}
    for path in ("", "dead/search/17", f"traces/{TRACE}"):
        shown(page, stage, path, until="<img src=x")
        assert page.run("document.querySelectorAll('main img, main script, main iframe').length") == 0
        assert "\u202e" not in page.run("document.body.innerText + document.title")
        assert page.run("window.hit") is None
        assert not [url for url in page.requests if not url.startswith(stage.url)]
        assert page.complaints == []


def test_names_that_every_object_has_are_names_on_the_map(page, stage) -> None:
    """A service may be called as what JavaScript keeps in each of its objects."""
    view = healthy()
    names = ("__proto__", "constructor", "toString")
    view["services"] += [service(name) for name in names]
    view["edges"] += [edge("order", "__proto__"), edge("__proto__", "constructor"), edge("constructor", "toString")]
    stage.show(view)
    shown(page, stage)
    boxes = page.run("[...document.querySelectorAll('.node .name')].map(n => n.textContent)")
    assert set(names) <= set(boxes)
    assert page.run("document.querySelectorAll('.edge').length") == len(view["edges"])
    assert page.complaints == []


def test_a_long_chain_of_calls_is_scrolled_and_can_be_read(page, stage) -> None:
    """Boxes do not shrink without end, and the page itself stays as wide as its window."""
    view = healthy()
    names = [f"link-{number}" for number in range(10)]
    view["services"] += [service(name) for name in names]
    view["edges"] += [edge(one, other) for one, other in pairwise(names)]
    stage.show(view)
    shown(page, stage)
    widths = page.run("[...document.querySelectorAll('.node rect')].map(r => r.getBoundingClientRect().width)")
    assert min(widths) >= 110
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    assert page.complaints == []


def test_a_lost_connection_is_said_and_made_again(page, stage) -> None:
    """What is shown is said to be old while nobody answers; what happened meanwhile is there afterwards."""
    shown(page, stage)
    stage.cut()
    page.until("document.body.innerText.includes('No connection to the console since')")
    stage.show(payment_down())
    stage.mend()
    page.until("document.querySelector('h1').innerText.includes('payment is down')")
    assert "No connection" not in page.run("document.body.innerText")


@pytest.mark.parametrize("name", ["..", ".", "team/order", "a?b#c"])
def test_a_service_that_is_named_like_a_path_has_its_page(page, stage, name: str) -> None:
    """What an address would swallow is asked for by name: the link in the list leads to it, with what only its page has."""
    view = healthy()
    view["services"].append(service(name))
    stage.show(view)
    stage.answers[f"service?name={name}"] = service(name) | MORE | {"description": "it is there", "traces": []}
    shown(page, stage)
    page.run(f"[...document.querySelectorAll('tbody a')].find(a => a.innerText === {name!r}).click()")
    page.until(f"{TEXT}.includes('it is there')")
    assert page.run("document.querySelector('h1').innerText").strip() == name
    assert page.complaints == []


def test_a_chart_is_empty_where_nobody_counted(page, stage) -> None:
    """A service that is a third of the time old has no line before that, neither at the top nor along the ground."""
    view = healthy()
    view["services"][1] |= {"traffic": [None] * 40 + [12.0] * 20}
    stage.show(view)
    shown(page, stage, "service/order", until="What it depends on")
    page.until("document.querySelector('figure canvas')?.width > 0")
    first = page.run(FIRST_DRAWN)
    assert 0.6 < first < 0.8


@pytest.mark.parametrize("path", PAGES)
def test_every_page_can_be_opened_by_its_address(page, stage, path: str) -> None:
    """It shows what it is for, and neither script nor policy has anything to complain of."""
    shown(page, stage, path, until=PAGES[path])
    assert page.complaints == []


@pytest.mark.node
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, stage, scheme: str) -> None:
    """No page and no dialog breaks a rule of WCAG 2.2 A or AA that can be checked by a machine, in light and dark."""
    page.scheme(scheme)
    stage.show(payment_down())
    found: dict[str, list[str]] = {}
    for path, text in PAGES.items():
        shown(page, stage, path, until=text)
        if path.startswith("sagas/"):
            clicked(page, "Resolve")
        if path == f"traces/{TRACE}":
            page.run("document.querySelector('main button').click()")
        wrong = violations(page)
        found |= {path: wrong} if wrong else {}
    assert found == {}
