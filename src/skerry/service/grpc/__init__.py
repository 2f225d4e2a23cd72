"""Answering over gRPC beside HTTP: what `Service.grpc` gives, a place for the servicers that protoc makes.

add_StockServicer_to_server(Stock(), service.grpc)
"""

from __future__ import annotations

from skerry.errors import MissingExtra

try:
    import grpc.aio  # noqa: F401 - looked for here, once, so that its absence has one message
except ImportError as _error:
    raise MissingExtra("Answering over gRPC", "grpc") from _error

from skerry.service.grpc.server import GrpcServer

__all__ = ["GrpcServer"]
