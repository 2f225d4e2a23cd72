# ruff: noqa: E501 - a table is read by its lines
"""The other half of the abusive requests: well framed, and meant to be understood in two ways."""

from __future__ import annotations

from dataclasses import replace

from tests.integration.gateway.abuse_table import (
    EITHER,
    NO_LINE,
    NOT_SERVED,
    REFUSED,
    Abuse,
    Expectation,
    _get,
    _post,
    either,
    served,
)

NOWHERE = Expectation(frozenset({400, 404, 421}), 0, None)
"""No listener or route has it."""


def _in(section: str, cases: list[Abuse]) -> list[Abuse]:
    return [replace(case, section=section) for case in cases]


HOSTS = _in("hosts", [
    Abuse("host-missing", _get(host=None)),
    Abuse("host-twice", _get("/x", "Host: b.test")),
    Abuse("host-twice-alike", _get("/x", "Host: a.test")),
    Abuse("host-empty", _get(host=""), NOWHERE),
    Abuse("host-in-a-list", _get(host="a.test, b.test"), NOWHERE),
    Abuse("host-with-user", _get(host="evil@a.test"), NOWHERE),
    Abuse("host-with-path", _get(host="a.test/x"), NOWHERE),
    Abuse("host-with-space", _get(host="a.test b.test"), NOWHERE),
    Abuse("host-with-port", _get(host="a.test:8080"), served()),
    Abuse("host-with-port-of-letters", _get(host="a.test:http"), NOWHERE),
    Abuse("host-with-port-too-large", _get(host="a.test:99999"), NOWHERE),
    Abuse("host-in-capitals", _get(host="A.TEST"), served()),
    Abuse("host-with-dot-behind", _get(host="a.test."), Expectation(frozenset({200, 400, 404}), 1, None)),
    Abuse("host-as-an-address-of-ours", _get(host="127.0.0.1:{trap}"), NOWHERE),
    Abuse("host-with-quotes", _get(host='"a.test"'), NOWHERE),
    Abuse("host-with-slashes-back", _get(host="a.test\\b.test"), NOWHERE),
    Abuse("host-nearly-right-for-long", _get(host="{a*20000}!"), NOWHERE),
    Abuse("host-as-ipv6", _get(host="[::1]"), NOWHERE),
    Abuse("host-as-broken-ipv6", _get(host="[::1"), NOWHERE),
    Abuse("host-with-question-mark", _get(host="a.test?x"), NOWHERE),
    Abuse("host-encoded", _get(host="%61.test"), NOWHERE),
    Abuse("host-missing-in-1.0", _get(host=None, version="HTTP/1.0"), NOWHERE),
    Abuse("host-under-another-name", _get("/x", "X-Forwarded-Host: b.test", "X-Host: b.test"), served(host="a.test")),
])  # fmt: skip

TARGETS = _in("targets", [
    Abuse("absolute-form", _get("http://a.test/x", host="b.test"), Expectation(EITHER, 1, None, {"backend": "v1", "host": "a.test", "path": "/x"})),
    Abuse("absolute-form-of-a-stranger", _get("http://evil.test/x"), NOWHERE),
    Abuse("absolute-form-of-an-address", _get("http://127.0.0.1:{trap}/x"), NOWHERE),
    Abuse("absolute-form-of-https", _get("https://a.test/x"), Expectation(frozenset({200, 400, 404, 421}), 1, None, {"path": "/x", "host": "a.test"})),
    Abuse("absolute-form-of-ftp", _get("ftp://a.test/x"), NOWHERE),
    Abuse("absolute-form-of-a-file", _get("file:///etc/passwd"), NOWHERE),
    Abuse("absolute-form-with-user", _get("http://evil.test@a.test/x"), Expectation(frozenset({400, 404}), 0, None)),
    Abuse("absolute-form-without-path", _get("http://a.test"), Expectation(EITHER, 1, None, {"path": "/"})),
    Abuse("absolute-form-without-host", _get("http:///x"), NOWHERE),
    Abuse("absolute-form-with-empty-port", _get("http://a.test:/x"), Expectation(EITHER | {404}, 1, None, {"path": "/x"})),
    Abuse("authority-form-of-get", _get("a.test:443")),
    Abuse("connect", "CONNECT 127.0.0.1:{trap} HTTP/1.1\r\nHost: 127.0.0.1:{trap}\r\n\r\n", NOT_SERVED),
    Abuse("connect-to-a-path", "CONNECT /x HTTP/1.1\r\nHost: a.test\r\n\r\n", NOT_SERVED),
    Abuse("asterisk-of-get", _get("*")),
    Abuse("asterisk-of-options", "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", Expectation(frozenset({200, 204, 400, 404}), 1, None)),
    Abuse("target-that-is-a-user-part", _get("@127.0.0.1:{trap}/x"), why="joined to a base address it names another host"),
    Abuse("target-that-is-a-port", _get(":{trap}/x")),
    Abuse("target-that-goes-on-with-the-port", _get("9/x")),
    Abuse("target-that-goes-on-with-the-host", _get(".evil.test/x")),
    Abuse("target-with-two-slashes", _get("//127.0.0.1:{trap}/x"), Expectation(frozenset({200, 400, 404}), 1, None)),
    Abuse("target-with-slashes-back", _get("/\\127.0.0.1:{trap}/x"), Expectation(frozenset({200, 400, 404}), 1, None)),
    Abuse("target-with-fragment", _get("/x#y"), Expectation(EITHER, 1, None, {"path": "/x"})),
    Abuse("target-that-is-empty", "GET  HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    Abuse("target-with-space", _get("/x y")),
    Abuse("target-with-quotes", _get('/x"y'), either()),
    Abuse("target-past-ascii", _get("/\u00e4"), either()),
    Abuse("target-with-a-line-end-encoded", _get("/x%0d%0aX-Evil:%201"), Expectation(frozenset({200, 400}), 1, None, {"absent_headers": ["X-Evil"]})),
    Abuse("target-with-nul-encoded", _get("/x%00y"), Expectation(frozenset({200, 400}), 1, None)),
    Abuse("target-encoded-by-half", _get("/x%4"), either()),
    Abuse("target-encoded-wrongly", _get("/x%zz"), either()),
])  # fmt: skip

ADMIN = Expectation(frozenset({200, 400, 404}), 1, None, {"backend": "v2"})
"""If anyone sees it, then the backend of /admin."""
OPEN = Expectation(frozenset({200, 400, 404}), 1, None, {"backend": "v1"})

PATHS = _in("paths", [
    Abuse("path-up", _get("/public/../admin"), ADMIN),
    Abuse("path-up-encoded", _get("/public/%2e%2e/admin"), ADMIN),
    Abuse("path-up-encoded-in-capitals", _get("/public/%2E%2E/admin"), ADMIN),
    Abuse("path-up-half-encoded", _get("/public/.%2e/admin"), ADMIN),
    Abuse("path-up-encoded-twice", _get("/public/%252e%252e/admin"), OPEN),
    Abuse("path-up-with-encoded-slash", _get("/public/..%2fadmin"), Expectation(frozenset({200, 400, 404}), 1, None)),
    Abuse("path-with-encoded-slash", _get("/public%2f..%2fadmin"), Expectation(frozenset({200, 400, 404}), 1, None)),
    Abuse("path-with-slash-back", _get("/public\\..\\admin"), Expectation(frozenset({200, 400, 404}), 1, None)),
    Abuse("path-with-slash-back-encoded", _get("/public%5c..%5cadmin"), OPEN),
    Abuse("path-up-past-the-root", _get("/../../admin"), ADMIN),
    Abuse("path-with-dot", _get("/./admin"), ADMIN),
    Abuse("path-with-dot-behind", _get("/admin/."), ADMIN),
    Abuse("path-with-slash-behind", _get("/admin/"), ADMIN),
    Abuse("path-with-two-slashes", _get("//admin"), Expectation(frozenset({200, 400, 404}), 1, None)),
    Abuse("path-with-two-slashes-inside", _get("/public//../admin"), Expectation(frozenset({200, 400, 404}), 1, None)),
    Abuse("path-in-capitals", _get("/ADMIN"), OPEN),
    Abuse("path-encoded-letter", _get("/%61dmin"), ADMIN),
    Abuse("path-encoded-twice-letter", _get("/%2561dmin"), OPEN),
    Abuse("path-with-parameter", _get("/admin;x=1"), Expectation(frozenset({200, 400, 404}), 1, None)),
    Abuse("path-up-with-parameter", _get("/public/..;/admin"), Expectation(frozenset({200, 400, 404}), 1, None)),
    Abuse("path-with-nul", _get("/public/%00/../admin"), Expectation(frozenset({200, 400, 404}), 1, None)),
    Abuse("path-in-overlong-utf-8", _get("/public/%c0%ae%c0%ae/admin"), OPEN),
    Abuse("path-up-in-the-query", _get("/public?x=/../admin"), served(backend="v1")),
    Abuse("path-up-twice-from-depth", _get("/public/a/../../admin"), ADMIN),
])  # fmt: skip

HEADERS = _in("headers", [
    Abuse("named-by-connection", _get("/x", "Connection: close, X-Auth-User", "X-Auth-User: bob"), served(closes=True, absent_headers=["X-Auth-User"])),
    Abuse("hop-by-hop", _get("/x", "Keep-Alive: 5", "Proxy-Connection: x", "TE: gzip", "Proxy-Authorization: x"), served(absent_headers=["Keep-Alive", "Proxy-Connection", "TE", "Proxy-Authorization"])),
    Abuse("host-named-by-connection", _get("/x", "Connection: Host"), Expectation(EITHER, 1, None, {"host": "a.test"})),
    Abuse("length-named-by-connection", _post("Connection: Content-Length", "Content-Length: 3", body="abc"), Expectation(EITHER, 1, None, {"body": "abc"})),
    Abuse("forwarded-by-a-liar", _get("/x", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test", "X-Real-IP: 6.6.6.6", "Forwarded: for=9.9.9.9"), served(not_in=["1.2.3.4", "evil.test", "6.6.6.6", "9.9.9.9"])),
    Abuse("forwarded-with-underscores", _get("/x", "X_Forwarded_For: 1.2.3.4"), Expectation(EITHER, 1, None, {"absent_headers": ["X_Forwarded_For"]})),
    Abuse("name-with-underscores", _get("/x", "X_User_Id: admin"), Expectation(EITHER, 1, None, {"absent_headers": ["X_User_Id"]})),
    Abuse("upgrade-to-h2c", _get("/x", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), served(absent_headers=["Upgrade", "HTTP2-Settings"])),
    Abuse("upgrade-to-something", _get("/x", "Connection: Upgrade", "Upgrade: other"), Expectation(frozenset({200, 400, 403, 501}), 1, None, {"absent_headers": ["Upgrade"]})),
    Abuse("expect-something-else", _post("Expect: 200-ok", "Content-Length: 3", body="abc"), Expectation(frozenset({200, 400, 417}), 1, None)),
    Abuse("expect-continue-and-body", _post("Expect: 100-continue", "Content-Length: 3", body="abc"), served(body="abc")),
    Abuse("method-in-small-letters", _get().replace("GET", "get", 1), NOT_SERVED),
    Abuse("method-that-is-unknown", _get().replace("GET", "FOO", 1), Expectation(frozenset({200, 400, 405, 501}), 1, None, {"method": "FOO"})),
    Abuse("method-with-brackets", _get().replace("GET", "G(T", 1), NO_LINE),
    Abuse("method-trace", _get().replace("GET", "TRACE", 1), Expectation(frozenset({400, 403, 404, 405, 501}), 0, None)),
    Abuse("method-overridden", _get("/x", "X-HTTP-Method-Override: DELETE"), served(method="GET")),
    Abuse("version-2.0", _get(version="HTTP/2.0"), Expectation(frozenset({400, 505}))),
    Abuse("version-1.10", _get(version="HTTP/1.10"), Expectation(frozenset({400, 505}))),
    Abuse("version-0.9", _get(version="HTTP/0.9"), Expectation(frozenset({400, 505}))),
    Abuse("version-in-small-letters", _get(version="http/1.1")),
    Abuse("version-1.2", _get(version="HTTP/1.2"), Expectation(frozenset({200, 400, 505}), 1, None)),
    Abuse("version-1.0-is-closed", _get(version="HTTP/1.0"), served(closes=True)),
    Abuse("pipeline-of-three", _get("/1") + _get("/2") + _get("/3"), served(3, answers=3, targets=["/1", "/2", "/3"])),
    Abuse("pipeline-with-a-bad-one", _get("/1") + "GET /2 HTTP/1.1\r\nHost : a.test\r\n\r\n" + _get("/3"), Expectation(frozenset({200}), 1, True, {"targets": ["/1"]}, answers=2)),
    Abuse("cookies-in-two-fields", _get("/x", "Cookie: a=1", "Cookie: b=2"), served()),
])  # fmt: skip

MUCH = Expectation(frozenset({400, 431}))
LIMITS = _in("limits", [
    Abuse("header-of-64-kib", _get("/x", "X: {A*65536}"), MUCH),
    Abuse("headers-of-64-kib-together", _get("/x", *(f"X{n}: {{A*1000}}" for n in range(64))), MUCH),
    Abuse("ten-thousand-headers", _get("/x", *(f"X{n}: y" for n in range(10000))), MUCH),
    Abuse("two-hundred-headers", _get("/x", *(f"X{n}: y" for n in range(200))), MUCH),
    Abuse("name-of-64-kib", _get("/x", "{X*65536}: y"), MUCH),
    Abuse("target-of-64-kib", _get("/{a*65536}"), Expectation(frozenset({400, 414, 431}))),
    Abuse("query-of-64-kib", _get("/x?{a*65536}"), Expectation(frozenset({400, 414, 431}))),
    Abuse("method-of-64-kib", "{A*65536} /x HTTP/1.1\r\nHost: a.test\r\n\r\n", Expectation(frozenset({400, 414, 431}))),
    Abuse("line-that-never-ends", "{A*200000}", Expectation(frozenset({400, 414, 431}))),
    Abuse("header-that-never-ends", "GET /x HTTP/1.1\r\nHost: a.test\r\nX: {A*200000}", MUCH),
    Abuse("a-hundred-thousand-line-ends", "{\r\n*100000}", Expectation(frozenset({0, 400, 408, 431, 505}), 0, True, incomplete=True)),
])  # fmt: skip

MEANINGS = [*HOSTS, *TARGETS, *PATHS, *HEADERS, *LIMITS]
__all__ = ["HEADERS", "HOSTS", "LIMITS", "MEANINGS", "PATHS", "REFUSED", "TARGETS"]
