"""Servers that the supervisor runs for the services: from wheels where they are installed, else from the system."""

from __future__ import annotations

from skerry.deploy.servers.console import ConsoleServer
from skerry.deploy.servers.nats import NatsServer
from skerry.deploy.servers.port import Addresses, Program, Server, launch
from skerry.deploy.servers.postgresql import PostgresServer

__all__ = ["Addresses", "ConsoleServer", "NatsServer", "PostgresServer", "Program", "Server", "launch"]
