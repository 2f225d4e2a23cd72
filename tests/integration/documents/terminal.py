"""A terminal that runs the commands of a page as they stand and compares what they print with what the page shows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BOUND = 120.0
SHORT_ID = re.compile(r"01a\w\.\.\.")
LOOKS = re.compile(r"skerry ps|curl (?!.*-X POST)")
Command = tuple[str, list[str]]


def commands(text: str) -> list[Command]:
    """Each `$ command` of a console block, without its comment, and the lines shown below it."""
    found: list[Command] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((re.sub(r"\s+# .*", "", line[2:]), []))
        elif line.strip():
            found[-1][1].append(line)
    return found


class Terminal:
    """Runs commands one after the other; folder and variables stay, as in a shell. `skerry run` goes on beside the others.

    The gateway gets a free port. A shortened id, as pages show them, stands for that of the last answer.
    """

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.state = folder / ".terminal"
        self.state.write_text("")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environ = {**os.environ, "PATH": path, **environ}
        self.system: subprocess.Popen[str] | None = None
        self.port = 0
        self.last_id = ""

    @property
    def here(self) -> Path:
        """The folder that the commands have gone to."""
        gone = re.findall(r'^declare -x PWD="(.*)"$', self.state.read_text(), re.MULTILINE)
        return Path(gone[-1]) if gone else self.folder

    def run(self, command: str, shown: list[str]) -> None:
        """Run a command: it has to succeed and to print what the page shows. One that only looks may look again."""
        if command.startswith("skerry run"):
            self.start(command, shown)
            return
        told = SHORT_ID.sub(self.last_id, self.with_port(command))
        give_up = time.monotonic() + BOUND
        while True:
            done = self.bash(told)
            missing = [line for line in shown if not self.prints(done.stdout, line)]
            if not missing or not LOOKS.match(command) or time.monotonic() > give_up:
                break
            time.sleep(0.1)
        # grep ends with 1 when nothing is found
        assert done.returncode in ({0, 1} if command.startswith("grep ") else {0}), (told, done.stdout, done.stderr)
        assert not missing, (told, done.stdout, done.stderr, missing)
        ids = re.findall(r'"id":"([0-9a-f-]{36})"', done.stdout)
        self.last_id = ids[0] if ids else self.last_id
        if command == "skerry stop":
            self.ended()

    def bash(self, command: str) -> subprocess.CompletedProcess[str]:
        script = f". {self.state}; {command}\ncode=$?; export -p > {self.state}; exit $code"
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.here,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=BOUND,
            check=False,
        )

    def start(self, command: str, shown: list[str]) -> None:
        """Start the system of this folder, and read what it prints until it is ready."""
        file = self.here / "skerry.toml"
        file.write_text(file.read_text().replace("port = 8080", "port = 0"))
        self.system = subprocess.Popen(
            ["bash", "-c", f". {self.state}; exec {command}"],
            cwd=self.here,
            env=self.environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.system.stdout is not None
        printed = ""
        for line in self.system.stdout:
            printed += line
            ready = re.search(r"is ready at http://127\.0\.0\.1:(\d+)", line)
            if ready:
                self.port = int(ready[1])
                break
        missing = [line for line in shown if not self.prints(printed, line)]
        assert self.port, printed
        assert not missing, (printed, missing)

    def ended(self) -> None:
        """The system ends by itself, as it should."""
        assert self.system is not None
        self.system.communicate(timeout=BOUND)
        assert self.system.returncode == 0
        self.system = None

    def with_port(self, text: str) -> str:
        return text.replace(":8080", f":{self.port}")

    def prints(self, output: str, line: str) -> bool:
        """Whether the output has the line. `...` stands for anything, and of a table the name and the state count."""
        row = re.match(r"(\S+\s+ready)\s+\d+\s", line)
        if row is not None:
            return re.search(rf"^{re.escape(row[1])}\s", output, re.MULTILINE) is not None
        pattern = re.escape(SHORT_ID.sub("...", self.with_port(line))).replace(r"\.\.\.", ".*")
        pattern = re.sub(r"(\\ )+", r"\\s+", pattern)  # columns are as wide as what stands in them
        return re.search(rf"^{pattern}$", output, re.MULTILINE) is not None


@contextmanager
def terminal(folder: Path, **environ: str) -> Iterator[Terminal]:
    """A terminal in a folder. What it started and nobody stopped gets Ctrl-C at the end."""
    opened = Terminal(folder, **environ)
    try:
        yield opened
    except BaseException:
        if opened.system is not None:
            opened.system.terminate()
            opened.system.communicate(timeout=BOUND)
        raise
    if opened.system is not None:
        opened.system.send_signal(signal.SIGINT)
        opened.ended()
