"""Reading a repository that nobody trusts: bounded, nothing followed, nothing run."""

from __future__ import annotations

from skerry.architecture.source.files import Files, Limits, Place, Skipped, Unreadable, port_of
from skerry.architecture.source.history import Commit, History

__all__ = ["Commit", "Files", "History", "Limits", "Place", "Skipped", "Unreadable", "port_of"]
