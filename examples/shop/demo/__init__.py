"""The shop's main job: orders under faults, and an audit that has to add up."""

from __future__ import annotations

from .run import Progress, run

__all__ = ["Progress", "run"]
