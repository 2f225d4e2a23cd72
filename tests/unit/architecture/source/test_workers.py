"""Work on files in processes that may die of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from skerry.architecture.source.files import MiB
from skerry.architecture.source.workers import Answer, Effort, work

Do = Callable[[str, bytes], bytes]


def answers(paths: list[str], do: Do, *, effort: Effort | None = None) -> dict[str, Answer]:
    found = list(work(((path, path.encode()) for path in paths), do, workers=2, effort=effort))
    assert len(found) == len({each.path for each in found})
    return {each.path: each for each in found}


def names(count: int) -> list[str]:
    return [f"{i}.py" for i in range(count)]


def breaking(how: Callable[[], object]) -> Do:
    def do(path: str, content: bytes) -> bytes:
        if path == "bad.py":
            how()
        return content.upper()

    return do


def test_every_file_gets_its_own_answer() -> None:
    """Whatever the number of files and their sizes, each answer belongs to its file."""
    jobs = [(path, path.encode() * (i * 97 % 5_000)) for i, path in enumerate(names(500))]
    found = {each.path: each.content for each in work(jobs, lambda path, content: path.encode() + content, workers=2)}
    assert found == {path: path.encode() + content for path, content in jobs}


def test_a_large_content_and_a_large_answer_pass() -> None:
    """More than a pipe holds, in both directions at once."""
    jobs = [(str(i), bytes([i]) * 3 * MiB) for i in range(4)]
    assert {each.path: each.content for each in work(jobs, lambda _, content: content, workers=2)} == dict(jobs)


def test_nothing_to_do_starts_nothing() -> None:
    """Without a file there is no process."""
    assert answers([], lambda _, content: content) == {}


def raising(error: BaseException) -> Callable[[], None]:
    def do() -> None:
        raise error

    return do


def hungry() -> None:
    bytearray(2_000 * MiB)


def busy() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "the process that read it died"),
        (lambda: os._exit(0), "the process that read it died"),
        (raising(KeyError("a")), "could not be read (KeyError)"),
        (raising(RecursionError()), "nested too deeply"),
        (raising(SystemExit()), "the process that read it died"),
        (hungry, "took too much memory"),
        (busy, "took too much processor time"),
        (signal.pause, "took too long"),
    ],
)
def test_a_file_that_breaks_its_worker_costs_itself(how: Callable[[], object], why: str) -> None:
    """Dying, raising, eating memory or time, and waiting for nobody: the file is named with the reason, all others are read."""
    paths = [*names(100), "bad.py", *(f"more{i}.py" for i in range(100))]
    found = answers(paths, breaking(how), effort=Effort(cpu=1, wait=0.5 if how is signal.pause else 30.0))
    assert found.pop("bad.py") == Answer("bad.py", b"", why)
    assert {path: each.content for path, each in found.items()} == {
        path: path.upper().encode() for path in paths if path != "bad.py"
    }


def test_an_answer_that_is_too_long_is_none() -> None:
    """What a worker may say has a limit."""
    found = answers(["a"], lambda _, __: b"x" * 101, effort=Effort(answer=100))
    assert found["a"].why == "says too much"


def test_many_files_that_break_workers_are_given_up() -> None:
    """When too much time was lost, what is left is not read, and each file is told so."""

    def do(path: str, content: bytes) -> bytes:
        if path != "good":
            signal.pause()
        return content

    found = answers([*names(20), "good"], do, effort=Effort(wait=0.05, lost=0.2))
    told = [each.why for each in found.values()]
    assert len(found) == 21
    assert "took too long" in told
    assert "was not read: other files took too long" in told


HOLDING = """
import os, resource
from pathlib import Path
from skerry.architecture.source.workers import work

def look(_, __):
    kept = [resource.getrlimit(kind) for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE)]
    opened = []
    for each in range(256):
        try:
            opened.append(os.fspath(Path(f"/proc/self/fd/{each}").readlink()))
        except OSError:
            continue
    others = sorted({name for name in opened if not name.startswith("pipe:")})
    return f"{others} {len(opened)} {kept}".encode()

with Path(os.devnull).open("rb"), Path("/proc/version").open("rb"):
    [found] = work([("a", b"")], look, workers=1)
print(found.content.decode())
"""


def test_a_worker_holds_nothing_of_ours() -> None:
    """It has its two pipes and nothing else open, cannot write a file, and leaves no core.

    In a process of its own: in one that has used gRPC, as another test may have, workers keep what is open.
    """
    done = subprocess.run([sys.executable, "-c", HOLDING], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == f"{[os.devnull]} 5 [(0, 0), (0, 0)]"


def children() -> set[str]:
    """The processes that this one has started, also those of other tests."""
    return {pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()}


def test_workers_are_gone_at_the_end_and_when_nobody_wants_more() -> None:
    """No process outlives the iterator, whether it ran to its end or was closed."""
    before = children()
    assert answers(names(3), lambda _, content: content)
    with closing(work(((path, b"") for path in names(100)), lambda _, content: content)) as found:
        next(iter(found))
        assert children() > before
    assert children() == before
