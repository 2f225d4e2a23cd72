"""Calls that go out: a port of the loopback for each callee, from where they go to its sidecar, which has to prove its name.

Only one layer retries. Who will repeat a call says so by `skerry-retried: 1`, and such a call is never repeated here. Of the
others, those with a safe method (RFC 9110, section 9.2.1) are, once, within a budget; they get the mark, so that nothing behind
them retries as well.
"""

from __future__ import annotations

from typing import Final

from skerry.context import RETRIED_HEADER
from skerry.envoy.mesh import http, tls
from skerry.envoy.plain import Plain, seconds

RETRIES: Final = 1
BUDGET: Final = 20.0
"""Percent of the requests under way."""
FAILURES: Final = 5
"""So many in a row of a peer that cannot be reached, or breaks off, eject it; of answers 502, 503 and 504 four times as many, for
a service that sheds load gives them, too."""
EJECTED, LONGEST_EJECTED = 1.0, 10.0
"""Seconds: the first time, and at most, for each ejection in a row lasts longer."""
_ON: Final = "connect-failure,refused-stream,reset,gateway-error"
_SAFE: Final = "GET|HEAD|OPTIONS"


def name_for(callee: str) -> str:
    """Of the listener and the cluster for a callee."""
    return f"to-{callee}"


def listener(host: str, port: int, *, callee: str) -> Plain:
    """Where the service calls `callee`: HTTP/1.1 and HTTP/2 without TLS."""
    name = name_for(callee)
    # What the service itself says of certificates goes nowhere.
    manager = http.manager(name, routes(callee), filters=[], forward_client_cert_details="SANITIZE")
    return http.listener(name, host, port, manager=manager)


def routes(callee: str) -> list[Plain]:
    """Without a time-out of their own: the caller has one."""
    bare = {"cluster": name_for(callee), "timeout": "0s"}
    unmarked = {"name": RETRIED_HEADER, "string_match": {"exact": "1"}, "invert_match": True}
    unmarked["treat_missing_header_as_empty"] = True
    safe = {"name": ":method", "string_match": {"safe_regex": {"regex": _SAFE}}}
    # A WebSocket is asked for by GET, and is no safe request.
    no_upgrade = {"name": "upgrade", "present_match": True, "invert_match": True}
    pause = {"base_interval": seconds(0.025), "max_interval": seconds(0.25)}
    retry = {"retry_on": _ON, "num_retries": RETRIES, "retry_back_off": pause}
    mark = {"header": {"key": RETRIED_HEADER, "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return [
        {
            "name": "repeated here",
            "match": {"prefix": "/", "headers": [safe, unmarked, no_upgrade]},
            "route": {**bare, "retry_policy": retry},
            "request_headers_to_add": [mark],
        },
        {"name": "once", "match": {"prefix": "/"}, "route": bare},
    ]


def cluster(host: str, port: int, *, system: str, callee: str, longest: float) -> Plain:
    """The callee's sidecar."""
    budget = {"budget_percent": {"value": BUDGET}, "min_retry_concurrency": 3}
    return http.cluster(
        name_for(callee),
        http.at_port(host, port),
        idle=60.0,
        http2=True,
        longest=longest,
        transport_socket=tls.upstream(system, callee),
        circuit_breakers=http.thresholds(retry_budget=budget),
        outlier_detection=ejection(),
    )


def ejection() -> Plain:
    """When a peer is not called for a while."""
    return {
        "interval": seconds(EJECTED / 2),
        "base_ejection_time": seconds(EJECTED),
        "max_ejection_time": seconds(LONGEST_EJECTED),
        "max_ejection_time_jitter": "0s",
        "max_ejection_percent": 100,
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": FAILURES,
        "enforcing_consecutive_local_origin_failure": 100,
        "consecutive_gateway_failure": 4 * FAILURES,
        "enforcing_consecutive_gateway_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
    }
