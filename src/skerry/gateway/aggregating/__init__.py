"""Answers that are put together from several services': all are asked at the same time, within one deadline.

connections = Connections(clock=clock)
clients = connections.clients("order page", route.action, services=spec.services, addresses=addresses)
aggregator = Aggregator(route.action, clients)
answer = await aggregator.answer(headers, {"id": "42"})
"""

from __future__ import annotations

from skerry.gateway.aggregating.asking import Aggregator
from skerry.gateway.aggregating.connecting import Connections

__all__ = ["Aggregator", "Connections"]
