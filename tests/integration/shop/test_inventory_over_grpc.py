"""What the shop's inventory takes over gRPC. That the saga reserves by it, the contract of the whole shop shows."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from skerry.client.grpc import grpc_channel
from skerry.errors import StatusError
from skerry.service import Service
from skerry.settings import Settings

SHOP = Path(__file__).parents[3] / "examples" / "shop"
ORDER = {"order_id": "1", "lines": [{"sku": "LAMP-1", "quantity": 2}]}
KEY = (("idempotency-key", "1:reserve:do"),)


def play(tmp_path: Path, act: Any) -> list[Any]:
    sys.path.insert(0, str(SHOP))
    try:
        from inventory import rpc
    finally:
        sys.path.remove(str(SHOP))
    done: list[Any] = []

    async def reserve(order: Any, key: str) -> dict[str, str]:
        done.append((order.model_dump(), key))
        return {"state": "reserved"}

    async def release(order_id: str, key: str) -> None:
        done.append((order_id, key))

    async def main() -> None:
        service = Service("inventory", settings=Settings(data=tmp_path, grpc_port=0))
        service.grpc.add_generic_rpc_handlers([rpc.handlers(reserve, release)])
        await service.start()
        try:
            async with grpc_channel("inventory", url=f"http://127.0.0.1:{service.grpc.port}") as channel:
                await act(channel)
        finally:
            await service.stop()

    asyncio.run(asyncio.wait_for(main(), 60.0))
    return done


def test_reservations_come_with_their_key(tmp_path: Path) -> None:
    """The endpoints' own functions do it, with what the body and the metadata say."""

    async def act(channel: grpc.aio.Channel) -> None:
        reserve = channel.unary_unary("/shop.Inventory/Reserve")
        assert json.loads(await reserve(json.dumps(ORDER).encode(), metadata=KEY)) == {"state": "reserved"}
        release = channel.unary_unary("/shop.Inventory/Release")
        assert json.loads(await release(b'{"order_id": "1"}', metadata=KEY)) is None

    assert play(tmp_path, act) == [(ORDER, KEY[0][1]), ("1", KEY[0][1])]


@pytest.mark.parametrize(
    ("method", "body", "metadata"),
    [
        ("Reserve", b"no JSON", KEY),
        ("Reserve", b"[]", KEY),
        ("Reserve", b'{"order_id": "1", "lines": []}', KEY),
        ("Reserve", json.dumps(ORDER).encode(), ()),
        ("Release", b'{"order_id": 1}', KEY),
    ],
)
def test_what_is_no_reservation_is_refused(tmp_path: Path, method: str, body: bytes, metadata: Any) -> None:
    """INVALID_ARGUMENT, and nothing is done."""

    async def act(channel: grpc.aio.Channel) -> None:
        with pytest.raises(StatusError) as refused:
            await channel.unary_unary(f"/shop.Inventory/{method}")(body, metadata=metadata)
        assert refused.value.status == 400

    assert play(tmp_path, act) == []
