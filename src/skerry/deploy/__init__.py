"""Runs a system: processes, their ports, their output, and the socket to ask about them."""

from __future__ import annotations

from skerry.deploy.control import ask
from skerry.deploy.databases import Created, Granted
from skerry.deploy.databases import create as create_databases
from skerry.deploy.dotenv import DOTENV, read_dotenv
from skerry.deploy.keeper import ProcessInfo, State
from skerry.deploy.mesh import Mesh, development_authority, sidecar_name
from skerry.deploy.output import Both, Console, LogFiles, Output
from skerry.deploy.policies import MESHES
from skerry.deploy.processes import Command, command_for
from skerry.deploy.registry import Entry, find_running, is_known, running
from skerry.deploy.reloading import Reloader
from skerry.deploy.secrets import SecretFolder
from skerry.deploy.servers import Addresses, ConsoleServer, NatsServer, PostgresServer, Server
from skerry.deploy.supervisor import Supervisor

__all__ = [
    "DOTENV",
    "MESHES",
    "Addresses",
    "Both",
    "Command",
    "Console",
    "ConsoleServer",
    "Created",
    "Entry",
    "Granted",
    "LogFiles",
    "Mesh",
    "NatsServer",
    "Output",
    "PostgresServer",
    "ProcessInfo",
    "Reloader",
    "SecretFolder",
    "Server",
    "State",
    "Supervisor",
    "ask",
    "command_for",
    "create_databases",
    "development_authority",
    "find_running",
    "is_known",
    "read_dotenv",
    "running",
    "sidecar_name",
]
