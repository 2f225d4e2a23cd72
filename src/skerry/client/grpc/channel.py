"""Channels to services: where they lead, what they are bound by, and nothing of gRPC that works against the policy."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from skerry.client.discovery.address import Located, located
from skerry.client.discovery.endpoint import Endpoint
from skerry.client.grpc.balanced import BalancedChannel
from skerry.client.grpc.calls import interceptors
from skerry.client.grpc.connection import Connection
from skerry.client.grpc.instances import Instances, target_of
from skerry.client.grpc.telling import Peer
from skerry.client.network import CONNECT_TIMEOUT
from skerry.client.plan import address, given
from skerry.client.policy import default_policy
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.resilience import Policy
from skerry.settings import Settings
from skerry.telemetry.spans import TRACING

MAX_MESSAGE = 4 * 1024 * 1024
"""Bytes of a message, sent or received, decoded."""
MAX_METADATA = 64 * 1024
"""Bytes of all metadata of a reply, or of a request."""
_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.absolute_max_metadata_size", MAX_METADATA),
    (
        "grpc.service_config_disable_resolution",
        1,
    ),  # a name server could ask for retries; the policy alone decides on them
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # else channels of one process share connections and their waits
    # Servers take a ping each five minutes (gRPC core, doc/keepalive.md) and end connections that send more. What counts more:
    # with pings on, the kernel gives up a connection on which nothing was acknowledged for the ping's time-out.
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.min_reconnect_backoff_ms", int(1000 * CONNECT_TIMEOUT)),  # which is also how long one attempt may take
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

_NOWHERE = "ipv4:127.0.0.1:1"
"""What the channel before several instances would connect to, which it never does."""


def grpc_channel(
    service: str,
    *,
    url: str | None = None,
    policy: Policy | None = None,
    safe: Collection[str] = (),
    tls: grpc.ChannelCredentials | None = None,
    instances: Located | None = None,
    clock: Clock = SYSTEM,
) -> grpc.aio.Channel:
    """A channel to one service, for the stubs that protoc makes; every call over it runs within `policy`.

    A call ends in time, is refused early when the service is ill, and is repeated only where that cannot do harm: when nothing
    was sent; and, with one request and one answer, when the caller gives it an `idempotency-key` in its metadata or its method is
    named in `safe`, as "/package.Service/Method". What travels along is the time left, also as gRPC's own time-out, the trace,
    the priority and the retried mark. A call's `timeout=` shortens the policy's total and cannot extend it.

    With one answer the policy holds to the end. Of a stream of answers it holds until the first; its total, the time-out and
    the deadline around the call hold for all of it. A stream is never repeated once it was sent.

    The address is `url`, else `SKERRY_URL_<SERVICE>_GRPC`, else `SKERRY_URL_<SERVICE>`; https asks for TLS, `tls` replaces its
    trust. It may name several instances, as in `http://10.0.0.1:50051,10.0.0.2:50051`, or where to find them (see
    `skerry.client.discovery`): then each call goes to one of them, and to the next when no connection can be made; a stream stays
    where it began. `instances` finds them in a way of your own, in the place of a `url`. Without a `policy` it is that of
    `ServiceClient`. Call it in the event loop that uses it, and close it.

    A failed call raises `Unreachable`, `ConnectionLost`, `ReplyTooLarge`, `StatusError` (its `status` is the code's equal in
    HTTP, see `HTTP_STATUS`; its `code` the service's own word, else the code's name in lower case), `DeadlineExceeded`
    (`AttemptTimeout`), `Refused` (`CircuitOpen`, `Overloaded`), or a plain `CallError` for what is not valid or too large to be
    sent; `__cause__` is gRPC's error, where it came from there. Raises `ConfigurationError` for an address or a name in `safe`
    that cannot be one.
    """
    asyncio.get_running_loop()  # gRPC would bind the channel to any loop it finds
    for method in safe:
        if not method.startswith("/") or method.count("/") != 2:
            raise ConfigurationError(f"safe: {method!r} is no method; give it as '/package.Service/Method'")
    told = _given(service, url) if instances is None else instances.url
    found = located(service, told) if instances is None else instances
    base = address(service, told if found is None else found.url)
    parts = urlsplit(base)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    if parts.path:
        raise ConfigurationError(f"the address of {service!r} has a path, which gRPC has no use for")
    if tls is not None and not secure:
        raise ConfigurationError(f"the address of {service!r} is not https, so its `tls` would not be used")
    credentials = (tls or grpc.ssl_channel_credentials()) if secure else None
    peer = Peer(service, parts.hostname or "", port)
    bound = policy or default_policy(service, clock=clock)
    if found is not None:
        several = _instances(service, found, credentials, clock)
        around = interceptors(peer, policy=bound, safe=frozenset(safe), route=several, clock=clock)
        return BalancedChannel(_channel(_NOWHERE, None, interceptors=around), several, clock=clock)
    connection = Connection(service)
    around = interceptors(peer, policy=bound, safe=frozenset(safe), route=connection, clock=clock)
    host = f"[{parts.hostname}]" if ":" in peer.address else parts.hostname
    channel = _channel(f"dns:///{host}:{port}", credentials, interceptors=around)
    connection.watch(channel)
    return channel


def _given(service: str, url: str | None) -> str:
    own = f"{service}-grpc"
    if url is None and own.lower().replace("_", "-") in Settings.from_environ().urls:
        return given(own, None)
    return given(service, url)


def _instances(service: str, found: Located, tls: grpc.ChannelCredentials | None, clock: Clock) -> Instances:
    def opens(endpoint: Endpoint) -> grpc.aio.Channel:
        _, name = found.at(endpoint, "")  # which stands in the certificate of each, where there is one
        return _channel(target_of(endpoint), tls, options=(("grpc.default_authority", name),) if name else ())

    return Instances(service, found, opens=opens, zone=Settings.from_environ().zone, clock=clock)


def _channel(
    target: str,
    tls: grpc.ChannelCredentials | None,
    *,
    options: tuple[tuple[str, Any], ...] = (),
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
) -> grpc.aio.Channel:
    # Instrumentations replace these two in `grpc.aio` and put interceptors of their own around every channel. Where we tell of
    # the call, and on the channels behind several instances, theirs would be a second span for it.
    theirs = TRACING.tracer is None and interceptors
    made: Any = grpc.aio if theirs else getattr(grpc.aio, "_channel", grpc.aio)
    options = (*_OPTIONS, *options)
    if tls is None:
        return made.insecure_channel(target, options=options, interceptors=interceptors)  # type: ignore[no-any-return]
    return made.secure_channel(target, tls, options=options, interceptors=interceptors)  # type: ignore[no-any-return]
