"""Asks both sides of a strangled route how far they are."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from skerry.client import SyncServiceClient
from skerry.errors import ConfigurationError
from skerry.gateway import reading
from skerry.gateway.model import Service, Strangle
from skerry.gateway.strangler.handing_over import NotHandedOver, Side
from skerry.resilience import Policy
from skerry.settings import Settings

MAX_REPLY: Final = 64 * 1024
PATIENCE: Final = 2.5
"""Seconds for one question: writes are held meanwhile."""


class Positions:
    """Clients for control and candidate, by the addresses that the specification or SKERRY_URL_NAME has, else `running`: where a
    system runs its services now. A context manager.

    Raises `ConfigurationError` when it is not known where one of them is.
    """

    def __init__(self, spec: Path, plan: Strangle, *, running: Mapping[str, str]) -> None:
        known = reading.read(spec)
        services = {service.name: service for service in known.services}
        urls = reading.places({**running, **Settings.from_environ().urls})
        names: dict[Side, str] = {"control": plan.control, "candidate": plan.candidate}
        self._stack = ExitStack()
        self._clients: dict[Side, SyncServiceClient] = {}
        for side, name in names.items():
            service = services.get(name, Service(name))
            places = service.urls or urls.get(name, ())
            if not places:
                raise ConfigurationError(f"service {name!r} has no address", source=str(spec))
            self._clients[side] = SyncServiceClient(
                name,
                url=",".join(places),
                policy=Policy(f"position of {name}", total=PATIENCE),
                tls=ssl.create_default_context(cafile=service.ca) if service.ca else None,
                max_reply=MAX_REPLY,
            )

    def __enter__(self) -> Self:
        for client in self._clients.values():
            self._stack.enter_context(client)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask(self, side: Side, path: str) -> Mapping[str, object]:
        """What `side` tells at `path`. Raises `SkerryError` when it does not answer, or not with an object."""
        told = self._clients[side].get(path).raise_for_status().json()
        if not isinstance(told, dict):
            raise NotHandedOver(f"the {side} does not tell an object at {path}")
        return told
