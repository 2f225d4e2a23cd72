"""Calling another service over HTTP: `ServiceClient`, a thin client with a policy around every call.

async with ServiceClient("inventory") as inventory:
    reply = await inventory.post("/reservations", json={"sku": "A1"}, idempotency_key=key)
    reservation = reply.raise_for_status().json()
"""

from __future__ import annotations

from skerry.errors import MissingExtra

try:
    import httpx2  # noqa: F401 - looked for here, once, so that its absence has one message
except ImportError as _error:
    raise MissingExtra("ServiceClient", "service") from _error

from skerry.client.client import DEFAULT_MAX_REPLY, ServiceClient, default_policy, is_failure
from skerry.client.reply import Reply

__all__ = ["DEFAULT_MAX_REPLY", "Reply", "ServiceClient", "default_policy", "is_failure"]
