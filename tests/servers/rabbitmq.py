"""A RabbitMQ node of its own, from the system's package, beside any that runs already."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path

from servers.process import Server, free_port, listens

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def installed() -> bool:
    """Whether this machine has RabbitMQ."""
    return PROGRAM.exists() and shutil.which("epmd") is not None


class RabbitServer(Server):
    """`url` carries a random password. The port mapper that Erlang wants is one of its own too."""

    name = "RabbitMQ"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.password = secrets.token_urlsafe(16)
        self._mapper_port = free_port()
        self._between_nodes = free_port()
        self._mapper: subprocess.Popen[bytes] | None = None

    def url(self, options: str = "") -> str:
        return f"amqp://skerry:{self.password}@127.0.0.1:{self.port}/{options}"

    def command(self) -> list[str]:
        return [str(PROGRAM)]

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_NODENAME": f"skerry{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._between_nodes),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def prepare(self) -> None:
        settings = {
            "listeners.tcp.default": f"127.0.0.1:{self.port}",
            "default_user": "skerry",
            "default_pass": self.password,
            "log.file.level": "warning",
        }
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.folder / "rabbitmq.conf").write_text(text)
        if self._mapper is None:
            self._mapper = subprocess.Popen(
                ["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            while not listens(self._mapper_port):
                assert self._mapper.poll() is None

    def close(self) -> None:
        super().close()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
            self._mapper = None
