"""Reads traces, whichever of the three formats a file has."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from skerry.architecture.source import Skipped
from skerry.architecture.source.files import MiB
from skerry.architecture.traces import jaeger, otlp, protobuf, zipkin
from skerry.architecture.traces.assemble import assembled
from skerry.architecture.traces.fields import Malformed
from skerry.architecture.traces.masking import Masks
from skerry.architecture.traces.opened import Budget, Limits, Opened, Unusable, opened
from skerry.architecture.traces.spans import Span, Traces
from skerry.architecture.traces.values import Broken, decoded, values

_OBJECT_OF_TRACES: Final = re.compile(rb'"data"\s*:\s*\[')
_FIRST_KEY: Final = re.compile(rb'\A\{\s*"')
_OTHER_SIGNALS: Final = frozenset(
    {"resourceMetrics", "resourceLogs", "resource_metrics", "resource_logs", "resourceProfiles"}
)


def read(paths: Sequence[Path], *, limits: Limits | None = None) -> Traces:
    """All spans of `paths`: OTLP as JSON lines or protobuf, Jaeger's and Zipkin's JSON, each also packed with gzip.

    The format is found by content. What is malformed, too large or too much is in `skipped`, with its file and line, and costs
    nothing else; nothing that stands in a file raises. Headers, users of URLs, values of queries and literals of SQL are not
    kept. A file is called by the path it was given by, an absolute one by its name alone.
    """
    return _Reader(limits or Limits()).run(paths)


class _Reader:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._budget = Budget(limits.total)
        self._masks = Masks()
        self._traces: dict[str, list[Span]] = defaultdict(list)
        self._count = 0
        self._skipped: list[Skipped] = []
        self._reasons = 0

    def run(self, paths: Sequence[Path]) -> Traces:
        for path in paths:
            name = path.name if path.is_absolute() else path.as_posix()
            self._reasons = 0
            try:
                with opened(path, self._budget) as file:
                    self._file(file, name)
            except Unusable as problem:
                self._skipped.append(Skipped(name, str(problem)))
            if self._reasons > self._limits.told:
                self._skipped.append(Skipped(name, f"{self._reasons - self._limits.told} more like these"))
        traces = {trace: assembled(spans) for trace, spans in self._traces.items()}
        return Traces(traces=traces, skipped=tuple(self._skipped))

    def _file(self, file: Opened, name: str) -> None:
        before = self._count
        head = file.head()
        if protobuf.is_binary(head):
            pairs = self._binary(file)
        else:
            pairs = self._by_line(file, name) if _has_lines(head) else self._as_one(file, name)
        for line, value in pairs:
            self._value(value, name, line)
            if self._count >= self._limits.spans:
                self._skip(name, line, f"more than {self._limits.spans} spans: the rest is not read")
                return
        if self._count == before and not self._reasons:
            self._skip(name, 0, "no spans of OTLP, Jaeger or Zipkin in it")

    def _by_line(self, file: Opened, name: str) -> Iterator[tuple[int, object]]:
        for line, content in file.lines(self._limits.line):
            if content is None:
                self._skip(name, line, "the line is too long")
            elif content.strip():
                try:
                    value = decoded(content.decode("utf-8-sig", errors="replace"))
                except ValueError:
                    self._skip(name, line, "the line is no JSON")
                    continue
                yield line, value

    def _binary(self, file: Opened) -> Iterator[tuple[int, object]]:
        larger = f"OTLP as protobuf of more than {protobuf.MAX_SIZE // MiB} MiB: write several files, or JSON lines"
        for each in protobuf.requests(file.content(protobuf.MAX_SIZE, larger)):
            yield 0, each

    def _as_one(self, file: Opened, name: str) -> Iterator[tuple[int, object]]:
        try:
            yield from values(file.text(self._limits.document))
        except Broken as problem:
            self._skip(name, problem.line, str(problem))

    def _value(self, value: object, name: str, line: int) -> None:
        """One value of a file, by its shape."""
        if isinstance(value, list):
            for each in value:
                if not isinstance(each, list):
                    self._value(each, name, line)
        elif not isinstance(value, Mapping):
            self._skip(name, line, "a value that is no object")
        elif otlp.is_request(value):
            self._take(otlp.spans(value, name, line, self._masks), name, line)
        elif jaeger.is_trace(value):
            self._take(jaeger.spans(value, name, line, self._masks), name, line)
        elif zipkin.is_span(value):
            self._take(zipkin.spans(value, name, line, self._masks), name, line)
        elif isinstance(value.get("data"), list):
            self._value(value["data"], name, line)
        elif not _OTHER_SIGNALS & value.keys():
            self._skip(name, line, "an object that is of no format with spans")

    def _take(self, found: Iterator[Span | Malformed], name: str, line: int) -> None:
        for each in found:
            if isinstance(each, Malformed):
                self._skip(name, line, str(each))
                continue
            spans = self._traces[each.trace]
            if len(spans) == self._limits.spans_of_trace:
                self._skip(name, line, f"trace {each.trace} has more than {self._limits.spans_of_trace} spans")
            elif len(spans) < self._limits.spans_of_trace and self._count < self._limits.spans:
                self._count += 1
                spans.append(each)

    def _skip(self, name: str, line: int, why: str) -> None:
        self._reasons += 1
        if self._reasons <= self._limits.told:
            self._skipped.append(Skipped(name, f"line {line}: {why}" if line else why))


def _has_lines(head: bytes) -> bool:
    """Whether a file has one object on each line; else it is one value, however it is laid out."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    first, ends, _ = start.partition(b"\n")
    if not start.startswith(b"{"):
        return not start.startswith(b"[")
    if b'"resourceSpans"' not in first and _OBJECT_OF_TRACES.search(first[:4096]):
        return False
    # an object that is laid out over several lines opens on the first one and does not close there
    if not ends:
        return True
    last = first.rstrip()[-1:]
    return len(first.strip()) > 2 and _FIRST_KEY.match(first) is not None and last not in {b",", b"[", b"{"}
