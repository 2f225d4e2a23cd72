"""Finds the service that `MODULE:ATTRIBUTE` stands for."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from skerry.errors import ConfigurationError
from skerry.service.service import Service


def load(reference: str) -> Service:
    """Import from the current folder. Raises `ConfigurationError` when it is not there, or no `Service`."""
    module, _, attribute = reference.partition(":")
    if not module or not attribute:
        raise ConfigurationError(f"{reference!r} is not MODULE:ATTRIBUTE")
    sys.path.insert(0, str(Path.cwd()))
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(f"cannot import {module!r}: {error}") from error
    service = getattr(loaded, attribute, None)
    if not isinstance(service, Service):
        raise ConfigurationError(f"{reference!r} is not a skerry Service")
    return service
