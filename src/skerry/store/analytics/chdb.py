"""ClickHouse inside the process: chdb, on a folder that the process has for itself.

A process has one such folder open at a time: that is the engine's rule. The engine takes about 400 MiB of memory and a second
to load, which happens at `open`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from skerry.errors import ConfigurationError, MissingExtra, StoreBusy, StoreError
from skerry.store.analytics import dialect

if find_spec("chdb") is None:
    raise MissingExtra("ClickHouse inside the process", "chdb")

_ANOTHER: Final = "already initialized with path"


class EmbeddedLink:
    """See `Link`: one session, in one thread; `timeout` bounds a statement, in seconds."""

    threads = 1

    def __init__(self, folder: Path, *, timeout: float) -> None:
        if "?" in str(folder):
            raise ConfigurationError(f"{folder}: a path with a question mark cannot be opened by this engine")
        self.where: str = str(folder)
        self._folder = folder
        self._settings = {**dialect.SETTINGS, "max_execution_time": timeout}
        self._session: Any = None

    def connect(self) -> None:
        """See `Link`."""
        session: Any = import_module("chdb.session")  # half a gigabyte: not before it is needed

        self.close()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._session = session.Session(self.where)
        except OSError as error:
            raise StoreError(f"{self.where}: {error.strerror}") from error
        except RuntimeError as error:
            raise self._refusal(str(error)) from None
        for name, value in self._settings.items():
            self.command(f"SET {name} = {value!r}")

    def close(self) -> None:
        """See `Link`."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def command(self, sql: str) -> None:
        """See `Link`."""
        self._run(sql, writing=True)

    def query(self, sql: str, parameters: Mapping[str, str]) -> bytes:
        """See `Link`."""
        values = {name: dialect.escaped(value) for name, value in parameters.items()}
        return self._run(sql, "JSONCompact", values)

    def insert(self, sql: str, rows: str) -> None:
        """See `Link`."""
        self._run(f"{sql} FORMAT TabSeparated\n{rows}", writing=True)

    def _run(
        self, sql: str, form: str = "Null", values: Mapping[str, str] | None = None, *, writing: bool = False
    ) -> bytes:
        if self._session is None:
            raise StoreError(f"{self.where} is not open")
        try:
            answer: bytes = self._session.query(sql, form, params=values or {}).bytes()
        except RuntimeError as error:
            with suppress(
                RuntimeError
            ):  # what a failing query had begun to say comes with the next answer: here it goes
                self._session.query("SELECT 1", "Null")
            raise dialect.refusal(self.where, str(error), writing=writing) from None
        return answer

    def _refusal(self, words: str) -> StoreError:
        if _ANOTHER in words:
            return StoreError(f"{self.where}: this process has another folder of this engine open, which lets in one")
        if self._is_locked():
            return StoreBusy(f"{self.where} is in use by another process: the engine lets in one at a time")
        return StoreError(f"{self.where}: the engine cannot open this folder; it says why on standard error")

    def _is_locked(self) -> bool:
        """Whether another process has the folder: the engine's error does not say so."""
        try:
            descriptor = os.open(self._folder / "status", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
