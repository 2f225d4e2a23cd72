"""What Python source says: calls that leave the process, their bounds, tables, routes, messages and imports."""

from __future__ import annotations
