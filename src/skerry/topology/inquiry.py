"""Asks the code of a service something in a process of its own, so that its mistakes, its output and its imports stay there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from skerry.errors import ConfigurationError
from skerry.settings import variable_for
from skerry.topology.model import ServiceSpec, System

TIMEOUT: Final = 30.0
"""Seconds that importing one service may take."""
MAX_ANSWER: Final = 32 * 1024 * 1024
NOWHERE: Final = "http://127.0.0.1:9"
"""The address of every other service while one is imported: nobody is called, and a mistake reaches nobody."""
AT_ONCE: Final = 2
"""Services that are imported at the same time."""
_NOT_GIVEN: Final = {"SKERRY_EVENTS", "SKERRY_DATABASE", "SKERRY_ADMIN_URL"}


def surroundings(system: System, spec: ServiceSpec) -> dict[str, str]:
    """The variables of a service that is only imported."""
    addresses = {variable_for(name): NOWHERE for name in system.services}
    return {**spec.env, **addresses, "SKERRY_SERVICE": spec.name}


def inquire(
    module: str, arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str], timeout: float, what: str
) -> dict[str, Any]:
    """Run `python -m MODULE FILE ARGUMENTS...` in `folder`; the JSON object that it leaves in the file.

    Nothing is started, and the code is given an empty data folder and no addresses; but it runs, as with `skerry run`. Raises
    `ConfigurationError` that names `what` is imported, when it takes longer than `timeout` seconds or ends without an answer.
    """
    with tempfile.TemporaryDirectory(prefix="skerry-ask-") as scratch:
        answer = Path(scratch) / "answer.json"
        errors = Path(scratch) / "stderr"
        variables = {key: value for key, value in {**os.environ, **environ}.items() if key not in _NOT_GIVEN}
        with errors.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-B", "-m", module, str(answer), *arguments],
                cwd=folder,
                env={**variables, "SKERRY_DATA": str(Path(scratch) / "data")},
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise ConfigurationError(f"importing {what} took longer than {timeout:g} s") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)  # with what the module may have started
                    process.wait()
        if process.returncode != 0 or not answer.is_file() or answer.stat().st_size > MAX_ANSWER:
            with errors.open("rb") as stderr:
                said = stderr.read(64 * 1024).decode(errors="replace").strip().rpartition("\n")[2][:300]
            raise ConfigurationError(f"importing {what} ended with status {process.returncode}: {said}")
        body: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return body
