"""The console of a shop that runs, in a browser: processes are killed, sagas get stuck, and a person settles it on the page."""

from __future__ import annotations

import http.server
import json
import os
import re
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chromium import Chromium
from console_driving import DIALOG, EDGE, H1, click, confirm, go
from console_shop import LiveShop

pytestmark = pytest.mark.chromium
PROMISED = 5.0
"""Seconds from a kill until the sentence names who was killed."""
STRANGE = "http://strange.example"
EVIL = '<img src=x onerror="window.hit=1"></script><svg onload="window.hit=1">\u202egnol\'"`${window.hit=1}'
LINK = "javascript:window.hit=1"
SAID = "[...document.querySelectorAll('[aria-label]')].map(e => e.getAttribute('aria-label')).join()"
PEOPLE = "(document.querySelector('[aria-labelledby=people]')?.innerText ?? '')"


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[LiveShop]:
    live = LiveShop(tmp_path_factory.mktemp("live"))
    yield live
    assert live.close() == 0


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Chromium]:
    rules = "--host-resolver-rules=MAP strange.example 127.0.0.1"
    opened = Chromium(tmp_path_factory.mktemp("profile"), rules, width=1360)
    yield opened
    opened.close()


@pytest.fixture
def page(browser: Chromium, shop: LiveShop) -> Chromium:
    """The console's first screen, of a shop in which nothing is wrong."""
    shop.mend()
    shop.quiet()
    browser.open(shop.opening)
    browser.until("document.querySelector('main h1')?.innerText.includes('services are healthy')")
    return browser


def tab_to(page: Chromium, words: str, *, most: int = 150) -> None:
    """Press Tab until what has the focus begins with these words."""
    said = "(e => e.getAttribute('aria-label') ?? e.labels?.[0]?.innerText ?? e.innerText)(document.activeElement)"
    for _ in range(most):
        page.press("Tab")
        if " ".join(str(page.run(said)).split()).startswith(words):
            return
    pytest.fail(f"Tab does not reach {words}")


def test_who_is_killed_and_held_down_is_named_within_five_seconds(page, shop, capsys) -> None:
    """The sentence says payment, since when, what users notice and what is safe; its edge is open; then all is quiet again."""
    killed = shop.tell("hold", "payment")
    named = shop.seen(lambda view: view["sentence"]["subject"] == "payment")
    page.until(f"{H1}.includes('payment is held back since')")
    on_page = page.run("Date.now() / 1000") - killed
    told = named["at"] - killed
    with capsys.disabled():
        print(f"\nkilled to named: {told:.2f} s in the console's view, {on_page:.2f} s on the page")
    assert told <= PROMISED
    assert 0.0 <= named["sentence"]["since"] - killed <= PROMISED
    waits = shop.seen(lambda view: "go on afterwards" in view["sentence"]["safe"])["sentence"]
    assert re.fullmatch(r"no request fails|\d+(\.\d)? % of requests fail", waits["damage"]), waits
    page.until(f"{H1}.includes('go on afterwards')")
    assert "fail" in page.run(H1)
    assert page.run("document.title").startswith("\u2715")
    page.until(f"{EDGE}.classList.contains('open')")
    assert "breaker open" in page.run(f"{EDGE}.getAttribute('aria-label')")
    page.until("document.querySelector('tbody tr').innerText.startsWith('payment')")
    shop.tell("release", "payment")
    shop.quiet()
    page.until(f"{H1}.includes('services are healthy')")
    page.until(f"!{EDGE}.classList.contains('open')")
    page.until("!document.querySelector('main .node.down, main .node.held, main .bad')")
    assert page.complaints == []


def test_a_crash_of_a_moment_is_among_what_changed(page, shop) -> None:
    """SIGKILL from outside: the process is back at once, and that it fell is still to be read, with its moment."""
    [before] = [one for one in shop.processes() if one["name"] == "payment"]
    at = time.time()
    os.kill(before["pid"], signal.SIGKILL)
    told = shop.seen(lambda view: [one for one in view["changes"] if one["service"] == "payment" and one["at"] >= at])
    fell = [one for one in told["changes"] if one["service"] == "payment" and one["at"] >= at][-1]
    assert fell["at"] - at <= PROMISED
    shop.quiet()
    page.until(f"{H1}.includes('services are healthy')")
    page.until("document.querySelector('[aria-labelledby=changes]').innerText.includes('payment')")


def test_a_stuck_saga_is_resolved_by_clicking(page, shop) -> None:
    """A compensation that failed until its attempts were spent: named, explained, settled, and written down with the reason."""
    saga = shop.in_trouble("parcel-clicked")
    page.until(f"{H1}.includes('1 saga is stuck')")
    click(page, "Resolve", near="refund parcel-clicked")
    page.until(f"{DIALOG}.open")
    assert saga in page.run(f"{DIALOG}.innerText")
    click(page, "Resolve the saga", within=DIALOG)
    assert page.run(f"{DIALOG}.open"), "no reason was given"
    page.run("document.querySelector('select[name=as]').value = 'compensated'")
    page.run("document.querySelector('select[name=as]').dispatchEvent(new Event('change', { bubbles: true }))")
    confirm(page, "Resolve the saga", reason="sent again by hand")
    shop.seen(lambda view: not [one for one in view["people"] if one["id"] == saga])
    page.until(f"!{PEOPLE}.includes('refund parcel-clicked')")
    found = shop.saga(saga)
    assert (found["status"], found["timeline"][-1]["by_hand"]) == ("compensated", True)
    go(page, "audit", until="sent again by hand")
    go(page, f"sagas/returns/{saga}", until="by hand")
    assert page.complaints == []
    shop.mend()
    go(page, "dead", until="parcel-clicked")
    click(page, "Replay", near="parcel-clicked")
    confirm(page, "Replay the dead letter")
    shop.quiet()


def test_a_dead_letter_is_replayed_by_clicking_and_handled(page, shop) -> None:
    """Refused until its attempts were spent; once the cause is mended and it is replayed, it is handled and gone."""
    saga = shop.in_trouble("parcel-poison")
    assert "parcel-poison" not in shop.handled()
    shop.mend()
    go(page, "dead", until="parcel-poison")
    click(page, "Replay", near="parcel-poison")
    confirm(page, "Replay the dead letter")
    shop.until(lambda: "parcel-poison" in shop.handled())
    page.until("document.querySelector('main').innerText.includes('everything was handled')")
    go(page, f"sagas/returns/{saga}", until="Timeline")
    click(page, "Retry")
    confirm(page, "Retry the saga")
    shop.until(lambda: shop.saga(saga)["status"] == "compensated")
    page.until("document.querySelector('main').innerText.includes('compensated')")
    shop.quiet()


def test_a_stuck_saga_is_settled_without_a_mouse(page, shop) -> None:
    """Tab, Enter and a reason that is typed: from the first screen to a saga that has ended, and a letter that is handled."""
    saga = shop.in_trouble("parcel-keyed")
    shop.mend()
    page.until(f"{H1}.includes('1 saga is stuck and 1 dead letter waits')")
    page.run("document.getElementById('main').focus()")
    tab_to(page, "Retry refund parcel-keyed")
    page.press("Enter", "\r")
    page.until(f"{DIALOG}.open")
    tab_to(page, "Why")
    page.type("the till is open again")
    tab_to(page, "Retry the saga")
    page.press("Enter", "\r")
    page.until(f"!{DIALOG}.open")
    shop.until(lambda: shop.saga(saga)["status"] == "compensated")
    page.until(f"!{PEOPLE}.includes('refund parcel-keyed')")
    tab_to(page, "Replay shop.parcel.returned of parcel-keyed")
    page.press("Enter", "\r")
    page.until(f"{DIALOG}.open")
    tab_to(page, "Replay the dead letter")
    page.press("Enter", "\r")
    page.until(f"!{DIALOG}.open")
    shop.until(lambda: "parcel-keyed" in shop.handled())
    shop.quiet()


def evil_trace(shop: LiveShop, name: str) -> str:
    """A trace whose service, span, and attributes are named to hurt, sent as any program would; its id."""
    trace, at = secrets.token_hex(16), time.time_ns()
    named = [("http.route", EVIL), (EVIL, EVIL), ("url.full", LINK), ("server.address", EVIL)]
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in named]
    span = {"traceId": trace, "spanId": secrets.token_hex(8), "name": EVIL, "kind": 2, "attributes": attributes}
    call = span | {"parentSpanId": span["spanId"], "spanId": secrets.token_hex(8), "kind": 3}
    times = {"startTimeUnixNano": str(at - 10**9), "endTimeUnixNano": str(at)}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": name}}]}
    spans = [span | times, call | times]
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
    shop.console.post("/v1/traces", json=body).raise_for_status()
    return trace


def test_hostile_names_and_payloads_are_shown_and_not_obeyed(page, shop) -> None:
    """A service, spans, attributes, a saga's key and an event: none becomes an element, nothing runs."""
    saga = shop.in_trouble(EVIL, EVIL)
    trace, _ = evil_trace(shop, EVIL), evil_trace(shop, LINK)
    [letter] = [one["id"] for one in shop.view()["people"] if one["kind"] == "dead"]
    pages = {
        "": "Needs a person",
        "traces": "<img src=x",
        f"traces/{trace}": "<img src=x",
        "sagas": "<img src=x",
        f"sagas/returns/{saga}": "the till is closed, <img src=x",
        "dead": "<img src=x",
        f"dead/returns/{letter}": '"remark"',
        f"service/{LINK}": LINK,
    }
    for path, text in pages.items():
        go(page, path, until=text)
        if path == f"traces/{trace}":
            page.run("document.querySelectorAll('main ol button').forEach(b => b.click())")
            page.until(f"document.querySelector('main').innerText.includes({LINK!r})")
        if path.startswith("sagas/"):
            click(page, "Resolve")
            page.until(f"{DIALOG}.innerText.includes('<img src=x')")
            page.press("Escape")
        assert page.run("document.querySelectorAll('body img, body script, body iframe').length") == 0
        assert page.run("[...document.querySelectorAll('a')].filter(a => a.protocol === 'javascript:').length") == 0
        assert "\u202e" not in page.run(f"document.body.textContent + document.title + {SAID}")
        assert page.run("window.hit") is None
    assert page.complaints == []
    assert {urlsplit(url).netloc for url in page.requests} == {urlsplit(shop.opening).netloc}
    shop.mend()
    go(page, f"dead/returns/{letter}", until='"remark"')
    click(page, "Replay")
    confirm(page, "Replay the dead letter")
    go(page, f"sagas/returns/{saga}", until="Timeline")
    click(page, "Retry")
    confirm(page, "Retry the saga")
    shop.quiet()


@contextmanager
def strange_page(script: str) -> Iterator[str]:
    """A page of somebody else on this machine, and its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<!doctype html><title>strange</title><body><script>{script}</script>".encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_page_of_somebody_else_can_do_nothing(page, shop) -> None:
    """Even on this machine, where the browser sends the cookie along: nothing is read, nothing changed."""
    saga = shop.in_trouble("parcel-strange")
    before = shop.console.get("/api/audit").json()
    console = str(shop.console.base_url).rstrip("/")
    act = f"{console}/api/sagas/returns/{saga}/resolve"
    body = json.dumps({"confirm": saga, "reason": "stolen"})
    script = f"""const quiet = () => undefined, said = [];
        Promise.allSettled([
          fetch({f"{console}/api/view"!r}, {{credentials: 'include'}}).then(r => r.text()).then(t => said.push(t)),
          fetch({act!r}, {{method: 'POST', mode: 'no-cors', credentials: 'include', body: {body!r}}}),
          fetch({act!r}, {{method: 'POST', credentials: 'include', body: {body!r},
            headers: {{'content-type': 'application/json', 'x-skerry': '1'}}}}),
        ]).then(() => {{ window.read = said; window.over = true }})"""
    with strange_page(script) as address:
        page.open("about:blank")  # what the console's own page was asking for is over
        page.open(address)
        page.until("window.over === true")
        assert page.run("window.read") == []
        statuses = [status for url, status in page.answered if url in {f"{console}/api/view", act}]
        assert statuses
        assert set(statuses) <= {401, 403, 405, 415}
    assert shop.saga(saga)["status"] == "stuck"
    assert shop.console.get("/api/audit").json() == before
    shop.mend()
    page.open(shop.opening)
    click(page, "Retry", near="refund parcel-strange")
    confirm(page, "Retry the saga")
    click(page, "Replay", near="parcel-strange")
    confirm(page, "Replay the dead letter")
    shop.quiet()


def test_a_name_that_was_made_to_lead_here_is_refused(page, shop) -> None:
    """DNS rebinding: another name for this machine is answered with nothing, not even to who has the token."""
    port = urlsplit(shop.opening).port
    page.open(f"{STRANGE}:{port}/?{urlsplit(shop.opening).query}")
    assert next(status for url, status in page.answered if url.startswith(STRANGE)) == 421
    assert page.run("document.querySelector('#app')") is None
    assert "not known by this name" in page.run("document.body.innerText")
