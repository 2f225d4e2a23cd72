"""Work on files in processes that may die of it: each with a limit on memory and on processor time.

What a file makes of a parser is not known before: nesting that overflows the stack, text that takes minutes or gigabytes. A
process that dies or does not answer costs the file it was at, and no other.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import resource
import selectors
import signal
import struct
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NoReturn

from skerry.architecture.source.files import MiB, Unreadable
from skerry.clock import SYSTEM

Work = Callable[[str, bytes], bytes]
"""From a path and its content to an answer. It runs in a process of its own, so it can change nothing here."""

_HEAD: Final = struct.Struct("<IBI")
"""Number of the job, whether it went well, length of what follows."""
_JOB: Final = struct.Struct("<III")
"""Number of the job, length of the path, length of the content."""
_PIECE: Final = 256 * 1024
_AHEAD: Final = 512 * 1024
"""Bytes of jobs that wait at a worker, so that it need not wait for us."""
_MOST_AHEAD: Final = 64
_MOST_WORKERS: Final = 8
_MOST_OPEN: Final = 65_536
_ENOUGH: Final = "was not read: other files took too long"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What one file may cost."""

    memory: int = 384 * MiB
    """Bytes of address space beyond what the process had when it began."""
    cpu: int = 10
    """Seconds of processor time."""
    wait: float = 30.0
    """Seconds until a worker that says nothing is given up."""
    lost: float = 120.0
    """Seconds that may be lost at files that break a worker, all in all. After a quarter of them a file may cost a second only,
    after all of them nothing is read any more: a repository of such files must not hold its reader up for hours."""
    answer: int = 64 * MiB
    """Bytes of an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a file: `content`, or `why` there is none."""

    path: str
    content: bytes
    why: str = ""


@dataclass(slots=True)
class _Worker:
    pid: int
    jobs: int
    """Where jobs are written to."""
    answers: int
    """Where answers are read from."""
    out: bytearray = field(default_factory=bytearray)
    got: bytearray = field(default_factory=bytearray)
    at: deque[tuple[int, str, bytes]] = field(default_factory=deque)
    ahead: int = 0
    heard: float = 0.0


def cores() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def work(
    jobs: Iterable[tuple[str, bytes]], do: Work, *, workers: int | None = None, effort: Effort | None = None
) -> Iterator[Answer]:
    """`do` for each path and content, in no order. Every job gets one `Answer`; `do` raising, dying or taking too long is one
    with a reason. Processes are gone when the iterator is at its end or closed.
    """
    pool = _Pool(do, min(workers or cores(), _MOST_WORKERS), effort or Effort())
    try:
        yield from pool.run(iter(jobs))
    finally:
        pool.close()


class _Pool:
    def __init__(self, do: Work, size: int, effort: Effort) -> None:
        self._do = do
        self._size = size
        self._effort = effort
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._again: deque[tuple[str, bytes]] = deque()
        self._number = 0
        self._wasted = 0.0

    def run(self, jobs: Iterator[tuple[str, bytes]]) -> Iterator[Answer]:
        left = True
        while True:
            if self._wasted > self._effort.lost:
                yield from (Answer(path, b"", _ENOUGH) for path, _ in self._waiting(jobs))
                return
            left = self._feed(jobs, left)
            if not any(worker.at for worker in self._workers):
                return
            for key, events in self._selector.select(timeout=1.0):
                worker: _Worker = key.data
                if worker not in self._workers:
                    continue
                if events & selectors.EVENT_WRITE:
                    self._send(worker)
                if events & selectors.EVENT_READ:
                    yield from self._receive(worker)
            for worker in list(self._workers):
                if worker.at and SYSTEM.monotonic() - worker.heard > self._effort.wait:
                    yield from self._lost(worker, "took too long")

    def _waiting(self, jobs: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        for worker in self._workers:
            yield from ((path, content) for _, path, content in worker.at)
        yield from self._again
        yield from jobs

    def close(self) -> None:
        for worker in list(self._workers):
            self._end(worker)
        self._selector.close()

    def _feed(self, jobs: Iterator[tuple[str, bytes]], left: bool) -> bool:
        """Give work to whoever has room for it; whether there may be more."""
        while left or self._again:
            worker = min(self._workers, key=lambda each: each.ahead, default=None)
            if worker is None or (worker.at and len(self._workers) < self._size):
                worker = None
            elif worker.ahead >= _AHEAD or len(worker.at) >= _MOST_AHEAD:
                return left
            job = self._again.popleft() if self._again else next(jobs, None)
            if job is None:
                return False
            worker = worker or self._start()
            self._give(worker, *job)
        return left

    def _give(self, worker: _Worker, path: str, content: bytes) -> None:
        name = path.encode("utf-8", "surrogateescape")
        if not worker.at:
            worker.heard = SYSTEM.monotonic()
        self._number = (self._number + 1) % 0xFFFF_FFFF
        worker.at.append((self._number, path, content))
        worker.ahead += len(content)
        worker.out += _JOB.pack(self._number, len(name), len(content)) + name + content
        self._send(worker)

    def _send(self, worker: _Worker) -> None:
        try:
            del worker.out[: os.write(worker.jobs, memoryview(bytes(worker.out[:_PIECE])))]
        except BlockingIOError:
            pass
        except OSError:  # it died; its end of file tells so too, and there the file is named
            worker.out.clear()
        watched = worker.jobs in self._selector.get_map()
        if worker.out and not watched:
            self._selector.register(worker.jobs, selectors.EVENT_WRITE, worker)
        elif not worker.out and watched:
            self._selector.unregister(worker.jobs)

    def _receive(self, worker: _Worker) -> Iterator[Answer]:
        piece = os.read(worker.answers, _PIECE)
        if not piece:
            yield from self._lost(worker, "")
            return
        worker.got += piece
        worker.heard = SYSTEM.monotonic()
        while len(worker.got) >= _HEAD.size:
            number, well, length = _HEAD.unpack_from(worker.got)
            if not worker.at or number != worker.at[0][0] or length > self._effort.answer:
                yield from self._lost(worker, "gave an answer that is none")
                return
            if len(worker.got) < _HEAD.size + length:
                return
            content = bytes(worker.got[_HEAD.size : _HEAD.size + length])
            del worker.got[: _HEAD.size + length]
            _, path, given = worker.at.popleft()
            worker.ahead -= len(given)
            yield Answer(path, content) if well else Answer(path, b"", content.decode("utf-8", "replace"))

    def _lost(self, worker: _Worker, why: str) -> Iterator[Answer]:
        """One that will not answer any more: the file it was at is lost, the others go to the next."""
        at = list(worker.at)
        status = self._end(worker)
        self._wasted += SYSTEM.monotonic() - worker.heard
        if self._wasted > self._effort.lost / 4:
            self._effort = replace(self._effort, cpu=1, wait=min(5.0, self._effort.wait))
        if at:
            self._again.extend((path, content) for _, path, content in at[1:])
            yield Answer(at[0][1], b"", why or _ended(status))

    def _start(self) -> _Worker:
        """Raises `Unreadable` when the system has no process for us."""
        jobs_out, jobs_in = os.pipe()
        answers_out, answers_in = os.pipe()
        with warnings.catch_warnings():
            # from 3.12 on, of threads that might hold a lock: a worker takes none that another thread could hold
            warnings.simplefilter("ignore", DeprecationWarning)
            gc.freeze()  # what is there already is neither looked at nor copied by a collection over there
            try:
                pid = os.fork()
                if pid == 0:
                    _serve(jobs_out, answers_in, self._do, self._effort)
            except OSError as error:
                os.close(jobs_in)
                os.close(answers_out)
                raise Unreadable(f"no process can be started to read files: {error.strerror}") from error
            finally:
                gc.unfreeze()
                os.close(jobs_out)
                os.close(answers_in)
        os.set_blocking(jobs_in, False)
        worker = _Worker(pid, jobs_in, answers_out)
        self._workers.append(worker)
        self._selector.register(answers_out, selectors.EVENT_READ, worker)
        return worker

    def _end(self, worker: _Worker) -> int:
        """Stop it, and say how it ended."""
        self._workers.remove(worker)
        for end in (worker.jobs, worker.answers):
            if end in self._selector.get_map():
                self._selector.unregister(end)
            os.close(end)
        try:
            os.kill(worker.pid, signal.SIGKILL)
            return os.waitpid(worker.pid, 0)[1]
        except (ProcessLookupError, ChildProcessError):
            return 0


def _ended(status: int) -> str:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return "took too much processor time"
    return "the process that read it died"


def _serve(jobs: int, answers: int, do: Work, effort: Effort) -> NoReturn:
    """The life of a worker. It never returns, so nothing of ours that waits for an end comes to it twice."""
    try:
        _alone(jobs, answers)
        _limit_memory(effort.memory)
        gc.set_threshold(200_000, 20, 20)  # trees of syntax are large and have no cycles
        with os.fdopen(jobs, "rb", buffering=_PIECE) as source:
            while head := source.read(_JOB.size):
                number, name_length, length = _JOB.unpack(head)
                path = source.read(name_length).decode("utf-8", "surrogateescape")
                content = source.read(length)
                _limit_cpu(effort.cpu)
                well, answer = _answer(do, path, content, effort.answer)
                _write(answers, _HEAD.pack(number, well, len(answer)) + answer)
    finally:
        os._exit(0)


def _alone(jobs: int, answers: int) -> None:
    """Nothing open but the two pipes, nothing to be written anywhere else, nobody's signals, and a quiet death."""
    faulthandler.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us is interrupted too, and ends us
    for name in (signal.SIGTERM, signal.SIGXCPU, signal.SIGALRM):
        signal.signal(name, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for each in {0, 1, 2} - {jobs, answers}:
        os.dup2(nothing, each)
    # gRPC begins its threads anew after a fork, and they abort the process without their files
    if "grpc" not in sys.modules:
        start = 3
        for each in sorted((jobs, answers)):
            os.closerange(start, each)
            start = max(start, each + 1)
        os.closerange(start, max(start, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], _MOST_OPEN)))
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(kind, (0, 0))


def _answer(do: Work, path: str, content: bytes, most: int) -> tuple[bool, bytes]:
    try:
        answer = do(path, content)
    except MemoryError:
        gc.collect()
        return False, b"took too much memory"
    except RecursionError:
        return False, b"nested too deeply"
    except Exception as error:  # whatever a reader did not foresee costs this file alone
        return False, f"could not be read ({type(error).__name__})".encode()
    return (True, answer) if len(answer) <= most else (False, b"says too much")


def _write(end: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(end, view) :]


def _limit_memory(more: int) -> None:
    """At most `more` bytes beyond what this process has; where its size is not told, beyond a gibibyte."""
    try:
        with Path("/proc/self/statm").open("rb") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        size = 1024 * MiB
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = size + more if hard == resource.RLIM_INFINITY else min(size + more, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _limit_cpu(more: int) -> None:
    """At most `more` seconds from now: the kernel ends the process then."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + 1 + more
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
