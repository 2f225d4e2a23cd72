"""Reservations over gRPC, for the order service: the same effects as over HTTP. Bodies are JSON, so that nothing is generated."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from pydantic import ValidationError

from skerry.service import Problem

from .models import Reserve

SERVICE = "shop.Inventory"


def handlers(reserve: Callable[..., Any], release: Callable[..., Any]) -> grpc.GenericRpcHandler:
    """The methods Reserve and Release, by the endpoints that do the same."""

    async def reserve_asked(request: dict[str, Any], call: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            order = Reserve.model_validate(request)
        except ValidationError as error:
            raise Problem(422, "invalid_input", "This is no reservation.") from error
        return await reserve(order, _key(call))

    async def release_asked(request: dict[str, Any], call: grpc.aio.ServicerContext[Any, Any]) -> None:
        order_id = request.get("order_id")
        if not isinstance(order_id, str):
            raise Problem(422, "invalid_input", "order_id: a text, please.")
        await release(order_id, _key(call))

    return grpc.method_handlers_generic_handler(
        SERVICE, {"Reserve": _method(reserve_asked), "Release": _method(release_asked)}
    )


def _method(act: Callable[..., Any]) -> grpc.RpcMethodHandler[Any, Any]:
    async def handle(request: bytes, call: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        try:
            asked = json.loads(request)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            raise Problem(400, "bad_request", "A JSON object, please.")
        return json.dumps(await act(asked, call)).encode()

    return grpc.unary_unary_rpc_method_handler(handle)


def _key(call: grpc.aio.ServicerContext[Any, Any]) -> str:
    key = dict(call.invocation_metadata() or ()).get("idempotency-key")
    if not isinstance(key, str):
        raise Problem(422, "invalid_input", "idempotency-key: it has to be in the metadata.")
    return key
