"""Makes a service as a process of its own would: from modules that are imported anew.

A module that two services share is imported once for each, and again for each life, for in processes of their own nothing
would be shared either. What the test itself has imported comes back at the end.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from skerry.errors import ConfigurationError
from skerry.service import Service

Source = str | Service | Callable[[], Service]
"""A service: `module:attribute`, a function that makes one, or one that is there, which cannot be restarted."""
_MARK: Final = "__skerry_testing_life__"
"""An attribute of the modules that a life was made of."""


def maker(source: Source, folder: Path) -> Callable[[], Service]:
    """What makes one life of a service. `folder` is where `module:attribute` is imported from."""
    if isinstance(source, Service):
        return _once(source)
    if isinstance(source, str):
        return lambda: _imported(source, folder)
    if not callable(source):
        raise ConfigurationError(
            f"{type(source).__name__} is no service: give 'module:attribute', a function that makes a Service, or a Service"
        )
    return lambda: _demand_service(source(), getattr(source, "__qualname__", "the function"))


@contextmanager
def imports_kept() -> Iterator[None]:
    """Modules and the search path are afterwards what they were before."""
    modules, path = dict(sys.modules), list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name not in modules and _of_a_service(sys.modules[name])]:
            del sys.modules[name]
        sys.modules.update(modules)


def _of_a_service(module: ModuleType) -> bool:
    return hasattr(module, _MARK)


def _once(service: Service) -> Callable[[], Service]:
    lives: list[Service] = [service]

    def make() -> Service:
        if not lives:
            raise ConfigurationError(
                f"the service {service.name!r} was given as an object, which lives once: give a function that makes it"
            )
        return lives.pop()

    return make


def _imported(reference: str, folder: Path) -> Service:
    name, _, attribute = reference.partition(":")
    if not name or not attribute:
        raise ConfigurationError(f"{reference!r} is not MODULE:ATTRIBUTE")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    for known in [known for known, module in sys.modules.items() if _is_own(module, folder)]:
        del sys.modules[known]
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(f"cannot import {name!r} from {folder}: {error}") from error
    for own in [own for own in sys.modules.values() if _is_own(own, folder)]:
        setattr(own, _MARK, True)
    found = getattr(module, attribute, None)
    if callable(found) and not isinstance(found, Service) and not inspect.isclass(found):
        found = found()
    return _demand_service(found, reference)


def _demand_service(found: Any, where: str) -> Service:
    if not isinstance(found, Service):
        raise ConfigurationError(f"{where}: {type(found).__name__} is no skerry Service")
    return found


def _is_own(module: ModuleType, folder: Path) -> bool:
    """Whether it is a module of the system's own folder: neither installed nor a test."""
    where = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", None) or ()), None)
    if not isinstance(where, str) or not where.startswith(f"{folder}{os.sep}") or module.__name__ == "__main__":
        return False
    file = Path(where)
    parts = set(file.relative_to(folder).parts)
    if parts & {"site-packages", "dist-packages", ".venv", "venv", "tests"}:
        return False
    return not (file.name.startswith("test_") or file.name.endswith("_test.py") or file.name == "conftest.py")
