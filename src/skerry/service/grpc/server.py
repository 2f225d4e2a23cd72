"""The gRPC server of a service: made when the service starts, filled with what was added to it before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
import grpc.aio

from skerry.client.grpc import MAX_MESSAGE
from skerry.clock import Clock
from skerry.errors import ConfigurationError
from skerry.service.grpc.border import GrpcBorder
from skerry.service.grpc.certificates import Certificates
from skerry.service.grpc.health import Health, Owner
from skerry.service.shedding import Shedding
from skerry.settings import Settings

MAX_STREAMS = 1024
"""Calls under way on one connection."""
MAX_METADATA = 64 * 1024
"""Bytes of all metadata of a call."""
_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.absolute_max_metadata_size", MAX_METADATA),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    # a client that is gone without a word is noticed within a minute, and clients may look after us more often than by default
    ("grpc.keepalive_time_ms", 50_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


class GrpcServer:
    """Takes servicers as a `grpc.aio` server does; handlers have to be async. It cannot be added to once the service has started.

        add_StockServicer_to_server(Stock(), service.grpc)

    Around each call: the caller's deadline, trace, priority and retried mark; shedding together with HTTP; skerry's errors as
    statuses; an unexpected error is INTERNAL, its text only in the log. Messages have at most 4 MiB. A call whose caller names
    no time has the service's `timeout`, streams too. grpc.health.v1 is there by itself. It listens on
    `Settings.host` and `Settings.grpc_port`, or on `Settings.grpc_socket`; with TLS where `Settings.grpc_certificate` is set, and
    asks callers for a certificate where `Settings.grpc_client_ca` is.
    """

    def __init__(
        self, owner: Owner, name: str, *, settings: Settings, timeout: float, shedding: Shedding, clock: Clock
    ) -> None:
        self._name = name
        self._settings = settings
        self._border = GrpcBorder(name, timeout=timeout, shedding=shedding, clock=clock)
        self._health = Health(owner, clock=clock)
        self._handlers: list[grpc.GenericRpcHandler] = [self._health.handlers()]
        self._methods: dict[str, Mapping[str, Any]] = {}
        self._server: grpc.aio.Server | None = None
        self.port: int = 0
        """The port it listens on, once it does."""

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """As of a `grpc.aio` server. Raises `ConfigurationError` once the service has started."""
        self._demand_open()
        for handler in generic_rpc_handlers:
            self._handlers.append(handler)
            if isinstance(handler, grpc.ServiceRpcHandler):
                self._health.names.add(handler.service_name())

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """As of a `grpc.aio` server: generated code calls it. Raises `ConfigurationError` once the service has started."""
        self._demand_open()
        self._methods[service_name] = method_handlers
        self._health.names.add(service_name)

    async def start(self) -> None:
        """Listen. Raises `ConfigurationError` when the address cannot be bound, or a certificate not be used."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        at = self._settings.grpc_socket
        address = f"unix:{at}" if at else f"{host}:{self._settings.grpc_port}"
        certificates = Certificates.of(self._name, self._settings)
        server = grpc.aio.server(handlers=self._handlers, interceptors=[self._border], options=_OPTIONS)
        for name, methods in self._methods.items():
            server.add_registered_method_handlers(name, dict(methods))
        try:
            if certificates is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, certificates.credentials())
        except RuntimeError as error:
            which = "SKERRY_GRPC_SOCKET" if at else "SKERRY_HOST and SKERRY_GRPC_PORT"
            message = f"cannot listen for gRPC on {address}; set {which}"
            raise ConfigurationError(message) from error
        self._server = server
        await server.start()

    async def stop(self, *, within: float) -> None:
        """Take no more calls; those under way may finish for `within` seconds and are then cancelled."""
        self._health.stop()
        if self._server is not None:
            await self._server.stop(within)

    def _demand_open(self) -> None:
        if self._server is not None:
            raise ConfigurationError(f"the service {self._name!r} has started; add its servicers before that")
