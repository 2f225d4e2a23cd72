"""Redirects, over real sockets: followed where a call asks for it, and never with what belongs to somebody else."""

from __future__ import annotations

from typing import Any

import pytest
from patience import LOOP_TIME, run_patiently
from peers import Peer, answers, listening, refusing_url, reply

from skerry.client import Reply, Request, Response, ServiceClient
from skerry.client.redirects import next_request
from skerry.errors import ConnectionLost, RedirectRefused
from skerry.resilience import Policy, Retry

SECRET = {"authorization": "Bearer x", "cookie": "s=1", "x-api-key": "k", "accept-language": "de"}


def client_of(peer: Peer) -> ServiceClient:
    return ServiceClient("stock", url=peer.url, policy=Policy("stock", total=2.0, clock=LOOP_TIME), clock=LOOP_TIME)


def called(location: str, *, status: int = 302, method: str = "GET", **options: Any) -> tuple[Reply | Exception, Peer]:
    """Call a peer that redirects there, once, and then answers."""

    async def main() -> tuple[Reply | Exception, Peer]:
        async with (
            listening(answers(reply(status, b"", location=location), reply(200, b""))) as peer,
            client_of(peer) as client,
        ):
            try:
                return await client.request(method, "/from", headers=SECRET, **options), peer
            except RedirectRefused as error:
                return error, peer

    return run_patiently(main())


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        (301, "GET", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
        (303, "HEAD", "HEAD"),
    ],
)
def test_a_redirect_is_followed_when_asked_for(status: int, method: str, becomes: str) -> None:
    """The method, and the body with it, goes on as RFC 9110 says, with all headers where the origin stays."""
    body = {} if method in {"GET", "HEAD"} else {"json": {"sku": "A1"}}
    result, peer = called("/to?x=1#part", status=status, method=method, redirects=1, **body)
    assert isinstance(result, Reply)
    assert result.status == 200
    first, second = peer.requests
    assert (second.method, second.target) == (becomes, "/to?x=1")
    assert second.body == (first.body if becomes == method else b"")
    assert second.headers["authorization"] == "Bearer x"


def test_credentials_do_not_go_to_another_origin() -> None:
    """Another port is another origin: only what tells nothing goes along, not even the trace."""

    async def main() -> None:
        async with listening(answers(reply(200, b"there"))) as other:
            async with (
                listening(answers(reply(302, b"", location=f"{other.url}/to"))) as peer,
                client_of(peer) as client,
            ):
                assert (await client.get("/from", headers=SECRET, redirects=3)).content == b"there"
            (request,) = other.requests
            assert set(request.headers) == {"host", "accept", "accept-encoding", "accept-language", "user-agent"}

    run_patiently(main())


def test_a_redirect_to_nowhere_repeats_nothing_that_took_effect() -> None:
    """What it leads to cannot be reached, but the order has been placed by then."""

    async def main() -> None:
        policy = Policy("stock", total=2.0, retry=Retry(3, base=0.001, clock=LOOP_TIME), clock=LOOP_TIME)
        async with (
            listening(answers(reply(303, b"", location=refusing_url()))) as peer,
            ServiceClient("stock", url=peer.url, policy=policy, clock=LOOP_TIME) as client,
        ):
            with pytest.raises(ConnectionLost, match="where a redirect leads"):
                await client.post("/orders", redirects=1)
            assert [request.method for request in peer.requests] == ["POST"]

    run_patiently(main())


def test_a_loop_ends() -> None:
    """After as many as were asked for the call fails, and says so."""

    async def main() -> None:
        async with listening(answers(reply(302, b"", location="/from"))) as peer, client_of(peer) as client:
            with pytest.raises(RedirectRefused, match="more than 4"):
                await client.get("/from", redirects=4)
            assert len(peer.requests) == 5

    run_patiently(main())


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://stock/", "http://u:p@stock/", "http://stock:x/", "http://s/\x7f"],
)
def test_a_redirect_out_of_http_is_refused(location: str) -> None:
    """A peer cannot send the client to a file, to credentials, or to what is no URL."""
    result, peer = called(location, redirects=1)
    assert isinstance(result, RedirectRefused)
    assert len(peer.requests) == 1


def test_a_redirect_from_https_to_http_is_refused() -> None:
    """What was meant to be secret does not become readable."""
    request = Request("stock", "GET", "https://stock/a", [])
    with pytest.raises(RedirectRefused, match="https to http"):
        next_request(request, Response(302, headers={"location": "http://stock/b"}))
    onward = next_request(request, Response(302, headers={"location": "//other/b"}))
    assert onward is not None
    assert onward.url == "https://other/b"


@pytest.mark.parametrize("redirects", [-1, 11])
def test_the_number_of_redirects_has_a_bound(redirects: int) -> None:
    """Nobody follows a million of them."""
    with pytest.raises(ValueError, match="redirects"):
        called("/to", redirects=redirects)
