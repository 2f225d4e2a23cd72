from __future__ import annotations

import asyncio

import pytest

from skerry.client import Request, Response, ServiceClient, SyncServiceClient
from skerry.client.balancing import BalancedTransport
from skerry.client.balancing.instance import FAILURES
from skerry.client.discovery import Answer, Endpoint, Located
from skerry.errors import AttemptTimeout, CallError, ConnectionLost, Unreachable
from skerry.resilience import Policy
from skerry.settings import Settings
from skerry.signals import InstanceEjected, Signal
from skerry.testing import VirtualClock, run_virtual


class Network:
    """Instances by port: what each does, after how many seconds."""

    def __init__(self, clock: VirtualClock, **does: tuple[float, int | Exception]) -> None:
        self._clock = clock
        self._does = does
        self.sent: list[Request] = []

    async def send(self, request: Request) -> Response:
        self.sent.append(request)
        seconds, what = self._does[request.url.removeprefix("http://").partition(":")[0]]
        await self._clock.sleep(seconds)
        if isinstance(what, Exception):
            raise what
        return Response(what, body=b"{}")

    async def aclose(self) -> None: ...


def client(network: Network, clock: VirtualClock, *, attempt: float | None = None) -> ServiceClient:
    url = "http://" + ",".join(f"{name}:80" for name in network._does)
    policy = Policy("stock", total=60.0, attempt=attempt, clock=clock)
    return ServiceClient("stock", url=url, policy=policy, transport=network, clock=clock)


SILENT = Unreachable("stock", "no connection could be made")


def test_the_next_address_is_tried_inside_the_deadline() -> None:
    """Two addresses that do not answer cost their time; the third takes the call, if there is time left for it."""

    async def main(clock: VirtualClock) -> None:
        network = Network(clock, a=(1.0, SILENT), b=(1.0, SILENT), c=(1.0, SILENT), d=(1.0, SILENT))
        async with client(network, clock) as stock:
            with pytest.raises(Unreachable):
                await stock.post("/")
            assert (clock.monotonic(), len({request.url for request in network.sent})) == (3.0, 3)
        async with client(network, clock, attempt=1.5) as stock:
            with pytest.raises(AttemptTimeout):
                await stock.post("/")
            assert 4.5 <= clock.monotonic() <= 4.6

    run_virtual(main)


@pytest.mark.parametrize("error", [ConnectionLost("stock", "reset"), CallError("stock", "not valid HTTP")])
def test_what_may_have_been_sent_is_not_sent_to_another(error: CallError) -> None:
    """Only where no connection was made is the next address tried without being asked."""

    async def main(clock: VirtualClock) -> None:
        network = Network(clock, a=(0.0, error), b=(0.0, error))
        async with client(network, clock) as stock:
            with pytest.raises(type(error)):
                await stock.post("/")
        assert len(network.sent) == 1

    run_virtual(main)


def test_a_slow_instance_gets_fewer_calls_and_a_failing_one_hardly_any(signals: list[Signal]) -> None:
    """What calls take decides, with those under way; what fails in a row is ejected, and probed ever more rarely."""

    async def main(clock: VirtualClock) -> None:
        network = Network(clock, quick=(0.01, 200), slow=(0.1, 200), broken=(0.001, 503))
        async with client(network, clock) as stock:

            async def caller() -> None:
                for _ in range(100):
                    await stock.get("/")

            await asyncio.gather(*(caller() for _ in range(10)))
        counts = {name: sum(name in request.url for request in network.sent) for name in network._does}
        assert counts["quick"] > 5 * counts["slow"] > 5 * counts["broken"]

    run_virtual(main)


def test_a_client_prefers_the_zone_it_runs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """`SKERRY_ZONE` says which."""
    monkeypatch.setenv("SKERRY_ZONE", "east")

    class Zoned:
        async def resolve(self) -> Answer:
            return Answer((Endpoint("a", 80, zone="east"), Endpoint("b", 80, zone="west")), ttl=60.0)

        async def aclose(self) -> None: ...

    async def main(clock: VirtualClock) -> None:
        network = Network(clock, a=(0.0, 200), b=(0.0, 200))
        zone = Settings.from_environ().zone
        located = Located("http://stock", Zoned(), named=True)
        transport = BalancedTransport(network, service="stock", located=located, zone=zone, clock=clock)
        policy = Policy("stock", total=5.0, clock=clock)
        async with ServiceClient("stock", url="http://stock", policy=policy, transport=transport, clock=clock) as stock:
            for _ in range(20):
                await stock.get("/")
        assert {(request.url, request.host) for request in network.sent} == {("http://a:80/", "stock")}

    run_virtual(main)


def test_a_client_keeps_what_it_knows_from_one_event_loop_to_the_next() -> None:
    """Used under one loop after another, it looks for instances under each and forgets none."""

    async def get(stock: ServiceClient) -> int:
        return (await stock.get("/")).status

    network = Network(VirtualClock(), a=(0.0, 200), b=(0.0, 200))
    stock = ServiceClient("stock", url="http://a:80,b:80", transport=network)
    assert [asyncio.run(get(stock)) for _ in range(3)] == [200] * 3
    asyncio.run(stock.aclose())


def test_code_that_is_not_asynchronous_is_balanced_too() -> None:
    """`SyncServiceClient` is the same client."""
    network = Network(VirtualClock(), a=(0.0, 200), b=(0.0, SILENT))
    with SyncServiceClient("stock", url="http://a:80,b:80", transport=network) as stock:
        assert [stock.get("/").status for _ in range(5)] == [200] * 5


def test_a_mistake_of_the_caller_is_no_failure_of_the_instance(signals: list[Signal]) -> None:
    """A status below 500, and a request that cannot be put into HTTP, eject nobody."""

    async def main(clock: VirtualClock) -> None:
        network = Network(clock, a=(0.0, 404), b=(0.0, CallError("stock", "not valid HTTP")))
        async with client(network, clock) as stock:
            await asyncio.gather(*(stock.get("/") for _ in range(10 * FAILURES)), return_exceptions=True)

    run_virtual(main)
    assert not [signal for signal in signals if isinstance(signal, InstanceEjected)]


def test_a_streamed_call_is_under_way_until_its_body_is_read() -> None:
    """A reply that is still being read counts as load, and no longer when it is closed or at its end."""

    async def main(clock: VirtualClock) -> None:
        network = Network(clock, a=(0.0, 200), b=(0.0, 200))
        async with client(network, clock) as stock:

            def busy() -> int:
                return sum(each.busy for each in stock._transport.balancer.instances)  # type: ignore[attr-defined]

            async with stock.stream("GET", "/"):
                assert busy() == 1
            assert busy() == 0
            async with stock.stream("GET", "/") as reply:
                assert [piece async for piece in reply.aiter_bytes()] == [b"{}"]
                assert busy() == 0

    run_virtual(main)
