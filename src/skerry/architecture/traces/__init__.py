"""Traces in the formats that collectors write, as one kind of span."""

from __future__ import annotations

from skerry.architecture.traces.spans import Span, SpanKind, Traces

__all__ = ["Span", "SpanKind", "Traces"]
