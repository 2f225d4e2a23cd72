"""Calling another service over HTTP: `ServiceClient`, a thin client with a policy around every call.

async with ServiceClient("inventory") as inventory:
    reply = await inventory.post("/reservations", json={"sku": "A1"}, idempotency_key=key)
    reservation = reply.raise_for_status().json()
"""

from __future__ import annotations

from skerry.errors import MissingExtra

try:
    import aiohttp  # noqa: F401 - looked for here, once, so that its absence has one message
except ImportError as _error:
    raise MissingExtra("ServiceClient", "service") from _error

from skerry.client.asgi import AsgiTransport
from skerry.client.client import DEFAULT_MAX_REPLY, ServiceClient
from skerry.client.headers import Headers
from skerry.client.network import HttpTransport
from skerry.client.plan import Options
from skerry.client.policy import default_policy, is_failure
from skerry.client.reply import Reply
from skerry.client.stream import Stream
from skerry.client.sync import SyncServiceClient, SyncStream
from skerry.client.transport import Request, Response, Transport

__all__ = [
    "DEFAULT_MAX_REPLY",
    "AsgiTransport",
    "Headers",
    "HttpTransport",
    "Options",
    "Reply",
    "Request",
    "Response",
    "ServiceClient",
    "Stream",
    "SyncServiceClient",
    "SyncStream",
    "Transport",
    "default_policy",
    "is_failure",
]
