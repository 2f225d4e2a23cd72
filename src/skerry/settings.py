"""What the environment tells a process: `SKERRY_*` variables, checked once at start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from skerry.errors import ConfigurationError

URL_PREFIX = "SKERRY_URL_"
LogLevel = Literal["debug", "info", "warning", "error"]
LOG_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process.

    `data` is the folder that relative database and event URLs are resolved against. `urls` maps the name of a service to its
    base address. `database` and `events` replace the addresses that the code names, where they are set. `supervised` means:
    standard input is a pipe from the supervisor, and its end means stop.
    """

    data: Path = field(default_factory=Path.cwd)
    host: str = "127.0.0.1"
    port: int = 8000
    log_level: LogLevel = "info"
    supervised: bool = False
    drain: float = 10.0
    database: str = ""
    events: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read and check the environment. Raises `ConfigurationError` naming the variable."""
        env = os.environ if environ is None else environ
        wanted = env.get("SKERRY_LOG_LEVEL", "info").lower()
        level = next((level for level in LOG_LEVELS if level == wanted), None)
        if level is None:
            raise ConfigurationError(f"SKERRY_LOG_LEVEL is {wanted[:40]!r}; use one of {', '.join(LOG_LEVELS)}")
        return cls(
            data=Path(env.get("SKERRY_DATA") or Path.cwd()).resolve(),
            host=env.get("SKERRY_HOST", "127.0.0.1"),
            port=_number(env, "SKERRY_PORT", 8000, 0, 65535),
            log_level=level,
            supervised=env.get("SKERRY_SUPERVISED") == "1",
            drain=float(_number(env, "SKERRY_DRAIN", 10, 0, 3600)),
            database=env.get("SKERRY_DATABASE", ""),
            events=env.get("SKERRY_EVENTS", ""),
            urls={name_of(key): value for key, value in env.items() if key.startswith(URL_PREFIX)},
        )


def variable_for(service: str) -> str:
    """The environment variable that carries the address of `service`."""
    return URL_PREFIX + service.upper().replace("-", "_")


def name_of(variable: str) -> str:
    """The inverse of `variable_for`."""
    return variable.removeprefix(URL_PREFIX).lower().replace("_", "-")


def _number(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name)
    if text is None or not text:
        return default
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise ConfigurationError(f"{name} is {text[:40]!r}; use a whole number from {low} to {high}")
    return int(text)
