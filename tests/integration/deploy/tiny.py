"""A service of a few lines: `tiny.py MODE`. It needs nothing but the standard library, so it starts quickly.

Modes: normal; stubborn (ignores SIGTERM); broken (ends at once); deaf (never ready); flood (writes without end); family (has a
child of its own that ignores everything); outbreak (its child also leaves the process group).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

MODE = sys.argv[1]
NAME = os.environ["SKERRY_SERVICE"]
# One write for a line: this process and its child share the pipe, and an unbuffered `print` writes the end of its line apart.
CHILD = "import os,signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(1, b'born\\n'); time.sleep(600)"


def respond(connection: socket.socket) -> None:
    connection.settimeout(5)
    with connection, contextlib.suppress(OSError):  # who asked may have given up
        path = [*connection.recv(4096).split(b" "), b""][1]
        if path == b"/crash":
            os._exit(7)
        sick = MODE == "deaf" or (Path(os.environ["SKERRY_DATA"]) / f"{NAME}.sick").exists()
        ready = path != b"/health/ready" or not sick
        body = (
            f"{os.getpid()} {os.environ.get('SKERRY_URL_OTHER', '')} {Path.cwd()} {os.environ['PYTHONPATH']}".encode()
        )
        head = f"HTTP/1.1 {200 if ready else 503} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)


def main() -> None:
    print(f"{NAME} starts in mode {MODE}", flush=True)
    if MODE == "broken":
        log = '{"time": "2026-01-01T00:00:00.000Z", "level": "error", "message": "it cannot start"}'
        print(f"{log}\nno module named order", file=sys.stderr, flush=True)
        sys.exit(3)
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if MODE in {"family", "outbreak"}:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.DEVNULL, start_new_session=MODE == "outbreak"
        )
        os.write(1, f"child {child.pid}\n".encode())
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind((os.environ["SKERRY_HOST"], int(os.environ["SKERRY_PORT"])))
    server.listen()
    while True:
        ready, _, _ = select.select([server, sys.stdin], [], [], 0.001 if MODE == "flood" else None)
        if MODE == "flood":
            sys.stdout.write(("x" * 200_000 + "\n" + "y\n" * 1000) * 3)
        if server in ready:
            respond(server.accept()[0])
        if sys.stdin in ready:  # its end: the supervisor is gone
            sys.exit(0)


main()
