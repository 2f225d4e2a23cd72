"""The console's page from the console itself, let in by the address with the token."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chromium import Chromium

pytestmark = pytest.mark.chromium
PROGRAMS = Path(__file__).parents[1] / "integration" / "console"
TOKEN = "a-token-for-this-test-only"


@pytest.fixture
def address() -> Iterator[str]:
    """Where a console listens that was told nothing of any system."""
    command = [sys.executable, str(PROGRAMS / "console_process.py"), TOKEN]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def browser(tmp_path) -> Iterator[Chromium]:
    opened = Chromium(tmp_path / "profile")
    yield opened
    opened.close()


def test_a_program_with_opentelemetry_appears_on_an_open_page(browser, address) -> None:
    """A stranger's spans are on the map and in the traces; the token is gone from the address, and the policy refuses nothing."""
    browser.open(f"{address}/?token={TOKEN}")
    browser.until("document.querySelector('main h1')")
    assert TOKEN not in browser.run("location.href + document.cookie")
    told = {
        "OTEL_SERVICE_NAME": "billing",
        "OTEL_EXPORTER_OTLP_ENDPOINT": address,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
    }
    subprocess.run(
        [sys.executable, str(PROGRAMS / "plain_program.py")], env={**os.environ, **told}, check=True, timeout=60
    )
    browser.until(
        "[...document.querySelectorAll('.node .name')].map(n => n.textContent).sort().join() === 'billing,ledger'"
    )
    browser.run("location.hash = '#/traces'")
    browser.until("document.querySelector('main td a')")
    browser.run("document.querySelector('main td a').click()")
    browser.until("document.querySelectorAll('main ol li').length > 0")
    for page in ("sagas", "dead", "strangler", "checks", "audit", "service/billing"):
        browser.run(f"location.hash = '#/{page}'")
        browser.until(
            "document.querySelector('main h1') && !document.querySelector('main').innerText.includes('Asking.')"
        )
    assert all(url.startswith(address) for url in browser.requests)
    assert browser.complaints == []


def test_who_has_no_token_sees_no_page(browser, address) -> None:
    """Without the token there is no page, and nothing of what the console knows."""
    browser.open(f"{address}/")
    assert browser.run("document.querySelector('#app')") is None
