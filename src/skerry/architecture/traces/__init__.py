"""Traces in the formats that collectors write, as one kind of span."""

from __future__ import annotations

from skerry.architecture.traces.opened import Limits
from skerry.architecture.traces.read import read
from skerry.architecture.traces.spans import Span, SpanKind, Traces

__all__ = ["Limits", "Span", "SpanKind", "Traces", "read"]
