"""A small system that really runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]

from verbs import BOUND, until  # noqa: E402

SYSTEM = """
[system]
name = "tiny"
events = "sqlite:///events/"

[topics]
"shop.order.placed" = { owner = "billing" }

[services.billing]
app = "billing:service"
database = "sqlite:///billing.db"
publishes = ["shop.order.placed"]
subscribes = ["shop.order.placed"]

[services.hollow]
app = "billing:hollow"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the system's file, in which nothing runs yet."""
    runtime = Path(tempfile.mkdtemp(prefix="skerry-cli-"))  # short: a socket's path has 107 bytes
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr(tempfile, "tempdir", str(runtime))
    monkeypatch.delenv("SKERRY_DATABASE", raising=False)
    monkeypatch.delenv("SKERRY_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "skerry.toml").write_text(SYSTEM)
    shutil.copy(HERE / "billing.py", tmp_path / "billing.py")
    try:
        yield tmp_path
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def running(request: pytest.FixtureRequest, here: Path) -> Iterator[Path]:
    """The system, running; its data folder."""
    data = here / "kept"
    data.mkdir()
    (data / "broken").touch()
    (here / "output").touch()
    command = [sys.executable, "-m", "skerry", "run", "--data", str(data), "-o", "json", "--database", request.param]
    with (here / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=here, stdout=output, stderr=output)
        try:

            def ready() -> bool:
                assert process.poll() is None, (here / "output").read_text()
                return '"state": "ready", "url"' in (here / "output").read_text()

            until(ready)
            yield data
        finally:
            process.terminate()
            process.wait(timeout=BOUND)
