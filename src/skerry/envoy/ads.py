"""A server of configuration for Envoys: the aggregated discovery service, state of the world (xDS protocol, version 3).

An Envoy asks for each kind of resource, is answered with all of its kind, and says whether it took them: ACK or NACK, with its
own words. That is how `publish` knows that a step took effect, or why it did not.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from skerry.envoy.messages import Messages
from skerry.envoy.resources import KINDS, Kind, Resources
from skerry.errors import ConfigurationRefused, EnvoyError, MissingExtra

if TYPE_CHECKING:
    import grpc.aio

_log = logging.getLogger("skerry.envoy")

MOST_STREAMS = 256
"""Envoys at the same time."""
MOST_WORDS = 2000
"""Characters of Envoy's reasons that are told."""
_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_KIND_OF: Mapping[str, Kind] = {type_url: kind for kind, type_url in KINDS.items()}
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Offer:
    """The current resources of one kind for one node."""

    version: str
    plain: Mapping[str, Mapping[str, Any]]
    packed: Mapping[str, Any]


@dataclass(eq=False, slots=True)
class _Subscription:
    """One kind on one stream: what was asked for, what was sent, and what of it was taken (versions)."""

    names: frozenset[str]
    nonce: str = ""
    sent: str = ""
    taken: str = ""


@dataclass(eq=False, slots=True)
class _Stream:
    """One connected Envoy. `pending` are the kinds that are to be sent: at most one answer a kind waits, the newest."""

    node: str
    kinds: dict[Kind, _Subscription] = field(default_factory=dict)
    pending: set[Kind] = field(default_factory=set)
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class AdsServer:
    """Serves the Envoys that connect to the unix socket `socket`, each by the id of its node.

    Whoever may open the socket may ask: put it into a folder of one's own. Needs the extra `envoy`.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._messages = Messages()
        self._offers: dict[tuple[str, Kind], _Offer] = {}
        self._good: dict[str, Resources] = {}
        self._streams: set[_Stream] = set()
        self._refusals: dict[tuple[str, Kind], tuple[str, str]] = {}
        self._numbers = itertools.count(1)
        self._changed = asyncio.Condition()
        self._publishing = asyncio.Lock()
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        try:
            import grpc
            import grpc.aio
        except ImportError as error:
            raise MissingExtra("The server of Envoy's configuration", "envoy") from error
        self._server = grpc.aio.server(options=[("grpc.max_receive_message_length", _MOST_BYTES)])
        handler: Any = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=self._messages.request,
            response_serializer=lambda answer: answer.SerializeToString(),
        )
        methods = {"StreamAggregatedResources": handler}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
        self._server.add_insecure_port(f"unix:{self._socket}")
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            await self._server.stop(grace=0.1)

    def connected(self, node: str) -> int:
        """How many Envoys of that node id are connected."""
        return sum(stream.node == node for stream in self._streams)

    def offer(self, resources: Resources, *, node: str) -> None:
        """What an Envoy of that id gets from now on; nothing waits for its answer. Raises `ConfigurationRefused` when Envoy's API
        has no such field.
        """
        for kind in KINDS:
            self._put(node, kind, resources.of(kind))
        self._good[node] = resources

    async def publish(self, resources: Resources, *, node: str, within: float = 10.0) -> None:
        """Give it to the Envoys of that id; returns when all that are connected, and at least one, have taken all of it.

        In an order in which no request is lost: what is new comes before what refers to it, what may be refused before anything
        answers otherwise, and what is no longer used goes last. Every one of `routes` has to be referred to by a listener.
        Raises `ConfigurationRefused` with Envoy's words, and `EnvoyError` when they have not answered within `within` s; what
        they had before is offered again then.
        """
        async with self._publishing:
            before = self._good.get(node, Resources())
            both = resources.joined(before)
            try:
                async with asyncio.timeout(within):
                    await self._step(node, "secrets", both)
                    await self._step(node, "clusters", both)
                    await self._step(node, "routes", before.joined(resources))  # those that are there stay as they are
                    await self._step(node, "listeners", both)  # may be refused, for a port that is somebody else's
                    await self._step(node, "routes", both, asked=resources)
                    await self._step(node, "listeners", resources)
                    await self._step(node, "routes", resources)
                    await self._step(node, "clusters", resources)
                    await self._step(node, "secrets", resources)
            except TimeoutError:
                self.offer(before, node=node)
                raise EnvoyError(f"no answer from the Envoys {node!r} after {within:g} s") from None
            except BaseException:
                self.offer(before, node=node)
                raise
            self._good[node] = resources

    async def settle(self, *, node: str, within: float = 10.0) -> None:
        """Return when all Envoys of that id that are connected have taken what they were offered and asked for; at once when none
        is, for it gets all when it comes. Raises as `publish` does, but what was offered stays so.
        """
        versions = {kind: offer.version for kind in KINDS if (offer := self._offers.get((node, kind))) is not None}
        try:
            async with asyncio.timeout(within), self._changed:
                await self._changed.wait_for(lambda: self._all_taken(node, versions))
        except TimeoutError:
            raise EnvoyError(f"no answer from the Envoys {node!r} after {within:g} s") from None

    def taken(self, *, node: str) -> bool:
        """Whether an Envoy of that id is connected, and all that are have taken all that they were offered and asked for."""
        versions = {kind: offer.version for kind in KINDS if (offer := self._offers.get((node, kind))) is not None}
        return self.connected(node) > 0 and all(
            subscription.taken == versions.get(kind)
            for stream in self._streams
            if stream.node == node
            for kind, subscription in stream.kinds.items()
        )

    def version(self, *, node: str) -> int:
        """The number of what was offered last to Envoys of that id; it grows."""
        return max((int(offer.version) for (other, _), offer in self._offers.items() if other == node), default=0)

    def _all_taken(self, node: str, versions: Mapping[Kind, str]) -> bool:
        for kind, version in versions.items():
            refused, words = self._refusals.get((node, kind), ("", ""))
            if refused == version:
                raise ConfigurationRefused(f"Envoy refuses the {kind}: {words}")
        return all(
            int(subscription.taken or 0) >= int(versions[kind])
            for stream in self._streams
            if stream.node == node
            for kind, subscription in stream.kinds.items()
            if kind in versions
        )

    async def _step(self, node: str, kind: Kind, resources: Resources, *, asked: Resources | None = None) -> None:
        version = self._put(node, kind, resources.of(kind))
        names = frozenset(asked.of(kind)) if asked is not None else frozenset()
        async with self._changed:
            await self._changed.wait_for(lambda: self._settled(node, kind, version, names))

    def _settled(self, node: str, kind: Kind, version: str, names: frozenset[str]) -> bool:
        """Whether every Envoy there has taken that version; of routes, whether it has asked for all of `names`, too."""
        refused, words = self._refusals.get((node, kind), ("", ""))
        if refused == version:
            raise ConfigurationRefused(f"Envoy refuses the {kind}: {words}")
        streams = [stream for stream in self._streams if stream.node == node]
        for stream in streams:
            subscription = stream.kinds.get(kind)
            if subscription is None:
                # These are asked for once something refers to them.
                if kind not in {"routes", "secrets"} or names:
                    return False
            elif subscription.taken != version or not names <= subscription.names:
                return False
        return bool(streams)

    def _put(self, node: str, kind: Kind, plain: Mapping[str, Mapping[str, Any]]) -> str:
        """Make these the current ones of their kind and have them sent to who asked; returns their version."""
        current = self._offers.get((node, kind))
        if (
            current is not None
            and current.plain == plain
            and self._refusals.get((node, kind), ("",))[0] != current.version
        ):
            return current.version
        known = (
            {name: (old, current.packed[name]) for name, old in current.plain.items()} if current is not None else {}
        )
        packed = self._messages.packed(kind, plain, known=known)
        version = str(next(self._numbers))
        self._offers[node, kind] = _Offer(version, plain, packed)
        for stream in self._streams:
            if stream.node == node and kind in stream.kinds:
                stream.pending.add(kind)
                stream.wake.set()
        return version

    async def _serve(
        self, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        import grpc

        if len(self._streams) >= MOST_STREAMS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many Envoys")
        first = await anext(aiter(requests), None)
        if first is None:
            return
        stream = _Stream(first.node.id)
        self._streams.add(stream)
        self._take(stream, first)
        reading = asyncio.create_task(self._read(stream, requests), name="read from an Envoy")
        try:
            while not reading.done():
                await stream.wake.wait()
                stream.wake.clear()
                for kind in [kind for kind in KINDS if kind in stream.pending]:
                    stream.pending.discard(kind)
                    if (answer := self._answer(stream, kind)) is not None:
                        yield answer
        finally:
            reading.cancel()
            self._streams.discard(stream)
            await self._tell()

    async def _read(self, stream: _Stream, requests: AsyncIterator[Any]) -> None:
        try:
            async for request in requests:
                self._take(stream, request)
                await self._tell()
        finally:
            stream.wake.set()

    def _take(self, stream: _Stream, request: Any) -> None:
        """What an Envoy asks for, or says of the last answer."""
        kind = _KIND_OF.get(request.type_url)
        if kind is None:  # nothing that we have
            return
        names = frozenset(request.resource_names)
        subscription = stream.kinds.get(kind)
        if subscription is None:
            stream.kinds[kind] = _Subscription(names)
            stream.pending.add(kind)
            stream.wake.set()
            return
        if request.response_nonce != subscription.nonce:  # about an older answer: one about the last will follow
            return
        if request.HasField("error_detail"):
            words = " ".join(request.error_detail.message.split())[:MOST_WORDS]
            self._refusals[stream.node, kind] = (subscription.sent, words)
            _log.warning("Envoy %s refuses the %s: %s", stream.node, kind, words)
        else:
            subscription.taken = subscription.sent
        if names != subscription.names:
            subscription.names = names
            stream.pending.add(kind)
            stream.wake.set()

    def _answer(self, stream: _Stream, kind: Kind) -> Any | None:
        offer, subscription = self._offers.get((stream.node, kind)), stream.kinds[kind]
        if offer is None:  # unknown so far: it is answered when there is something
            return None
        subscription.nonce, subscription.sent = f"{next(self._numbers)}", offer.version
        wanted = list(offer.packed.values())
        if subscription.names:
            wanted = [packed for name, packed in offer.packed.items() if name in subscription.names]
        return self._messages.answer(kind, wanted, version=offer.version, nonce=subscription.nonce)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
