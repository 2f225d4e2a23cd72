"""Channels to services: where they lead, what they are bound by, and nothing of gRPC that works against the policy."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

import grpc
import grpc.aio

from skerry.client.discovery.address import MOST_WRITTEN
from skerry.client.grpc.calls import interceptors
from skerry.client.grpc.connection import Connection
from skerry.client.grpc.telling import Peer
from skerry.client.network import CONNECT_TIMEOUT
from skerry.client.plan import address, given
from skerry.client.policy import default_policy
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.resilience import Policy
from skerry.settings import Settings

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

_IN_TURN = ("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}')
"""Among several instances each call goes to the next one that is connected (gRPC, doc/load-balancing.md)."""


def grpc_channel(
    service: str,
    *,
    url: str | None = None,
    policy: Policy | None = None,
    safe: Collection[str] = (),
    tls: grpc.ChannelCredentials | None = None,
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
    trust. Several instances are written as `http://10.0.0.1:50051,10.0.0.2:50051`: calls go to those in turn that are connected.
    Without a `policy` it is that of `ServiceClient`. Call it in the event loop that uses it, and close it.

    A failed call raises `Unreachable`, `ConnectionLost`, `ReplyTooLarge`, `StatusError` (its `status` is the code's equal in
    HTTP, see `HTTP_STATUS`; its `code` the service's own word, else the code's name in lower case), `DeadlineExceeded`
    (`AttemptTimeout`) or `Refused` (`CircuitOpen`, `Overloaded`); `__cause__` is gRPC's error, where it came from there. Raises
    `ConfigurationError` for an address or a name in `safe` that cannot be one.
    """
    asyncio.get_running_loop()  # gRPC would bind the channel to any loop it finds
    for method in safe:
        if not method.startswith("/") or method.count("/") != 2:
            raise ConfigurationError(f"safe: {method!r} is no method; give it as '/package.Service/Method'")
    connection = Connection(service)
    target, secure = _target(service, url)
    several = not target.startswith("dns:")
    host, _, port = target.partition(":")[2].lstrip("/").partition(",")[0].rpartition(":")
    around = interceptors(
        Peer(service, host.strip("[]"), int(port)),
        policy=policy or default_policy(service, clock=clock),
        safe=frozenset(safe),
        connection=connection,
        clock=clock,
    )
    if secure:
        credentials = tls or grpc.ssl_channel_credentials()
        channel = grpc.aio.secure_channel(target, credentials, options=_OPTIONS, interceptors=around)
    elif tls is not None:
        raise ConfigurationError(f"the address of {service!r} is not https, so its `tls` would not be used")
    else:
        options = (*_OPTIONS, _IN_TURN) if several else _OPTIONS
        channel = grpc.aio.insecure_channel(target, options=options, interceptors=around)
    connection.watch(channel)
    return channel


def _target(service: str, url: str | None) -> tuple[str, bool]:
    """Where to connect, and whether by TLS."""
    if url is None:
        own = f"{service}-grpc"
        url = given(own if own.lower().replace("_", "-") in Settings.from_environ().urls else service, None)
    if "," in url:
        return _several(service, url), False
    parsed = urlsplit(address(service, url))
    if parsed.path:
        raise ConfigurationError(f"the address of {service!r} has a path, which gRPC has no use for")
    host = f"[{parsed.hostname}]" if ":" in (parsed.hostname or "") else parsed.hostname
    secure = parsed.scheme == "https"
    return f"dns:///{host}:{parsed.port or (443 if secure else 80)}", secure


def _several(service: str, url: str) -> str:
    """Instances by address, as gRPC's own resolver of lists takes them (gRPC, doc/naming.md)."""
    scheme, _, rest = url.partition("://")
    versions: set[int] = set()
    found: list[str] = []
    for each in rest.split(",")[: MOST_WRITTEN + 1]:
        try:
            parts = urlsplit(f"//{each}")
            version, port = int(ip_address(parts.hostname or "").version), parts.port or 80
        except ValueError:
            version, port = 0, 0
        if scheme != "http" or not version or parts.netloc != each or "@" in each:
            raise ConfigurationError(
                f"the address of {service!r} must look like http://10.0.0.1:50051,10.0.0.2:50051: several instances are"
                " called over gRPC by address and without TLS"
            )
        versions.add(version)
        found.append(f"[{parts.hostname}]:{port}" if version == 6 else f"{parts.hostname}:{port}")
    if len(versions) > 1 or len(found) > MOST_WRITTEN:
        raise ConfigurationError(
            f"the address of {service!r} names instances of IPv4 and IPv6, or more than {MOST_WRITTEN}; gRPC takes neither"
        )
    return f"ipv{versions.pop()}:{','.join(found)}"
