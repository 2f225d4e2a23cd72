"""Runs a system: processes, their ports, their output, and the socket to ask about them."""

from __future__ import annotations

from skerry.deploy.control import ask
from skerry.deploy.keeper import ProcessInfo, State
from skerry.deploy.output import Both, Console, LogFiles, Output
from skerry.deploy.processes import Command, command_for
from skerry.deploy.registry import Entry, find_running, is_known, running
from skerry.deploy.supervisor import Supervisor

__all__ = [
    "Both",
    "Command",
    "Console",
    "Entry",
    "LogFiles",
    "Output",
    "ProcessInfo",
    "State",
    "Supervisor",
    "ask",
    "command_for",
    "find_running",
    "is_known",
    "running",
]
