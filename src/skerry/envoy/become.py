"""Becomes a program that ends with its parent: `become.py PARENT COMMAND...`.

On Linux this process turns into the program and the kernel kills it when the parent is gone. Elsewhere it stays, waits for the
end of its standard input, which the parent holds open, and kills the program then. It needs nothing but the standard library
and is run as a file, so that it starts quickly.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

FAILED = 127
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run the program; the exit status, where this process is still there to have one."""
    parent, *command = arguments
    try:
        if sys.platform == "linux":
            _become(int(parent), command)
        return _watch(command)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        return FAILED


def _become(parent: int, command: list[str]) -> None:
    # SIGKILL, for without its configuration's source it would go on with what it last knew, and nobody would notice.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before the kernel knew
        sys.exit(FAILED)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores, and a new program would inherit that
    os.execv(command[0], command)  # noqa: S606 - what we were told to run


def _watch(command: list[str]) -> int:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - likewise

    def wait_for_the_end() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        child.kill()

    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)

    signal.signal(signal.SIGTERM, pass_on)
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
