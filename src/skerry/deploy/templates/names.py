"""What a new system or service may be called: its name becomes a folder, a package, an address and a part of event types."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Collection
from importlib.machinery import PathFinder
from typing import Final

from skerry.errors import ConfigurationError
from skerry.topology import GATEWAY
from skerry.topology.check import NAME_RULE, is_name
from skerry.topology.tables import quoted

RESERVED: Final = {GATEWAY: "the gateway's own process", "tests": "the folder of tests", "var": "the folder of data"}
"""Names that mean something else in a system, and what."""


def check_system(name: str) -> str:
    """The name, if a system may have it; raises `ConfigurationError` that says why not."""
    _check(name, "a system")
    return name


def check_service(name: str, taken: Collection[str] = ()) -> str:
    """The name, if a new service may have it beside those `taken`; raises `ConfigurationError` that says why not."""
    _check(name, "a service")
    package = package_of(name)
    if name in RESERVED:
        raise ConfigurationError(f"{quoted(name)} is no name for a service: it stands for {RESERVED[name]}")
    for other in taken:
        if package_of(other) == package:
            raise ConfigurationError(f"there is a service {quoted(other)} in this system already")
    # its package would be found instead of the other one, by every service of the system
    if package in sys.stdlib_module_names or _is_installed(package):
        raise ConfigurationError(f"{quoted(name)} is no name for a service: Python has a module {package} already")
    return name


def package_of(name: str) -> str:
    """The Python package of the service `name`."""
    return name.replace("-", "_")


def _check(name: str, what: str) -> None:
    if not is_name(name) or "--" in name:
        raise ConfigurationError(f"{quoted(name)} is no name for {what}: {NAME_RULE}, no two hyphens together")
    if keyword.iskeyword(name):
        raise ConfigurationError(f"{quoted(name)} is no name for {what}: it is a word of Python's own")


def _is_installed(package: str) -> bool:
    # the current folder is no place where packages are installed, though `python -m` looks there too; we may stand elsewhere,
    # as what is being developed does
    return (
        package == __name__.partition(".")[0]
        or PathFinder.find_spec(package, [place for place in sys.path if place.endswith("-packages")]) is not None
    )
