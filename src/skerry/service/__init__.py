"""The chassis: hosts a service's HTTP application, event handlers, relay and sagas, and stops without loss.

    service = Service("order", app=api, database="sqlite:///order.db", events="sqlite:///events/")

`service.app` is the ASGI application to serve; `python -m skerry.service order.app:service` serves it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skerry.service.problem import Problem

if TYPE_CHECKING:
    from skerry.service.server import serve
    from skerry.service.service import Service

__all__ = ["Problem", "Service", "serve"]

_HOMES = {"serve": "server", "Service": "service"}


def __getattr__(name: str) -> Any:
    # a gateway shares problems, shedding and sockets with a service, and has no use for a bus, sagas, a database or a server
    if name in _HOMES:
        return getattr(import_module(f"skerry.service.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'skerry.service' has no attribute {name!r}")
