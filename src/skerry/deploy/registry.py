"""Where running systems are found: one small file for each, beside its control socket, in a private folder of the user."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from skerry.errors import ConfigurationError, DeployError

MAX_ENTRY_SIZE = 64 * 1024
_LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel's own limit is 104 to 108."""
_CONNECT_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A running system: its file, data folder, supervisor's process id, address from outside, name and control socket."""

    file: str
    data: str
    pid: int
    url: str
    name: str
    socket: str


def runtime_folder() -> Path:
    """The private folder for entries and sockets, created when missing.

    It is `$XDG_RUNTIME_DIR/skerry` where that can be used, else `skerry-UID` in the temporary folder. Raises
    `ConfigurationError` when another user owns it.
    """
    error: OSError | ConfigurationError | None = None
    for folder in _candidates():
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            _check_private(folder)
        except (OSError, ConfigurationError) as failure:
            error = failure
        else:
            return folder
    raise ConfigurationError(f"there is no private folder for control sockets: {error}")


def mesh_folder(socket_path: Path) -> Path:
    """The folder beside a control socket for the sockets of the system's mesh: it goes when the entry does."""
    return socket_path.with_suffix(".mesh")


def write_entry(entry: Entry) -> None:
    """Make `entry` known, beside its socket, in one step."""
    path = _beside(Path(entry.socket))
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(asdict(entry)), encoding="utf-8")
    partial.replace(path)


def remove_entry(socket_path: Path) -> None:
    """Forget the system with this control socket, if it is known."""
    _beside(socket_path).unlink(missing_ok=True)


def is_known(entry: Entry) -> bool:
    """Whether the system is still up, or has not yet given back its ports and its data folder."""
    return _beside(Path(entry.socket)).exists()


def running() -> list[Entry]:
    """Every running system of this user, by name. Entries of systems that are gone are removed on the way."""
    found: list[Entry] = []
    for folder in _candidates():
        with contextlib.suppress(OSError, ConfigurationError):
            _check_private(folder)
            found += [entry for path in folder.glob("*.json") if (entry := _alive(path))]
    return sorted(found, key=lambda entry: (entry.name, entry.data))


def find_running(data: Path | None = None, file: Path | None = None, *, near: Path | None = None) -> Entry:
    """The running system with this data folder or system file, or the only one there is.

    `near` is a system file that decides when several run and neither of the others is given. Raises `DeployError` when there
    is none, or several and nothing tells which.
    """
    entries = running()
    if data is not None:
        entries = [entry for entry in entries if entry.data == str(data.resolve())]
    if file is not None:
        entries = [entry for entry in entries if entry.file == str(file.resolve())]
    if len(entries) > 1 and near is not None:
        entries = [entry for entry in entries if entry.file == str(near.resolve())] or entries
    if not entries:
        which = "no system is running" if data is None and file is None else "that system is not running"
        raise DeployError(f"{which}: start one with `skerry run`")
    if len(entries) > 1:
        listed = ", ".join(f"{entry.name} (--data {entry.data})" for entry in entries)
        raise DeployError(f"several systems are running, name one with --data: {listed}")
    return entries[0]


@contextlib.contextmanager
def owned(data: Path) -> Iterator[None]:
    """Create the data folder `data` if need be and keep it for this process alone inside the block.

    Raises `ConfigurationError` when another live supervisor has it, or it cannot be written.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"the data folder {data} cannot be used: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(descriptor, 20).decode(errors="replace").strip()
            what = f"the data folder {data} is in use by a running system (process {owner})"
            raise ConfigurationError(f"{what}: stop it with `skerry stop`, or choose another with --data") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _beside(socket_path: Path) -> Path:
    return socket_path.with_suffix(".json")


def _candidates() -> Iterator[Path]:
    folders = [Path(tempfile.gettempdir()) / f"skerry-{os.getuid()}"]
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        folders.insert(0, Path(given) / "skerry")
    return (
        folder for folder in folders if len(os.fsencode(folder)) + len("/0123456789ab.sock") <= _LONGEST_SOCKET_PATH
    )


def _check_private(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigurationError(f"{folder} belongs to another user")
    if status.st_mode & 0o077:
        folder.chmod(0o700)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{folder} cannot be written")


def _alive(path: Path) -> Entry | None:
    entry = _read(path)
    if entry is not None and _answers(path.with_suffix(".sock")):
        return entry
    for stale in (path, path.with_suffix(".sock")):
        stale.unlink(missing_ok=True)
    shutil.rmtree(mesh_folder(path), ignore_errors=True)
    return None


def _read(path: Path) -> Entry | None:
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(MAX_ENTRY_SIZE))
        return Entry(**{**values, "socket": str(path.with_suffix(".sock"))})
    except (OSError, ValueError, TypeError):
        return None


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_TIMEOUT)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # busy, not gone
            return True
    return True
