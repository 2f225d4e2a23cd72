"""What becomes of calls on their way through two real sidecars."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mesh_stage import Town, in_town


async def asked_of_bank(town: Town, **call: Any) -> tuple[int, list[dict[str, Any]]]:
    """The status of one call to /fail of the bank, and what the bank saw of it."""
    before = len((await town.call("/to/shop/to/bank/seen")).json())
    reply = await town.call("/to/shop/to/bank/fail", **call)
    return reply.status, (await town.call("/to/shop/to/bank/seen")).json()[before:]


def test_only_one_layer_retries(tmp_path: Path) -> None:
    """A safe call that nobody else repeats is repeated once, marked, so that nothing behind does; all others pass once."""

    async def play(town: Town) -> None:
        status, seen = await asked_of_bank(town)
        # repeated by the gateway's sidecar, which tells that of the shop not to
        assert (status, len(seen)) == (503, 2)
        assert {asked["headers"]["skerry-retried"] for asked in seen} == {"1"}
        status, seen = await asked_of_bank(town, skerry_retried="1")
        assert (status, len(seen)) == (503, 1)
        status, seen = await asked_of_bank(town, method="POST", body=b"x")
        assert (status, len(seen)) == (503, 1)
        assert "skerry-retried" not in seen[0]["headers"]
        status, seen = await asked_of_bank(town, x_envoy_retry_on="5xx", x_envoy_max_retries="5", method="POST")
        assert (status, len(seen)) == (503, 1)

    in_town(tmp_path, play)


def test_websockets_pass(tmp_path: Path) -> None:
    """An upgrade goes through HTTP/2 between the sidecars, and bytes in both directions after it."""

    async def play(town: Town) -> None:
        environ = Path(f"/proc/{town.info('shop').pid}/environ").read_bytes().decode().split("\0")
        [url] = [entry.partition("=")[2] for entry in environ if entry.startswith("SKERRY_URL_BANK=")]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        for text in (b"one", b"two"):
            writer.write(text)
            assert await reader.readexactly(3) == text
        writer.close()

    in_town(tmp_path, play)


def test_a_callee_that_is_down_is_a_503_and_comes_back(tmp_path: Path) -> None:
    """While a service is held down its callers are told at once, by problem details; afterwards calls pass again."""

    async def play(town: Town) -> None:
        await town.system.hold("bank")
        reply = await town.call("/to/shop/to/bank/", method="POST")
        assert (reply.status, reply.json()["status"]) == (503, 503)
        town.system.release("bank")
        while (await town.call("/to/shop/to/bank/", method="POST")).status != 200:
            await asyncio.sleep(0.05)

    in_town(tmp_path, play)


def test_a_request_passes_as_it_is(tmp_path: Path) -> None:
    """Neither path nor query is brought to another form, headers stay, and a long body arrives whole."""

    async def play(town: Town) -> None:
        path = "/a//b/../%2e%2E/c%2Fd;e?x=%20&y=/../"
        body = b"0123456789" * 100_000
        asked = (
            await town.call(f"/to/shop/to/bank{path}", method="PUT", body=body, x_own="1", x_request_id="abc")
        ).json()
        assert (asked["method"], asked["path"], asked["body"]) == ("PUT", path, body.decode())
        assert (asked["headers"]["x-own"], asked["headers"]["x-request-id"]) == ("1", "abc")
        assert asked["headers"]["host"] == "x"

    in_town(tmp_path, play)
