"""Services that tell of their requests as OpenTelemetry's SDKs do: `python -m benchmarks.console.sender URL TOKEN RATE SECONDS`.

Twelve of them, in traces of ten spans, calls and their answers, five deep, over some twenty edges; one in twenty fails. Ten
requests a second carry them, in protobuf.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import time
from itertools import pairwise
from urllib.parse import urlsplit

from skerry.console.messages import ExportTraceServiceRequest

SERVICES = [f"service-{number}" for number in range(12)]
DEEP = 5
A_SECOND = 10
SERVER, CLIENT, ERROR = 2, 3, 2


def main(address: str, token: str, rate: int, seconds: int) -> None:
    where, dice = urlsplit(address), random.Random(1)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/x-protobuf"}
    sent = taken = 0
    begun = time.monotonic()
    for turn in range(seconds * A_SECOND):
        spans = rate // A_SECOND
        connection.request("POST", "/v1/traces", batch(dice, spans), headers)
        answer = connection.getresponse()
        answer.read()
        sent += spans
        taken += spans if answer.status == 200 else 0
        time.sleep(max(0.0, begun + (turn + 1) / A_SECOND - time.monotonic()))
    print(json.dumps({"sent": sent, "taken": taken, "seconds": time.monotonic() - begun}))


def batch(dice: random.Random, count: int) -> bytes:
    """So many spans."""
    message = ExportTraceServiceRequest()
    by_service = {}
    for name in SERVICES:
        told = message.resource_spans.add()
        told.resource.attributes.add(key="service.name").value.string_value = name
        by_service[name] = told.scope_spans.add().spans
    for _ in range(count // (2 * DEEP)):
        trace, above, failed = dice.randbytes(16), b"", dice.random() < 0.05
        way = [dice.randrange(2)]
        for _ in range(DEEP):
            way.append(way[-1] + dice.randint(1, 2))
        path = [SERVICES[place] for place in way]
        for caller, callee in pairwise(path):
            for service, kind in ((caller, CLIENT), (callee, SERVER)):
                span = by_service[service].add(
                    trace_id=trace, span_id=dice.randbytes(8), parent_span_id=above, kind=kind
                )
                span.name = "POST /things/{id}"
                span.end_time_unix_nano = time.time_ns()
                span.start_time_unix_nano = span.end_time_unix_nano - dice.randrange(1_000_000, 80_000_000)
                span.attributes.add(key="http.response.status_code").value.int_value = 503 if failed else 200
                span.attributes.add(key="url.path").value.string_value = f"/things/{dice.randrange(1000)}"
                span.status.code = ERROR if failed else 0
                above = span.span_id
    return message.SerializeToString()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
