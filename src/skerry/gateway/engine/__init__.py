"""The embedded engine: HTTP/1.1 on both sides, in callbacks, without a task a request.

serve(lambda: reading.read(path), addresses={"order": ("http://127.0.0.1:7001",)}, settings=Settings.from_environ())
"""

from __future__ import annotations

from skerry.gateway.engine.serving import serve
from skerry.gateway.engine.worker import Worker

__all__ = ["Worker", "serve"]
