"""The history of a repository and the files of one of its commits, read through git; see `repository` for how that is safe."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from skerry.architecture.source.files import Limits, MiB, Skipped, Unreadable
from skerry.architecture.source.history import Commit, History
from skerry.architecture.source.repository import NoRepository, Repository, read_some, stop
from skerry.clock import SYSTEM

MAX_COMMITS: Final = 100_000
_READ_TIME: Final = 30.0
"""Seconds in which git has to give one file."""
_FORMAT: Final = "--format=tformat:%x01%H%x02%ct%x02%ae%x02%s"
_KIND: Final = {"120000": "a link", "160000": "a submodule"}


def history(
    path: Path,
    at: float | None = None,
    limit: int = MAX_COMMITS,
    *,
    since: float | None = None,
    until: float | None = None,
) -> History:
    """The commits that lead to HEAD, or to the last commit on its first-parent line up to `at`, newest first.

    At most `limit` of them, none committed before `since`. With `until` it is the other way round: the commits from there on,
    without what leads to `at`, up to the last commit until then; this is for judging after the fact. Times are Unix times.
    Raises `NoRepository`.
    """
    with Repository(path) as repository:
        base = resolve(repository, at)
        tip = base if until is None else resolve(repository, until)
        arguments = [
            "log",
            "--no-merges",
            "--no-show-signature",
            "--no-mailmap",
            "-z",
            "--name-status",
            "--diff-filter=d",
        ]
        arguments += [_FORMAT, f"--max-count={limit + 1}", *([f"--since={int(since)}"] if since is not None else [])]
        ends = [tip] if until is None else [tip, f"^{base}"]
        try:
            output = repository.run(*arguments, "-M", *ends)
        except NoRepository:
            # finding changed files again reads contents; where some are missing, names alone have to do
            output = repository.run(*arguments, "-M100%", *ends)
        commits = tuple(_commits(output, repository.found.prefix))
        shown = commits[:limit]
        return History(
            head=tip,
            at=commit_time(repository, tip),
            commits=shown,
            shallow=repository.shallow or len(commits) > limit,
        )


def resolve(repository: Repository, at: float | None) -> str:
    """The last commit up to `at` on the first-parent line of HEAD. Raises `NoRepository`."""
    if not repository.head:
        raise NoRepository(f"{repository.found.folder} has no commit")
    if at is None:
        return repository.head
    found = repository.run("rev-list", "-1", "--first-parent", f"--before={int(at)}", repository.head).decode().strip()
    if not found:
        raise NoRepository(f"{repository.found.folder} has no commit as early as that")
    return found


def commit_time(repository: Repository, sha: str) -> float:
    return float(repository.run("log", "-1", "--no-show-signature", "--format=%ct", sha).decode().strip() or 0)


def commit_times(repository: Repository, shas: Sequence[str], most: int = 1_000) -> list[float]:
    """When the commits were made that `shas`, of commits or tags, lead to; at most `most`, and none that are missing."""
    if not shas:
        return []
    try:
        output = repository.run(
            "log", "--no-walk=unsorted", "--ignore-missing", "--no-show-signature", "--format=%ct", *shas[:most], "--"
        )
    except NoRepository:
        return []  # a tag of something that is no commit
    return [float(line) for line in output.decode().split() if line.isdigit()]


def _commits(output: bytes, prefix: str) -> Iterator[Commit]:
    tokens = iter(output.decode("utf-8", errors="replace").split("\0"))
    head = ""
    paths: list[str] = []
    renames: list[tuple[str, str]] = []
    for token in tokens:
        word = token.lstrip("\n")
        if word.startswith("\x01"):
            yield from _commit(head, paths, renames)
            head, paths, renames = word, [], []
        elif word[:1] in {"R", "C"}:
            old, new = next(tokens, ""), next(tokens, "")
            if new.startswith(prefix):
                paths.append(new[len(prefix) :])
                if word[0] == "R" and old.startswith(prefix):
                    renames.append((old[len(prefix) :], new[len(prefix) :]))
        elif word:
            name = next(tokens, "")
            if name.startswith(prefix):
                paths.append(name[len(prefix) :])
    yield from _commit(head, paths, renames)


def _commit(head: str, paths: list[str], renames: list[tuple[str, str]]) -> Iterator[Commit]:
    parts = head[1:].split("\x02", 3)
    if len(parts) == 4 and parts[1].lstrip("-").isdigit():
        sha, when, address, subject = parts
        author = hashlib.blake2b(address.strip().lower().encode(), digest_size=8).hexdigest()
        yield Commit(
            sha=sha, when=float(when), author=author, subject=subject[:200], paths=tuple(paths), renames=tuple(renames)
        )


class GitFiles:
    """The files of a commit: `Files` without a work tree. Close it, or use `with`; it holds a process of git."""

    def __init__(self, path: Path, commit: str = "", *, limits: Limits | None = None) -> None:
        """`commit` is a full hash, as in `History.head`; empty for HEAD. Raises `NoRepository`."""
        self._repository = Repository(path)
        self.commit: str = commit or resolve(self._repository, None)
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._blobs: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._skipped: list[Skipped] = []
        self._list()

    @property
    def sizes(self) -> Mapping[str, int]:
        return MappingProxyType(self._sizes)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return tuple(self._skipped)

    def _list(self) -> None:
        prefix = self._repository.found.prefix
        tree = f"{self.commit}:{prefix.rstrip('/')}" if prefix else self.commit
        try:
            output = self._repository.run("ls-tree", "-r", "-z", "-l", tree)
        except NoRepository:
            self.close()
            raise
        total = 0
        for entry in sorted(output.split(b"\0")):
            head, _, name = entry.partition(b"\t")
            if not name:
                continue
            path = name.decode("utf-8", errors="replace")
            mode, _, sha, size = head.decode().split()
            why = self._reason(path, mode, size, total)
            if why:
                self._skipped.append(Skipped(path, why))
            else:
                total += int(size)
                self._sizes[path], self._blobs[path] = int(size), sha
        self._sizes = dict(sorted(self._sizes.items()))
        self._skipped.sort()

    def _reason(self, path: str, mode: str, size: str, total: int) -> str:
        """Why a file is not read; empty when it is."""
        if mode in _KIND:
            return _KIND[mode]
        if not size.isdigit():
            return "missing in this clone"
        limits, length = self._limits, int(size)
        reasons = {
            f"larger than {limits.file_size // MiB} MiB": length > limits.file_size,
            f"deeper than {limits.depth} folders": path.count("/") > limits.depth,
            "its name is not text": "\ufffd" in path,
            "beyond what is read of one repository": len(self._sizes) >= limits.files
            or total + length > limits.total_size,
        }
        return next((why for why, so in reasons.items() if so), "")

    def read(self, path: str) -> bytes:
        """The content of a file. Raises `Unreadable`."""
        sha = self._blobs.get(path)
        if sha is None:
            raise Unreadable(f"{path} is not among the files of the commit")
        with self._lock:
            try:
                return self._ask(sha, path)
            except (NoRepository, OSError, ValueError) as error:
                self._end()
                raise Unreadable(f"{path} cannot be read: {error}") from error

    def _ask(self, sha: str, path: str) -> bytes:
        if self._process is None:
            self._process = self._repository.start("cat-file", "--batch", asked=True)
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{sha}\n".encode())
        process.stdin.flush()
        end = SYSTEM.monotonic() + _READ_TIME
        got = bytearray()
        while b"\n" not in got:
            got += self._some(process, end)
        head, _, rest = bytes(got).partition(b"\n")
        words = head.split()
        if len(words) != 3:
            raise NoRepository(f"git says {head[-40:].decode(errors='replace')}")
        size = int(words[2])
        if size > self._limits.file_size:
            raise NoRepository(f"{path} is larger than it was")
        content = bytearray(rest)
        while len(content) < size + 1:
            content += self._some(process, end)
        return bytes(content[:size])

    @staticmethod
    def _some(process: subprocess.Popen[bytes], end: float) -> bytes:
        assert process.stdout is not None
        chunk = read_some(process.stdout, end, "git cat-file")
        if not chunk:
            raise NoRepository("git cat-file has ended")
        return chunk

    def _end(self) -> None:
        if self._process is not None:
            stop(self._process)
            self._process = None

    def rest(self) -> None:
        """End the process of git; the next `read` starts another."""
        with self._lock:
            self._end()

    def close(self) -> None:
        self.rest()
        self._repository.close()

    def __enter__(self) -> GitFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
