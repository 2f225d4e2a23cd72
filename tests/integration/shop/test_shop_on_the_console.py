"""The shop on its console: what it sends, and the sentence while one of its services is down."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import httpx2
import pytest
from watched_shop import WatchedShop


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedShop]:
    shop = WatchedShop(tmp_path_factory.mktemp("watched"))
    yield shop
    assert shop.close() == 0


def test_a_service_that_is_held_down_is_what_the_sentence_names(watched: WatchedShop) -> None:
    """And no other one, its callers least of all; when it is back the console is quiet again."""
    watched.until(lambda: watched.says("ok", None))
    watched.command("hold", "payment")
    watched.until(lambda: watched.says("down", "payment"))
    assert watched.view()["sentence"]["text"].startswith("payment is held back since ")
    watched.command("release", "payment")
    watched.until(lambda: watched.says("ok", None))


def test_an_order_is_on_the_map_as_calls_between_services(watched: WatchedShop) -> None:
    """Who calls whom is drawn from the spans that were sent, each service by its own name, and the trace is there to look at."""
    watched.ended(watched.order().json()["order_id"])

    def called() -> set[tuple[str, str]]:
        edges = watched.view()["edges"]
        return {(edge["from"], edge["to"]) for edge in edges if edge["kind"] == "call" and edge["rate"]}

    watched.until(lambda: called() >= {("gateway", "order"), ("order", "payment"), ("order", "shipping")})
    watched.until(lambda: watched.console.get("/api/traces", params={"service": "payment"}).json())
    names = {one["name"]: one["kind"] for one in watched.view()["services"]}
    assert names["gateway"] == "gateway"
    assert "console" not in names


def test_a_trace_can_be_looked_at_in_a_terminal(watched: WatchedShop) -> None:
    """The list has it, and each of its steps is there with the service that did it."""
    watched.ended(watched.order().json()["order_id"])
    found = watched.until(lambda: watched.command("trace", "--service", "payment", "--limit", "5"))
    assert len(found) <= 5
    spans = watched.command("trace", found[0]["id"])["spans"]
    assert "payment" in {span["service"] for span in spans}


def test_what_services_tell_of_themselves_is_among_the_changes(watched: WatchedShop) -> None:
    """A signal arrives as one, by OTLP, with the name of its service; that one has begun again, its supervisor says as well."""

    def told(service: str, *texts: str) -> list[float]:
        changes = watched.view()["changes"]
        return [change["at"] for change in changes if change["service"] == service and change["text"].endswith(texts)]

    watched.until(lambda: told("order", "projection history version 1 is live"))
    watched.until(lambda: told("shipping", "-> ready", "was restarted"))
    before = max(told("shipping", "-> ready", "was restarted"))
    watched.command("hold", "shipping")
    watched.command("release", "shipping")
    watched.until(lambda: max(told("shipping", "-> ready", "was restarted")) > before)
    watched.until(lambda: watched.says("ok", None))


def test_a_console_that_is_killed_comes_back_as_the_same(watched: WatchedShop) -> None:
    """At its port and with its token, so that pages and services go on; the services have not noticed."""
    before = {one["name"]: one["restarts"] for one in watched.command("ps")["processes"]}
    [console] = [one for one in watched.command("ps")["processes"] if one["name"] == "console"]
    watched.command("hold", "console")
    watched.ended(watched.order().json()["order_id"])
    watched.command("release", "console")
    watched.until(lambda: all(one["ready"] for one in watched.command("ps")["processes"]))
    watched.until(lambda: watched.says("ok", None))
    after = {one["name"]: one["restarts"] for one in watched.command("ps")["processes"]}
    assert after == before
    assert console["url"] in watched.opening


def test_nobody_without_the_token_is_told_anything(watched: WatchedShop) -> None:
    """The token is in a file of its owner only, and in no log."""
    token = watched.opening.rpartition("=")[2]
    with httpx2.Client(trust_env=False) as stranger:
        assert stranger.get(f"{watched.console.base_url}/api/view").status_code == 401
    kept = watched.data / "secrets" / "console.token"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text().strip() == token
    assert not [log.name for log in (watched.data / "logs").iterdir() if token in log.read_text()]
