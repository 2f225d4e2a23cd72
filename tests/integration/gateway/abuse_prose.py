"""Reads the neutral table's expectations, which are prose, as what a machine can judge."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.integration.gateway.abuse_table import Expectation

STATUS = re.compile(r"(?<![0-9])([1-5][0-9]{2})(?![0-9])")
NEVER = re.compile(r"\b(?:never|not)\b[^,;)]*", re.IGNORECASE)
CHOICE = re.compile(r"\bor\b(?! *(?:bare )?[45][0-9]{2})", re.IGNORECASE)
REFUSALS = frozenset({400, 413, 414, 417, 421, 431, 501, 505})
OPEN = frozenset({0, 200, 204, 400, 403, 404, 405, 408, 413, 414, 417, 421, 426, 431, 501, 505})

KNOWN: Mapping[str, Expectation] = {
    "pipeline-3": Expectation(frozenset({200}), 3, True, {"targets": ["/1", "/2", "/3"]}, 3),
    "http10-close": Expectation(frozenset({200}), 1, True),
    "host-port-match": Expectation(frozenset({200}), 1, None, {"backend": "v1"}),
    "hop-by-hop-named": Expectation(
        frozenset({200}), 1, True, {"absent_headers": ["X-Auth-User", "Keep-Alive", "Proxy-Connection"]}
    ),
    "xff-spoof": Expectation(frozenset({200}), 1, None, {"not_in": ["evil", "6.6.6.6", "9.9.9.9"]}),
    "underscore-alias": Expectation(frozenset({200, 400}), 1, None, {"absent_headers": ["X_User_Id"]}),
    "upgrade-h2c": Expectation(frozenset({200}), 1, None, {"absent_headers": ["Upgrade", "HTTP2-Settings"]}),
    "absolute-form": Expectation(frozenset({200, 400}), 1, None, {"backend": "v1", "host": "a.test", "path": "/x"}),
    "expect-100": Expectation(frozenset({0, 200, 400, 408, 417}), 1, None, incomplete=True),
}
"""What the prose of these says, in full."""


def expectation_of(case: Mapping[str, Any]) -> Expectation:
    """A refusal that must come is judged as such. Where the prose leaves a choice, what always holds has to be enough."""
    if case["id"] in KNOWN:
        return KNOWN[case["id"]]
    prose = case["expect"]
    statuses = frozenset(int(found) for found in STATUS.findall(NEVER.sub("", prose)))
    refused = {status for status in statuses if status >= 400}
    must = prose.startswith(("reject", "400", "413", "414", "431", "505", "501")) and not CHOICE.search(prose)
    if must and refused:
        # "reject 400": that nothing is done is what matters; another word for the same refusal is as good
        told = refused | REFUSALS if prose.startswith("reject") else refused
        return Expectation(frozenset(told), 0, True if "close" in prose else None)
    requests = len(re.findall(r"HTTP/1\.[01]\r\n", case["raw"]))
    return Expectation(OPEN, max(requests, 1), None)
