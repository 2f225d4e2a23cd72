"""The chassis: hosts a service's HTTP application, event handlers, relay and sagas, and stops without loss.

    service = Service("order", app=api, database="sqlite:///order.db", events="sqlite:///events/")

`service.app` is the ASGI application to serve; `python -m skerry.service order.app:service` serves it.
"""

from __future__ import annotations

from skerry.service.problem import Problem
from skerry.service.server import serve
from skerry.service.service import Service

__all__ = ["Problem", "Service", "serve"]
