"""What the environment tells a process: `SKERRY_*` variables, checked once at start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from skerry.errors import ConfigurationError

W = TypeVar("W", bound=str)

URL_PREFIX = "SKERRY_URL_"
MAX_TOKEN: Final = 4096
Metrics = Literal["", "prometheus"]
METRICS: tuple[Metrics, ...] = get_args(Metrics)
Otel = Literal["", "sdk"]
OTEL: tuple[Otel, ...] = get_args(Otel)
LogLevel = Literal["debug", "info", "warning", "error"]
LOG_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)
Migrate = Literal["start", "never"]
MIGRATE: tuple[Migrate, ...] = get_args(Migrate)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process.

    `data` is the folder that relative database and event URLs are resolved against. `urls` maps the name of a service to its
    base address. `database`, `events` and `analytics` replace the addresses that the code names, where they are set. `supervised`
    means: standard input is a pipe from the supervisor, and its end means stop. `migrate` says whether a service applies
    migrations at its start, those for before a deploy, or refuses to start while one of them was not applied. `metrics` says
    for whom a service shows numbers at `/metrics`: for nobody, unless set. `socket` and `grpc_socket`
    are unix sockets to listen on instead of host and ports. `grpc_certificate` and `grpc_key` are PEM files for TLS over gRPC;
    callers have to show a certificate of an authority in `grpc_client_ca`, where that is set. `zone` is where the process runs:
    calls prefer instances in the same zone. `traces` is the file that spans are written to; none, unless set. `otlp` is the
    address of a console or collector that spans and signals are sent to, by OTLP over HTTP, with `otlp_token` as a bearer's;
    none, unless set. `otel` has the process use OpenTelemetry's SDK, as its global providers are set up.
    """

    data: Path = field(default_factory=Path.cwd)
    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int = 50051
    socket: str = ""
    grpc_socket: str = ""
    grpc_certificate: str = ""
    grpc_key: str = ""
    grpc_client_ca: str = ""
    log_level: LogLevel = "info"
    supervised: bool = False
    drain: float = 10.0
    database: str = ""
    events: str = ""
    analytics: str = ""
    migrate: Migrate = "start"
    metrics: Metrics = ""
    traces: str = ""
    otlp: str = ""
    otlp_token: str = field(default="", repr=False)
    otel: Otel = ""
    zone: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read and check the environment. Raises `ConfigurationError` naming the variable."""
        env = os.environ if environ is None else environ
        return cls(
            data=Path(env.get("SKERRY_DATA") or Path.cwd()).resolve(),
            host=env.get("SKERRY_HOST", "127.0.0.1"),
            port=_number(env, "SKERRY_PORT", 8000, 0, 65535),
            grpc_port=_number(env, "SKERRY_GRPC_PORT", 50051, 0, 65535),
            socket=env.get("SKERRY_SOCKET", ""),
            grpc_socket=env.get("SKERRY_GRPC_SOCKET", ""),
            **_grpc_tls(env),
            log_level=_word(env, "SKERRY_LOG_LEVEL", LOG_LEVELS, "info"),
            supervised=env.get("SKERRY_SUPERVISED") == "1",
            drain=float(_number(env, "SKERRY_DRAIN", 10, 0, 3600)),
            database=env.get("SKERRY_DATABASE", ""),
            events=env.get("SKERRY_EVENTS", ""),
            analytics=env.get("SKERRY_ANALYTICS", ""),
            migrate=_word(env, "SKERRY_MIGRATE", MIGRATE, "start"),
            metrics=_word(env, "SKERRY_METRICS", METRICS, ""),
            traces=env.get("SKERRY_TRACES", ""),
            otlp=_address(env, "SKERRY_OTLP"),
            otlp_token=_token(env, "SKERRY_OTLP_TOKEN"),
            otel=_word(env, "SKERRY_OTEL", OTEL, ""),
            zone=env.get("SKERRY_ZONE", ""),
            urls={name_of(key): value for key, value in env.items() if key.startswith(URL_PREFIX)},
        )


def variable_for(service: str) -> str:
    """The environment variable that carries the address of `service`."""
    return URL_PREFIX + service.upper().replace("-", "_")


def name_of(variable: str) -> str:
    """The inverse of `variable_for`."""
    return variable.removeprefix(URL_PREFIX).lower().replace("_", "-")


def _grpc_tls(env: Mapping[str, str]) -> dict[str, str]:
    files = {name: env.get(f"SKERRY_{name.upper()}", "") for name in ("grpc_certificate", "grpc_key", "grpc_client_ca")}
    certificate, key, client_ca = files.values()
    if bool(certificate) != bool(key) or (client_ca and not certificate):
        raise ConfigurationError(
            "SKERRY_GRPC_CERTIFICATE and SKERRY_GRPC_KEY belong together, and SKERRY_GRPC_CLIENT_CA needs both"
        )
    return files


def _word(env: Mapping[str, str], name: str, words: tuple[W, ...], default: W) -> W:
    wanted = env.get(name) or default
    for word in words:
        if word == wanted.lower():
            return word
    raise ConfigurationError(f"{name} is {wanted[:40]!r}; use one of {', '.join(words)}")


def _address(env: Mapping[str, str], name: str) -> str:
    text = env.get(name, "")
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none
        whole = False
    # what is wrong with it is told without it: somebody may have written a password into it
    if not whole or parts.username is not None or parts.query or parts.fragment or not text.isprintable():
        raise ConfigurationError(f"{name} is no address; use one such as http://127.0.0.1:4318")
    return text.rstrip("/")


def _token(env: Mapping[str, str], name: str) -> str:
    text = env.get(name, "")
    if len(text) > MAX_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError(
            f"{name} is no token: use at most {MAX_TOKEN} printable ASCII characters without spaces"
        )
    return text


def _number(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name)
    if text is None or not text:
        return default
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise ConfigurationError(f"{name} is {text[:40]!r}; use a whole number from {low} to {high}")
    return int(text)
