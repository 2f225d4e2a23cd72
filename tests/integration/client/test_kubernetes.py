"""EndpointSlices, listed and watched over TLS, against our own stand-in of the Kubernetes API."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from kubernetes_api import TOKEN, Api, a_slice
from patience import LOOP_TIME, run_patiently
from peers import listening

from skerry.client.discovery import Endpoint, located
from skerry.client.discovery.kubernetes import KubernetesResolver, endpoints_of
from skerry.errors import ConfigurationError, StatusError, Untrusted

AUTHORITY = trustme.CA()
Check = Callable[[KubernetesResolver, Api], Awaitable[None]]


def at(*addresses: str, port: int = 8080) -> set[Endpoint]:
    return {Endpoint(each, port, zone="a", instance=f"pod-{each}") for each in addresses}


async def hosts(resolver: KubernetesResolver) -> set[str]:
    return {endpoint.host for endpoint in (await resolver.resolve()).endpoints}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """The files that a pod has."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    return tmp_path


def asking(account: Path, check: Check, *slices: dict[str, Any], name: str = "127.0.0.1", port: str = "http") -> None:
    """Run `check` with a resolver for `stock` in `shop`, and the API it asks."""

    async def main() -> None:
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert(name).configure_cert(serving)
        api = Api(*slices)
        async with listening(api, tls=serving) as peer:
            resolver = KubernetesResolver("shop", "stock", port=port, api=peer.url, account=account, clock=LOOP_TIME)
            try:
                await check(resolver, api)
            finally:
                await resolver.aclose()

    run_patiently(main())


def test_all_slices_are_listed_page_by_page_with_the_accounts_token(account: Path) -> None:
    """Endpoints of every slice, with zone and pod; the token is read anew for each request."""

    async def check(resolver: KubernetesResolver, api: Api) -> None:
        answer = await resolver.resolve()
        assert set(answer.endpoints) == at("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
        assert answer.ttl == 0.0
        assert [query.get("continue") for query in api.asked] == [None, "2"]
        (account / "token").write_text("renewed")
        asyncio.get_running_loop().call_later(0.01, api.change, "ADDED", a_slice("d", "10.0.0.5"))
        await resolver.resolve()
        assert api.tokens == {f"Bearer {TOKEN}", "Bearer renewed"}

    asking(account, check, a_slice("a", "10.0.0.1", "10.0.0.2"), a_slice("b", "10.0.0.3"), a_slice("c", "10.0.0.4"))


def test_changes_are_told_as_they_come(account: Path) -> None:
    """Slices that come, change and go; what changes nothing, such as a bookmark, does not end the waiting."""

    async def check(resolver: KubernetesResolver, api: Api) -> None:
        assert await hosts(resolver) == {"10.0.0.1"}
        api.change("ADDED", a_slice("b", "10.0.0.2"))
        assert await hosts(resolver) == {"10.0.0.1", "10.0.0.2"}
        api.change("BOOKMARK", {})
        api.change("MODIFIED", a_slice("b", "10.0.0.2"))
        api.change("MODIFIED", a_slice("b", "10.0.0.3"))
        assert await hosts(resolver) == {"10.0.0.1", "10.0.0.3"}
        api.change("DELETED", a_slice("b"))
        assert await hosts(resolver) == {"10.0.0.1"}
        assert sum("watch" in query for query in api.asked) == 1

    asking(account, check, a_slice("a", "10.0.0.1"))


def test_a_watch_that_ends_goes_on_from_its_version(account: Path) -> None:
    """A server ends watches after a while; the next begins where bookmarks and events have led, and nothing is missed."""

    async def check(resolver: KubernetesResolver, api: Api) -> None:
        await resolver.resolve()
        waiting = asyncio.ensure_future(hosts(resolver))
        await api.watching.wait()
        api.change("BOOKMARK", {})
        api.ends_watches = True
        api.say({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(api.version)}}})
        api.change("MODIFIED", a_slice("a", "10.0.0.2"))
        assert await waiting == {"10.0.0.2"}
        lists = [query for query in api.asked if "watch" not in query]
        assert len(lists) == 1

    asking(account, check, a_slice("a", "10.0.0.1"))


@pytest.mark.parametrize("told", ["status", "event"])
def test_a_version_that_is_gone_means_list_again(told: str, account: Path) -> None:
    """410, as the status of a watch or as an event in it: what there is comes from a new list."""

    async def check(resolver: KubernetesResolver, api: Api) -> None:
        await resolver.resolve()
        api.slices = {"z": a_slice("z", "10.0.0.9")}
        api.version += 1
        if told == "status":
            api.forget()
        else:
            api.say({"type": "ERROR", "object": {"kind": "Status", "code": 410}})
        assert await hosts(resolver) == {"10.0.0.9"}
        assert len([query for query in api.asked if "watch" not in query]) == 2

    asking(account, check, a_slice("a", "10.0.0.1"))


@pytest.mark.parametrize("status", [401, 403, 500])
def test_an_api_that_refuses_is_an_error_and_then_asked_for_a_list(status: int, account: Path) -> None:
    """What is raised leaves the last good answer standing; after any trouble everything is listed anew."""

    async def check(resolver: KubernetesResolver, api: Api) -> None:
        await resolver.resolve()
        api.statuses = [status]
        with pytest.raises(StatusError, match=str(status)):
            await resolver.resolve()
        assert await hosts(resolver) == {"10.0.0.1"}
        assert [("watch" in query) for query in api.asked] == [False, True, False]

    asking(account, check, a_slice("a", "10.0.0.1"))


def test_an_api_of_another_authority_does_not_get_the_token(account: Path) -> None:
    """Its certificate has to hold, and nothing is sent before it does."""

    async def check(resolver: KubernetesResolver, api: Api) -> None:
        with pytest.raises(Untrusted):
            await resolver.resolve()
        assert api.tokens == set()

    asking(account, check, a_slice("a", "10.0.0.1"), name="other.test")


def test_a_token_does_not_go_over_a_line_that_anybody_reads(account: Path) -> None:
    """To a plain address, such as that of `kubectl proxy`, requests go without it."""

    async def main() -> None:
        api = Api(a_slice("a", "10.0.0.1"))
        async with listening(api) as peer:
            resolver = KubernetesResolver("shop", "stock", api=peer.url, account=account, clock=LOOP_TIME)
            await resolver.resolve()
            await resolver.aclose()
        assert api.tokens == {""}

    run_patiently(main())


def test_what_is_not_ready_or_no_instance_is_left_out() -> None:
    """Unknown means ready; names and forbidden addresses are none of ours; the port is by name or number, or the first."""
    told = a_slice("a", "10.0.0.1", "10.0.0.2", "10.0.0.3", "169.254.169.254", "evil@host")
    told["endpoints"][1]["conditions"] = {"ready": False, "serving": True}
    told["endpoints"][2]["conditions"] = {}
    told["ports"] = [{"name": "metrics", "port": 9}, {"name": "http", "port": 8080}]
    told["endpoints"] += [None, {}, {"addresses": []}, {"addresses": [5]}, {"addresses": ["10.0.0.4"], "zone": 7}]
    for port in ("http", "8080"):
        assert set(endpoints_of(told, port)) == at("10.0.0.1", "10.0.0.3")
    assert set(endpoints_of(told, "")) == at("10.0.0.1", "10.0.0.3", port=9)
    assert list(endpoints_of(told, "grpc")) == []
    assert list(endpoints_of({**told, "addressType": "FQDN"}, "http")) == []
    assert list(endpoints_of({"metadata": {"name": "x"}, "addressType": "IPv4", "endpoints": None}, "")) == []


def test_the_address_names_namespace_service_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a cluster, and for what is no name in it, the address is refused."""
    with pytest.raises(ConfigurationError, match="KUBERNETES_SERVICE_HOST"):
        located("stock", "k8s://shop/stock:http")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    with pytest.raises(ConfigurationError, match=r"ca\.crt"):
        located("stock", "k8s://shop/stock:http")
    for url in ("k8s://shop", "k8s://shop/stock/x", "k8s://shop:80/stock", "k8s://shop/..", "k8s://shop/stock?x=1"):
        with pytest.raises(ConfigurationError, match="must look like"):
            located("stock", url)
