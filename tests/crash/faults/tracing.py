"""What processes ask of the system, in order, as strace tells it."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CALLS = "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,fsync,fdatasync"
SYNCS = {"fsync", "fdatasync"}
SHOWN = 10_000
"""So many bytes of what is written are shown: a page of any of these stores."""
PATIENCE = 60.0
_START = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\(\d+<(?P<target>[^>]*)>(?P<text>.*)")
_RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>")


@dataclass(slots=True)
class Call:
    """A call that began as the line `began` and had ended as the line `ended`. `target` is a file's path, or a socket."""

    name: str
    target: str
    text: str
    began: int
    ended: int


@contextmanager
def traced(pids: Sequence[int], folder: Path) -> Iterator[list[Call]]:
    """What these processes do during the block; the list is filled at its end."""
    output, found = folder / "trace", []
    attached = [word for pid in pids for word in ("-p", str(pid))]
    with (folder / "attached").open("w+") as said:
        process = subprocess.Popen(
            ["strace", "-f", "-y", "-s", str(SHOWN), "-e", f"trace={CALLS}", "-o", str(output), *attached],
            stdin=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while any(f"Process {pid} attached" not in (folder / "attached").read_text() for pid in pids):
                assert process.poll() is None, (folder / "attached").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield found
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=PATIENCE)
    found += parsed(output.read_text(errors="replace"))


def parsed(trace: str) -> list[Call]:
    calls: list[Call] = []
    open_calls: dict[str, Call] = {}
    for number, line in enumerate(trace.splitlines()):
        if (start := _START.match(line)) is not None:
            call = Call(start["name"], start["target"], start["text"], number, number)
            calls.append(call)
            if line.endswith("<unfinished ...>"):
                open_calls[start["pid"]] = call
        elif (resumed := _RESUMED.match(line)) is not None and resumed["pid"] in open_calls:
            open_calls.pop(resumed["pid"]).ended = number
    return calls


def acknowledged_when(calls: Sequence[Call], mark: str, reply: str) -> str:
    """How the store treated what has `mark` in it until it said `reply`, a regular expression: `flushed`, or `written` only."""
    writes = [call for call in calls if call.name not in SYNCS and call.target.startswith("/") and mark in call.text]
    assert writes, "what was stored was not seen"
    replies = [call for call in calls if call.began > writes[0].ended and re.search(reply, call.text)]
    assert replies, "the acknowledgement was not seen"
    for write in (each for each in writes if each.began < replies[0].began):
        if not any(
            write.ended < call.began and call.ended < replies[0].began
            for call in calls
            if call.name in SYNCS and call.target == write.target
        ):
            return "written"
    return "flushed"
