"""Passwords, and the files they are kept in: `NAME.env` for each service, in a folder that only its owner may enter.

A file holds `VARIABLE=VALUE` lines: what systemd's `EnvironmentFile`, `docker run --env-file` and a shell read. Each service
needs its own file only.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from skerry.clock import Clock
from skerry.errors import ConfigurationError

FOLDER: Final = "secrets"
"""Below the data folder, for what the supervisor keeps itself."""
MAX_SIZE = 64 * 1024
ITERATIONS = 4096
_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./?\[\]-]*")
_HEAD = "# Holds a password; written by skerry. For `skerry run --env`, systemd, Compose or a shell.\n"


def password(clock: Clock) -> str:
    """A random password of 32 characters (192 bits), none of which needs quoting in a URL, in SQL or in a shell."""
    return base64.urlsafe_b64encode(clock.random_bytes(24)).decode()


def scram_verifier(secret: str, clock: Clock) -> str:
    """What PostgreSQL keeps of the password `secret` (ASCII), so that it itself is never sent, logged or stored there.

    Source: RFC 5802 and RFC 7677, SCRAM-SHA-256; the text form is that of PostgreSQL's `pg_authid.rolpassword`.
    """
    salt = clock.random_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{parts[0]}${parts[1]}:{parts[2]}"


class SecretFolder:
    """The folder `path` (mode 0700) and its files (0600)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, service: str) -> Path:
        """The environment file of `service`."""
        return self.path / f"{service}.env"

    def read(self, service: str) -> dict[str, str]:
        """The variables in the file of `service`; none when there is no file. Raises `ConfigurationError`."""
        file = self.file(service)
        found: dict[str, str] = {}
        for number, line in enumerate(self.text(file.name).splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip().removeprefix("export "))
            if match is None:
                raise ConfigurationError("is no line VARIABLE=VALUE", source=str(file), line=number)
            value = match[2]
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[match[1]] = value[1:-1] if quoted else value
        return found

    def write(self, service: str, variables: Mapping[str, str]) -> None:
        """Replace the file of `service` in one step. Raises `ConfigurationError` when it cannot be written."""
        lines = [
            f"{name}={value if _PLAIN.fullmatch(value) else _quoted(value)}\n" for name, value in variables.items()
        ]
        self.keep(self.file(service).name, _HEAD + "".join(lines))

    def text(self, name: str) -> str:
        """The content of the file `name`, empty when there is none. Raises `ConfigurationError`."""
        try:
            with (self.path / name).open("rb") as file:
                content = file.read(MAX_SIZE + 1)
            if len(content) > MAX_SIZE:
                raise ConfigurationError(f"is larger than {MAX_SIZE} bytes", source=str(self.path / name))
            return content.decode()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            what = getattr(error, "strerror", None) or "is not UTF-8 text"
            raise ConfigurationError(f"cannot be read: {what}", source=str(self.path / name)) from None

    def keep(self, name: str, text: str) -> None:
        """Make `text` the content of the file `name`, durably and in one step; unchanged when it is that already."""
        if text and self.text(name) == text:
            return
        part = self.path / f".{name}.new"
        try:
            self._make()
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path / name)
        except OSError as error:
            raise ConfigurationError(f"cannot be written: {error.strerror}", source=str(self.path / name)) from None

    def _make(self) -> None:
        if self.path.is_dir():
            return
        self.path.mkdir(mode=0o700, parents=True)
        (self.path / ".gitignore").write_text("*\n", encoding="utf-8")  # passwords are not for a repository


def _quoted(value: str) -> str:
    if any(character in value for character in "'\n\r\0"):
        raise ConfigurationError("an environment file cannot hold a value with quotes or line ends")
    return f"'{value}'"
