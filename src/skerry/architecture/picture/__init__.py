"""Shows the model of a system: as text, JSON, Mermaid, or one page that works offline."""

from __future__ import annotations

from skerry.architecture.picture.data import as_data
from skerry.architecture.picture.mermaid import as_mermaid
from skerry.architecture.picture.page import as_page
from skerry.architecture.picture.text import as_text

__all__ = ["as_data", "as_mermaid", "as_page", "as_text"]
