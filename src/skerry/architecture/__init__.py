"""Whether to split a system, where, and which of the eight NEVER rules it breaks: read from code, deploy files, git and traces.

Nothing of the repository that is read is imported, executed or written.
"""

from __future__ import annotations

__all__: list[str] = []
