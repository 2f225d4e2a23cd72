"""skerry: systems of services that survive each other."""

from __future__ import annotations

__version__ = "0.1.0"
