"""Facts for analysis, in ClickHouse: rows that are added and never changed, read with SQL.

The engine is chosen by URL: `chdb:///FOLDER/` is ClickHouse inside the process, `clickhouse://` a server. What is appended
again replaces itself, so a handler of events may repeat itself: its effects converge. See `connect`.
"""

from __future__ import annotations

from skerry.store.analytics.engines import connect
from skerry.store.analytics.facts import FactTable
from skerry.store.analytics.port import Analytics

__all__ = ["Analytics", "FactTable", "connect"]
