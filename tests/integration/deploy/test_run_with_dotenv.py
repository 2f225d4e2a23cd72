"""`skerry run` with a file `.env` beside skerry.toml: its processes get what it holds, and nobody else sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from systems import BOUND, get

APP = """
import os
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from skerry import Service


async def told(request):
    return JSONResponse({name: os.environ.get(name) for name in ("ONE", "TWO", "THREE", "SKERRY_DATABASE")})


service = Service("one", app=Starlette(routes=[Route("/told", told)]))
"""
FILE = """
[system]
name = "tiny"
[services.one]
app = "app:service"
env = { THREE = "of the system file" }
"""
DOTENV = """
# for this machine
export ONE='s3cret of the file'
TWO=of the file
THREE=of the file
SKERRY_DATABASE=sqlite:///not-handed-on.db
"""


@contextmanager
def run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable,
        "-m",
        "skerry",
        "run",
        "--file",
        str(folder / "skerry.toml"),
        "--data",
        str(folder / "var"),
    ]
    environ = {**os.environ, "TWO": "of the environment"}
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, "-o", "json"], env=environ, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_each_variable_comes_from_the_nearest_place(tmp_path: Path) -> None:
    """The system file wins over the environment, that over `.env`; what is never inherited is not taken from it either."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "skerry.toml").write_text(FILE)
    (tmp_path / ".env").write_text(DOTENV)
    with run(tmp_path) as system:
        assert system.stdout is not None
        lines = []
        for line in system.stdout:
            lines.append(line)
            if '"event": "system"' in line and '"ready"' in line:
                break
        shown = subprocess.run(
            [sys.executable, "-m", "skerry", "ps", "--data", str(tmp_path / "var"), "-o", "json"],
            capture_output=True,
            text=True,
            check=True,
            timeout=BOUND,
        ).stdout
        [process] = json.loads(shown)["processes"]
        assert json.loads(get(f"{process['url']}/told")) == {
            "ONE": "s3cret of the file",
            "TWO": "of the environment",
            "THREE": "of the system file",
            "SKERRY_DATABASE": None,
        }
        system.terminate()
        rest, errors = system.communicate(timeout=BOUND)
    written = "".join(file.read_text() for file in (tmp_path / "var" / "logs").iterdir())
    assert "s3cret" not in "".join([*lines, rest, errors, shown, written])


def test_a_mistake_in_it_starts_nothing(tmp_path: Path) -> None:
    """The error names the file and the line, and not what stands there."""
    (tmp_path / "skerry.toml").write_text(FILE)
    (tmp_path / ".env").write_text("ONE=1\ns3cret\n")
    with run(tmp_path) as system:
        said, errors = system.communicate(timeout=BOUND)
    assert system.returncode == 1
    assert errors == f"error: {tmp_path}/.env:2: is no line NAME=VALUE\n"
    assert said == ""
