"""Sending spans and signals to a console or a collector: OTLP over HTTP, in JSON.

Whoever tells of something must not pay for who listens: it is put into a queue, and a thread sends. When the receiver is away,
slow or refuses, the queue has a bound, the oldest go first, and how many went is told when it is reached again.

Source: the OpenTelemetry protocol specification 1.5, "OTLP/HTTP": 429, 502, 503 and 504 may be tried again, no other refusal.
"""

from __future__ import annotations

import http.client
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from skerry.clock import SYSTEM, Clock
from skerry.context import current
from skerry.signals import HUB, ExportChanged, Hub, Signal
from skerry.telemetry.encoding import Value, record_of, records_request, span_of, spans_request
from skerry.telemetry.spans import TOLD_BY_SPANS

TOGETHER: Final = 512
"""Signals in a request."""
SPANS_TOGETHER: Final = 1024
"""Spans in a request, some 600 kB: the request itself costs as much processor time as sending so many."""
SOON: Final = 0.5
"""Seconds that something waits for company."""
QUEUED: Final = 4096
"""Spans, and as many signals, that wait at most."""
PATIENCE: Final = 2.0
"""Seconds that connecting, sending and each wait for an answer may take."""
ATTEMPTS: Final = 5
"""Of one request; then what is in it is given up."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
"""Seconds between two attempts: doubling, half of it drawn at random."""
AT_THE_END: Final = 1.0
"""Seconds for what is left when it ends."""
_AGAIN: Final = frozenset({429, 502, 503, 504})
_LARGEST_ANSWER: Final = 64 * 1024


def send_telemetry(
    url: str, *, service: str, token: str = "", hub: Hub = HUB, clock: Clock = SYSTEM
) -> Callable[[], None]:
    """Send what `hub` tells from now on to `url`, spans to /v1/traces and signals to /v1/logs; the returned function ends that.

    Requests served and events handled are told by their spans, all other signals as log records. Nobody who tells of something
    waits, and no failure reaches him: what cannot be sent within five attempts, or finds the queue full, is dropped and counted
    in the signal `ExportChanged`. The end takes a second at most. `token` goes along as a bearer's.

    Example: `end = send_telemetry("http://127.0.0.1:4318", service="order")`
    """
    sender = _Sender(url, service=service, token=token, hub=hub, clock=clock)
    unsubscribe = hub.subscribe(sender.heard, wants=lambda kind: not issubclass(kind, TOLD_BY_SPANS))
    uncollect = hub.collect(sender.took)

    def end() -> None:
        uncollect()
        unsubscribe()
        sender.end()

    return end


class _Queue:
    """The last of what waits for one path; `dropped` counts what had to go. All but to append is done by who has the lock."""

    def __init__(self, path: str, most: int) -> None:
        self.path = path
        self.most = most
        """How many are taken at once."""
        self.dropped = 0
        # a list: what a request takes comes out of it in one piece, and to add to it is one step, which needs no lock
        self.waiting: list[str] = []

    def shorten(self) -> None:
        """Drop the oldest of what is too much."""
        surplus = len(self.waiting) - QUEUED
        if surplus > 0:
            del self.waiting[:surplus]
            self.dropped += surplus

    def take(self) -> list[str]:
        taken = self.waiting[: self.most]
        del self.waiting[: self.most]
        return taken


class _Sender:
    def __init__(self, url: str, *, service: str, token: str, hub: Hub, clock: Clock) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self._class = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._host, self._port = parts.hostname or "", parts.port or (443 if secure else 80)
        self._path = parts.path.rstrip("/")
        self._headers = {"content-type": "application/json", "user-agent": "skerry"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._service, self._hub, self._clock = service, hub, clock
        self._begin()
        # asking for the process's id each time would cost as much as the queue; the system keeps this, so it holds nothing
        forked = weakref.WeakMethod(self._fork)
        os.register_at_fork(after_in_child=lambda: (fork := forked()) and fork())

    def _begin(self) -> None:
        self._forked = False
        self._lock = threading.Lock()
        self._some, self._enough, self._ending = threading.Event(), threading.Event(), threading.Event()
        self._spans, self._records = _Queue("/v1/traces", SPANS_TOGETHER), _Queue("/v1/logs", TOGETHER)
        self._connection: http.client.HTTPConnection | None = None
        self._failures, self._failing = 0, False
        self._end_by: float | None = None
        self._thread = threading.Thread(target=self._run, name="skerry-otlp", daemon=True)
        self._thread.start()

    def _fork(self) -> None:
        self._forked = True

    def heard(self, signal: Signal) -> None:
        """Put a signal into its queue, as a record."""
        self._put(self._records, record_of(signal, at=self._clock.now(), trace_id=current().trace_id))

    def took(
        self,
        name: str,
        kind: str,
        own: str,
        parent: str,
        began: float,
        seconds: float,
        error: str,
        attributes: Mapping[str, Value],
        links: Sequence[str],
    ) -> None:
        """Put a span into its queue, encoded: that takes as long as to hand it over would, and a text, unlike a record of fields,
        is nothing that the collector of garbage has to look at again and again.
        """
        self._put(self._spans, span_of(name, kind, own, parent, began, seconds, error, attributes, links))

    def end(self) -> None:
        """Send what is left, for a second at most."""
        if not self._forked:
            self._end_by = self._clock.monotonic() + AT_THE_END
            for event in (self._ending, self._enough, self._some):
                event.set()
            self._thread.join(AT_THE_END)

    def _put(self, queue: _Queue, what: str) -> None:
        if self._forked:
            self._begin()  # a fork takes no threads along, and what waited is its parent's to send
            queue = self._spans if queue.path == self._spans.path else self._records
        queue.waiting.append(what)
        # in this order: the thread takes back that there is some before it looks what there is
        if not self._some.is_set():
            self._some.set()
        count = len(queue.waiting)
        if count >= queue.most:
            self._enough.set()
            if count > QUEUED:
                with self._lock:
                    queue.shorten()

    def _run(self) -> None:
        while True:
            self._some.wait()
            self._clock.wait(self._enough, SOON)
            self._some.clear()
            self._enough.clear()
            self._send_all()
            if self._ending.is_set():
                self._close()
                return

    def _send_all(self) -> None:
        """Until nothing waits. What comes meanwhile is bounded by the queues, and at the end by the time that is left."""
        while self._records.waiting or self._spans.waiting:
            for queue, request in ((self._records, records_request), (self._spans, spans_request)):
                with self._lock:
                    batch = queue.take()
                if batch and not self._deliver(queue.path, request(self._service, batch)):
                    with self._lock:
                        queue.dropped += len(batch)
            if self._end_by is not None and self._clock.monotonic() >= self._end_by:
                return

    def _deliver(self, path: str, body: Sequence[bytes]) -> bool:
        """Whether it was taken, by the first attempt or a later one. At the end there is one attempt."""
        for _ in range(ATTEMPTS):
            status, why = self._attempt(path, body)
            if 200 <= status < 300:
                self._failures = 0
                self._tell(failing=False, why="")
                return True
            self._failures += 1
            self._tell(failing=True, why=why)
            if status and status not in _AGAIN:
                return False
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10))
            if self._clock.wait(self._ending, pause * (1 - self._clock.random() / 2)):
                return False
        return False

    def _attempt(self, path: str, body: Sequence[bytes]) -> tuple[int, str]:
        """The status, 0 without an answer, and what went wrong."""
        patience = PATIENCE
        if self._end_by is not None:
            patience = max(0.05, min(PATIENCE, self._end_by - self._clock.monotonic()))
        try:
            if self._connection is None:
                self._connection = self._class(self._host, self._port, timeout=patience)
            elif self._connection.sock is not None:
                self._connection.sock.settimeout(patience)
            headers = {**self._headers, "content-length": str(sum(map(len, body)))}
            self._connection.request("POST", self._path + path, body, headers)
            answer = self._connection.getresponse()
            if len(answer.read(_LARGEST_ANSWER)) == _LARGEST_ANSWER:
                self._close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._close()
            return 0, f"{type(error).__name__}: {error}"[:200]
        else:
            return answer.status, f"it answers {answer.status}"

    def _tell(self, *, failing: bool, why: str) -> None:
        if failing != self._failing:
            self._failing = failing
            with self._lock:
                dropped = self._spans.dropped + self._records.dropped
            self._hub.emit(ExportChanged(to=f"{self._host}:{self._port}", failing=failing, dropped=dropped, error=why))

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
