"""Runs a server that knows nothing of its supervisor, and ends it with it: `guard.py HOW PARENT SIGNAL USER LOCK COMMAND...`.

SIGNAL is what ends the server in order, USER whom it runs as (empty for ourselves), PARENT the supervisor's process id. LOCK is
a file that the server and all its children hold locked: one that is still on its way out is waited for. HOW:
`become`: this process becomes the server, to which the kernel sends SIGNAL when the supervisor is gone (Linux). `watch`: this
process stays and sends SIGNAL to the server, its child, at the end of standard input, or when it is sent SIGNAL itself.

It needs nothing but the standard library and is run as a file, so that it starts quickly.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pwd
import signal
import subprocess
import sys
import threading

PATIENCE = 15.0
"""Seconds a watched server may take to end once nobody supervises it."""
FAILED = 127
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run the server; the exit status. A watched server that is ended by a signal ends this process likewise."""
    how, parent, number, user, lock, *command = arguments
    signal.signal(int(number), signal.SIG_DFL)
    try:
        held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        os.set_inheritable(held, True)
        if how == "become":
            _become(int(parent), int(number), user, command)
        return _watch(int(number), user, held, command)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        return FAILED


def _become(parent: int, number: int, user: str, command: list[str]) -> None:
    if user:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    # Only now: another user id takes it away again.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it was gone before the kernel knew
        sys.exit(FAILED)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores, and a new program would inherit that
    os.execv(command[0], command)  # noqa: S606 - what we were told to run


def _watch(number: int, user: str, held: int, command: list[str]) -> int:
    server = subprocess.Popen(  # noqa: S603 - likewise
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=(held,),
        user=user or None,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
    )

    def stop() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, number)

    def wait_for_the_end() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        stop()
        threading.Event().wait(PATIENCE)
        server.kill()

    signal.signal(number, lambda *_: stop())
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    code = server.wait()
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to take away
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
