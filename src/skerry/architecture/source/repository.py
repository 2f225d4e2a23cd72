"""Where a repository keeps its history, and git called so that nothing of the repository can make it run anything.

The repository's own configuration is never read: git is given an empty folder of ours as its directory, with a configuration of
ours, and only the objects are the repository's. So there are no hooks, filters, pagers, drivers, monitors or remotes to turn off.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from skerry.architecture.source.files import MiB
from skerry.clock import SYSTEM
from skerry.errors import ConfigurationError

MAX_OUTPUT: Final = 512 * MiB
MAX_TIME: Final = 120.0
"""Seconds that one call of git may take."""
_REF_FILE: Final = 64 * MiB
_SHA: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_CHUNK: Final = 1 << 20
_CONFIG: Final = """[core]
\tbare = true
\tpager = cat
\thooksPath = /dev/null
\tfsmonitor = false
\tattributesFile = /dev/null
\tquotePath = false
[protocol]
\tallow = never
[gc]
\tauto = 0
[diff]
\trenameLimit = 400
"""


class NoRepository(ConfigurationError):
    """There is no history that could be read; the text says what is there instead."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where git keeps things: `folder` is of this work tree, `shared` of all of them; `prefix` ends with `/` or is empty."""

    folder: Path
    shared: Path
    prefix: str


def find(path: Path) -> Found:
    """The repository that `path` is, or is in. Raises `NoRepository`."""
    here = path.resolve()
    for each in (here, *here.parents):
        inside = each / ".git"
        folder = inside if inside.is_dir() and not inside.is_symlink() else _pointed(inside) or each
        if not (folder / "HEAD").is_file():
            continue
        shared = _shared(folder)
        if (shared / "objects").is_dir() and not (shared / "objects").is_symlink():
            prefix = "" if folder == each else here.relative_to(each).as_posix() + "/"
            return Found(folder, shared, "" if prefix == "./" else prefix)
    raise NoRepository(f"{path} is not in a git repository: without its history there is nothing to learn from")


def _pointed(file: Path) -> Path | None:
    """Where the file `.git` of a work tree or a submodule points to."""
    text = _text(file)
    return (file.parent / text[7:].strip()).resolve() if text.startswith("gitdir:") else None


def _shared(folder: Path) -> Path:
    text = _text(folder / "commondir").strip()
    return (folder / text).resolve() if text else folder


def _text(file: Path, most: int = 4096) -> str:
    """The beginning of a regular file, or nothing."""
    if file.is_symlink() or not file.is_file():
        return ""
    with contextlib.suppress(OSError), file.open("rb") as opened:
        return opened.read(most).decode("utf-8", errors="replace").partition("\0")[0]
    return ""


class Repository:
    """The objects of a repository, asked through git. Close it, or use `with`; it holds a temporary folder."""

    def __init__(self, path: Path) -> None:
        """Raises `NoRepository`, also where git is not installed."""
        command = shutil.which("git")
        if command is None:
            raise NoRepository("git is not installed: without it there is no history to read")
        self._command = command
        self.found: Found = find(path)
        self._own: tempfile.TemporaryDirectory[str] = tempfile.TemporaryDirectory(prefix="skerry-git-")
        own = Path(self._own.name)
        for name in ("objects", "refs"):
            (own / name).mkdir()
        (own / "config").write_text(self._settings())
        self.head: str = self._resolve_head()
        (own / "HEAD").write_text(f"{self.head or '0' * 40}\n")
        shallow = _text(self.found.shared / "shallow", MiB)
        self.shallow: bool = bool(shallow)
        if shallow:
            (own / "shallow").write_text(shallow)
        self._finalizer = weakref.finalize(self, self._own.cleanup)

    def _settings(self) -> str:
        """Ours, and the one thing that must be known of theirs: how objects are named."""
        theirs = _text(self.found.shared / "config", MiB)
        sha256 = re.search(r"(?im)^\s*objectformat\s*=\s*sha256\s*$", theirs)
        start = "[core]\n\trepositoryFormatVersion = 1\n[extensions]\n\tobjectFormat = sha256\n" if sha256 else ""
        return start + _CONFIG

    def _resolve_head(self) -> str:
        """The commit that HEAD names; empty where there is none yet."""
        name = _text(self.found.folder / "HEAD").strip()
        for _ in range(5):
            if _SHA.fullmatch(name):
                return name
            name = self.ref(name.removeprefix("ref:").strip())
        return ""

    def ref(self, name: str) -> str:
        """What a reference holds, such as `refs/heads/main`; empty where there is none."""
        if not re.fullmatch(r"refs/[\w./+@=-]{1,250}", name) or ".." in name:
            return ""
        for folder in (self.found.folder, self.found.shared):
            text = _text(folder / name).strip()
            if text:
                return text
        return dict(self._packed()).get(name, "")

    def _packed(self) -> Iterator[tuple[str, str]]:
        for line in _text(self.found.shared / "packed-refs", _REF_FILE).splitlines():
            sha, _, name = line.partition(" ")
            if _SHA.fullmatch(sha):
                yield name, sha

    def tags(self, most: int = 20_000) -> dict[str, str]:
        """Names of tags and what they hold; at most `most`."""
        found = {name[10:]: sha for name, sha in self._packed() if name.startswith("refs/tags/")}
        folder = self.found.shared / "refs" / "tags"
        for file in sorted(folder.rglob("*"))[:most] if folder.is_dir() else ():
            sha = _text(file).strip()
            if _SHA.fullmatch(sha):
                found[file.relative_to(folder).as_posix()] = sha
        return dict(sorted(found.items())[:most])

    def environment(self) -> dict[str, str]:
        """All that git gets to see of the environment."""
        return {
            "PATH": os.defpath,
            "HOME": self._own.name,
            "LC_ALL": "C",
            "TZ": "UTC",
            "GIT_DIR": self._own.name,
            "GIT_OBJECT_DIRECTORY": str(self.found.shared / "objects"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_ALLOW_PROTOCOL": "",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
        }

    def start(self, *arguments: str, errors: IO[bytes] | None = None, asked: bool = False) -> subprocess.Popen[bytes]:
        """Start git with `arguments`, its output in a pipe; with `asked` its input, too."""
        return subprocess.Popen(  # noqa: S603 - git itself, by its full path
            [self._command, "--no-pager", *arguments],
            stdin=subprocess.PIPE if asked else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors or subprocess.DEVNULL,
            env=self.environment(),
            cwd=self._own.name,
            start_new_session=True,
        )

    def run(self, *arguments: str, most: int = MAX_OUTPUT, seconds: float = MAX_TIME) -> bytes:
        """What git prints. Raises `NoRepository` when it fails, takes longer than `seconds` or prints more than `most` bytes."""
        what = f"git {arguments[0]}"
        with tempfile.TemporaryFile() as errors:
            process = self.start(*arguments, errors=errors)
            try:
                output = b"".join(_chunks(process, what, most, SYSTEM.monotonic() + seconds))
                status = process.wait(timeout=5.0)
            finally:
                stop(process)
            if status:
                errors.seek(0)
                said = errors.read(400).decode("utf-8", errors="replace").strip()
                raise NoRepository(f"{what} failed on {self.found.folder}: {said or f'exit status {status}'}")
            return output

    def close(self) -> None:
        self._finalizer()

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _chunks(process: subprocess.Popen[bytes], what: str, most: int, end: float) -> Iterator[bytes]:
    assert process.stdout is not None
    size = 0
    while chunk := read_some(process.stdout, end, what):
        size += len(chunk)
        if size > most:
            raise NoRepository(f"{what} printed more than {most // MiB} MiB")
        yield chunk


def read_some(pipe: IO[bytes], end: float, what: str) -> bytes:
    """What stands in `pipe`, as soon as something does; nothing at its end. Raises `NoRepository` when it is `end` before."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN | select.POLLHUP)
    if not poll.poll(max(0.0, end - SYSTEM.monotonic()) * 1000):
        raise NoRepository(f"{what} did not answer in time")
    return os.read(pipe.fileno(), _CHUNK)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End `process` and what it has started, and close its pipes."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
