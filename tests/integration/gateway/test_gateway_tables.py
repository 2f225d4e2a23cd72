"""The tables that judge both engines are sound themselves, and so is the strict backend that they rely on."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from tests.integration.gateway import abuse, action_table, route_table
from tests.integration.gateway.abuse_meanings import MEANINGS
from tests.integration.gateway.abuse_table import REQUESTS
from tests.integration.gateway.raw_backends import Script, serving
from tests.integration.gateway.raw_client import Broken, Connection, ask, request
from tests.integration.gateway.route_manifests import Unknown, manifests
from tests.integration.gateway.strict_reading import Faulty, read_all

GROUPS = [*route_table.GROUPS, *action_table.GROUPS]
CASES = [*REQUESTS, *MEANINGS]


def test_each_case_has_a_name_of_its_own() -> None:
    """A failure names one case, and no case hides another."""
    names = Counter([case.id for case in CASES] + [group["group"] for group in GROUPS])
    assert [name for name, times in names.items() if times > 1] == []
    assert len(CASES) >= 100


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group["group"])
def test_each_group_is_written_as_manifests(group: dict) -> None:
    """Every rule of a group becomes a rule of an HTTPRoute, and nothing is passed over."""
    gateway, *routes = [json.loads(document) for document in manifests(group, port=80).split("\n---\n")]
    assert gateway["kind"] == "Gateway"
    assert sum(len(route["spec"]["rules"]) for route in routes) == len(group["rules"])


def test_a_word_that_is_not_known_stops_the_suite() -> None:
    """A table that asks for more than the suite can do does not pass by itself."""
    with pytest.raises(Unknown, match="frobnicate"):
        manifests({"rules": [{"frobnicate": 1}]}, port=80)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nX\r\n\r\n",
    ],
)
def test_the_strict_backend_takes_nothing_that_could_be_read_in_two_ways(raw: bytes) -> None:
    """What a gateway must never send is seen as a fault."""
    with pytest.raises(Faulty):
        read_all(raw)


def test_the_strict_backend_reads_what_is_sound() -> None:
    """Requests one after the other, with and without bodies, are all found, to the last byte."""
    raw = request("GET", "/1", []) + request("POST", "/2", [], b"abc")
    raw += b"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert [(seen.target, seen.body) for seen in read_all(raw)] == [("/1", b""), ("/2", b"abc"), ("/3", b"abc")]


def test_a_backend_fails_as_often_as_its_script_says() -> None:
    """After so many failures it answers as ever, and it has counted all of them."""
    with serving("v1") as backends:
        backend = backends["v1"]
        backend.reset(Script(answer=503, failures=2))
        assert [ask(backend.port, "/x").status for _ in range(3)] == [503, 503, 200]
        backend.reset(Script(answer="reset", failures=1))
        with pytest.raises(Broken):
            ask(backend.port, "/x")
        assert ask(backend.port, "/y").json()["target"] == "/y"
        assert [seen.target for seen in backend.seen] == ["/x", "/y"]


def test_a_backend_keeps_what_it_could_not_read() -> None:
    """Bytes that are no HTTP end the connection, and are there to be looked at."""
    with serving("v1") as backends, Connection(backends["v1"].port) as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
        assert connection.closes(5.0)
        assert len(backends["v1"].faults) == 1
        assert bytes(backends["v1"].raw[0]).startswith(b"GET / HTTP/1.1\r\nHost : a")


def test_a_case_is_sent_as_it_is_written() -> None:
    """Repetitions and the trap's port are filled in; everything else goes out byte for byte."""
    assert abuse.expand("{A*3}\u00e4{trap}{\r\n*2}", trap=7) == b"AAA\xe47\r\n\r\n"
