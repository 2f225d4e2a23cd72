"""Where running systems are found, and the socket that answers for them."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from skerry.deploy import Entry, ask, find_running, is_known, registry, running
from skerry.deploy.control import MAX_REQUEST, ControlServer
from skerry.errors import ConfigurationError, DeployError


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path: socket names are bounded."""
    folder = Path(tempfile.mkdtemp(prefix="skerry-test-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "xdg"))
    (folder / "xdg").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


def listening(name: str, data: str = "/data", file: str = "/f.toml") -> tuple[socket.socket, Entry]:
    path = registry.runtime_folder() / f"{name}.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    entry = Entry(file=file, data=data, pid=1, url="http://x", name=name, socket=str(path))
    registry.write_entry(entry)
    return server, entry


def test_folder_is_private(runtime: Path) -> None:
    """The folder for sockets is for its owner alone, even if it was not before."""
    folder = registry.runtime_folder()
    assert folder == runtime / "xdg" / "skerry"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    assert registry.runtime_folder().stat().st_mode & 0o777 == 0o700


def test_folder_falls_back(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a usable XDG_RUNTIME_DIR it is in the temporary folder; a path too long for a socket is not used."""
    for useless in ("/nonexistent", str(runtime / ("x" * 100))):
        monkeypatch.setenv("XDG_RUNTIME_DIR", useless)
        assert registry.runtime_folder().parent == runtime


def test_folder_that_is_a_link_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link somebody planted in the temporary folder is not followed."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    real = registry.runtime_folder()
    real.rename(runtime / "else")
    real.symlink_to(runtime / "else")
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        registry.runtime_folder()
    assert running() == []


def test_running_systems_are_found() -> None:
    """A system is found by its data folder, by its file, or because it is the only one."""
    one, entry = listening("a", data="/one", file="/one.toml")
    with closing(one):
        assert find_running() == entry
        two, other = listening("b", data="/two", file="/two.toml")
        with closing(two):
            assert running() == [entry, other]
            assert find_running(Path("/two")) == other
            assert find_running(file=Path("/one.toml")) == entry
            assert find_running(near=Path("/two.toml")) == other
            with pytest.raises(DeployError, match=r"a \(--data /one\), b \(--data /two\)"):
                find_running(near=Path("/three.toml"))
            with pytest.raises(DeployError, match="that system is not running"):
                find_running(Path("/three"))


def test_stale_entries_are_removed() -> None:
    """An entry whose socket refuses, and one that cannot be read, are removed and not reported."""
    server, entry = listening("a")
    server.close()
    broken = registry.runtime_folder() / "broken.json"
    broken.write_text("[")
    with pytest.raises(DeployError, match="no system is running"):
        find_running()
    assert not is_known(entry)
    assert list(registry.runtime_folder().iterdir()) == []


def test_data_folder_is_owned_by_one(tmp_path: Path) -> None:
    """While one owner has it a second is refused; afterwards it is free."""
    for _ in range(2):
        with (
            registry.owned(tmp_path / "var"),
            pytest.raises(ConfigurationError, match="in use"),
            registry.owned(tmp_path / "var"),
        ):
            pass


def test_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A data folder that is a file is an error that names it."""
    (tmp_path / "var").touch()
    with pytest.raises(ConfigurationError, match="var cannot be used"), registry.owned(tmp_path / "var"):
        pass


async def handle(op: str, name: str) -> dict[str, Any]:
    if op == "fail":
        raise DeployError("no such thing")
    return {"op": op, "name": name}


async def talk(path: Path, *requests: bytes) -> list[dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(path)
    replies = []
    for request in requests:
        writer.write(request)
        replies.append(json.loads(await reader.readline()))
    writer.close()
    await writer.wait_closed()
    return replies


async def serving(requests: list[bytes]) -> list[dict[str, Any]]:
    path = registry.runtime_folder() / "c.sock"
    server = ControlServer(path, handle)
    await server.start()
    try:
        return await talk(path, *requests)
    finally:
        await server.close()
        assert not path.exists()


def test_requests_and_replies() -> None:
    """Each line is a request and gets one reply; errors of ours become their text."""
    requests = [b'{"op": "ps"}\n', b'{"op": "hold", "name": "x"}\n', b'{"op": "fail"}\n']
    assert asyncio.run(serving(requests)) == [
        {"ok": True, "op": "ps", "name": ""},
        {"ok": True, "op": "hold", "name": "x"},
        {"ok": False, "error": "no such thing"},
    ]


@pytest.mark.parametrize(
    "request_",
    [b"\n", b"[]\n", b"{}\n", b'{"op": 1}\n', b'{"op": "ps", "name": null}\n', b"\xff\n", b"[" * 3000 + b"\n"],
)
def test_malformed_requests(request_: bytes) -> None:
    """What is not a request is told so, and the conversation goes on."""
    first, second = asyncio.run(serving([request_, b'{"op": "ps"}\n']))
    assert first["ok"] is False
    assert "not a JSON object" in first["error"]
    assert second["ok"] is True


def test_request_is_bounded() -> None:
    """A request beyond the limit is refused."""
    (reply,) = asyncio.run(serving([b"x" * (MAX_REQUEST * 2) + b"\n"]))
    assert "longer than" in reply["error"]


def test_close_ends_conversations() -> None:
    """A client that keeps its connection does not keep the server."""

    async def main() -> None:
        path = registry.runtime_folder() / "c.sock"
        server = ControlServer(path, handle)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"op": "ps"}\n')
        await reader.readline()
        await server.close()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    asyncio.run(main())


def test_ask_nobody() -> None:
    """Asking a system that is gone is an error of ours."""
    with pytest.raises(DeployError, match="does not answer"):
        ask(registry.runtime_folder() / "none.sock", "ps")
