"""The commands in the documentation, run as they stand: only the port and the folder are another."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
BOUND = 60.0
ELSEWHERE = {"skerry demo"}
"""Run by its own tests, which take their time."""
MAY_FIND_NOTHING = "grep "
SHORT_ID = re.compile(r"01a\w\.\.\.")
Command = tuple[str, list[str]]


def commands(page: Path, *, after: str = "") -> list[Command]:
    """Each `$ command` of the page's console blocks, without its comment, and the lines shown below it."""
    text = page.read_text().partition(after)[2] if after else page.read_text()
    found: list[Command] = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                found.append((re.sub(r"\s+# .*", "", line[2:]), []))
            elif line.strip():
                found[-1][1].append(line)
    return found


def free_port() -> int:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return int(reserved.getsockname()[1])


class Terminal:
    """Runs commands in a folder. A shortened id, as pages show them, stands for that of the last answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last_id = ""
        self.port = free_port()
        file = folder / "skerry.toml"
        file.write_text(file.read_text().replace("port = 8080", f"port = {self.port}"))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environ = {**os.environ, "PATH": path}

    def here(self, text: str) -> str:
        """A command or a shown line, with the port of this run."""
        return text.replace(":8080", f":{self.port}")

    def run(self, command: str, shown: list[str]) -> None:
        """Run a command: it has to succeed and to print what the page shows, at the latest after ten seconds."""
        told = SHORT_ID.sub(self.last_id, self.here(command))
        give_up = time.monotonic() + 10.0
        while True:
            done = subprocess.run(
                ["bash", "-c", told],
                cwd=self.folder,
                env=self.environ,
                capture_output=True,
                text=True,
                timeout=BOUND,
                check=False,
            )
            missing = [line for line in shown if not self.prints(done.stdout, line)]
            if not missing or time.monotonic() > give_up:
                break
            time.sleep(0.1)
        assert done.returncode == 0 or command.startswith(MAY_FIND_NOTHING), (told, done.stderr)
        assert not missing, (told, done.stdout, missing)
        ids = re.findall(r'"id":"([0-9a-f-]{36})"', done.stdout)
        self.last_id = ids[0] if ids else self.last_id

    def prints(self, output: str, line: str) -> bool:
        """Whether the output has the line. `...` stands for anything, and of a table the name and the state count."""
        row = re.match(r"(\S+\s+ready)\s+\d+\s", line)
        if row is not None:
            return re.search(rf"^{re.escape(row[1])}\s", output, re.MULTILINE) is not None
        pattern = re.escape(SHORT_ID.sub("...", self.here(line))).replace(r"\.\.\.", ".*")
        pattern = re.sub(r"(\\ )+", r"\\s+", pattern)  # columns are as wide as what stands in them
        return re.search(rf"^{pattern}$", output, re.MULTILINE) is not None


@contextmanager
def running(folder: Path) -> Iterator[Terminal]:
    """The system of a folder, as `skerry run` starts it, until Ctrl-C or `skerry stop`."""
    terminal = Terminal(folder)
    with subprocess.Popen(
        ["skerry", "run"], cwd=folder, env=terminal.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert next(line for line in process.stdout if "is ready at http" in line)
        try:
            yield terminal
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=BOUND)
        assert process.returncode == 0


def test_the_tutorials_commands_do_what_it_shows(tmp_path: Path) -> None:
    """The inn runs from the files on the page; each command succeeds and prints what the page prints."""
    page = ROOT / "docs" / "tutorial.md"
    for name, content in re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    start, *others = commands(page, after="## Run it")
    assert start[0] == "skerry run"
    assert [command.split()[0] for command, _ in others] == ["curl", "curl", "curl", "skerry", "curl", "skerry"]
    with running(tmp_path) as terminal:
        for command, shown in others:
            terminal.run(command, shown)


def test_the_commands_for_operating_the_shop_work(tmp_path: Path) -> None:
    """The shop runs as the page says, and each command for it succeeds; stopping comes last."""
    shop = tmp_path / "shop"
    shutil.copytree(ROOT / "examples" / "shop", shop, ignore=shutil.ignore_patterns("var", "__pycache__"))
    told = commands(ROOT / "docs" / "how-to" / "operate-the-shop.md")
    told.sort(key=lambda entry: entry[0] == "skerry stop")
    assert {command for command, _ in told} >= {"skerry run", "skerry ps", "skerry hold payment", "skerry stop"}
    with running(shop) as terminal:
        for command, shown in told:
            if command not in {"cd examples/shop", "skerry run", *ELSEWHERE}:
                terminal.run(command, [line for line in shown if line != "..."])
