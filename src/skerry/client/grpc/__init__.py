"""Calling another service over gRPC: a `grpc.aio` channel whose every call runs within a policy, as those of `ServiceClient` do.

async with grpc_channel("stock", safe=["/shop.Stock/Look"]) as channel:
    item = await StockStub(channel).Look(LookRequest(sku="LAMP-1"))
"""

from __future__ import annotations

from skerry.errors import MissingExtra

try:
    import grpc.aio  # noqa: F401 - looked for here, once, so that its absence has one message
except ImportError as _error:
    raise MissingExtra("Calling over gRPC", "grpc") from _error

from skerry.client.grpc.channel import MAX_MESSAGE, grpc_channel
from skerry.client.grpc.status import HTTP_STATUS

__all__ = ["HTTP_STATUS", "MAX_MESSAGE", "grpc_channel"]
