"""The second half of our own table: what becomes of a request that has found its route."""

from __future__ import annotations

from tests.integration.gateway.route_table import case, group, prefix, rule, to

REDIRECTS = [
    group(
        "redirect-path",
        [
            rule(prefix("/old"), redirect={"prefix": "/new"}),
            rule(prefix("/strip"), redirect={"prefix": "/"}),
            rule(prefix("/whole"), redirect={"full": "/other"}),
            rule(prefix("/host"), redirect={"host": "example.org", "full": "/full", "status": 301}),
            rule(prefix("/hosted"), redirect={"host": "example.org", "prefix": "/p"}),
        ],
        [
            case("/old/lamps", status=302, location={"host": "a.example", "path": "/new/lamps"}, host="a.example"),
            case("/old", status=302, location={"path": "/new"}),
            case("/old/x?a=1&b=2", status=302, location={"path": "/new/x", "query": "a=1&b=2"}),
            case("/strip/x", status=302, location={"path": "/x"}),
            case("/strip", status=302, location={"path": "/"}),
            case("/whole/x/y", status=302, location={"path": "/other"}),
            case("/whole/x?a=1", status=302, location={"path": "/other", "query": "a=1"}),
            case("/host/x", status=301, location={"host": "example.org", "path": "/full"}),
            case("/hosted/x", status=302, location={"host": "example.org", "path": "/p/x"}),
        ],
        feature="extended",
    ),
    group(
        "redirect-scheme-and-port",
        [
            rule(prefix("/https"), redirect={"scheme": "https"}),
            rule(prefix("/https-443"), redirect={"scheme": "https", "port": 443}),
            rule(prefix("/https-8443"), redirect={"scheme": "https", "port": 8443, "host": "example.org"}),
            rule(prefix("/http-80"), redirect={"scheme": "http", "port": 80}),
            rule(prefix("/http-8080"), redirect={"scheme": "http", "port": 8080}),
            rule(prefix("/port"), redirect={"port": 8083}),
            rule(prefix("/https-80"), redirect={"scheme": "https", "port": 80}),
        ],
        [
            case(
                "/https", status=302, host="a.example", location={"scheme": "https", "host": "a.example", "port": None}
            ),
            case("/https-443", status=302, location={"scheme": "https", "port": None}),
            case("/https-8443", status=302, location={"scheme": "https", "host": "example.org", "port": 8443}),
            case("/http-80", status=302, location={"scheme": "http", "port": None}),
            case("/http-8080", status=302, location={"scheme": "http", "port": 8080}),
            case("/port", status=302, host="a.example", location={"host": "a.example", "port": 8083}),
            case("/https-80", status=302, location={"scheme": "https", "port": 80}),
        ],
        feature="extended",
    ),
    *(
        group(
            f"redirect-{status}",
            [rule(prefix("/moved"), redirect={"host": "example.org", "status": status})],
            [
                case("/moved/x", status=status, location={"host": "example.org", "path": "/moved/x"}),
                case("/moved/x", status=status, method="POST", location={"host": "example.org"}),
            ],
            feature="extended",
        )
        for status in (301, 302, 303, 307, 308)
    ),
]

CHANGED = {"set": {"X-Header-Set": "ours"}, "add": {"X-Header-Add": "more"}, "remove": ["X-Header-Remove"]}

EDITS = [
    group(
        "rewrite-host",
        [
            rule(prefix("/one"), backends=to("v1"), rewrite={"host": "one.example.org"}),
            rule(prefix("/both"), backends=to("v2"), rewrite={"host": "two.example.org", "prefix": "/"}),
            rule(prefix("/"), backends=to("v3"), rewrite={"host": "test.example.org"}, request_headers=CHANGED),
        ],
        [
            case("/one", "v1", upstream={"path": "/one", "host": "one.example.org"}),
            case("/both/x", "v2", upstream={"path": "/x", "host": "two.example.org"}),
            case(
                "/two",
                "v3",
                headers={"X-Header-Remove": "x", "X-Header-Set": "theirs"},
                upstream={
                    "host": "test.example.org",
                    "headers": {"X-Header-Set": "ours", "X-Header-Add": "more"},
                    "absent_headers": ["X-Header-Remove"],
                },
            ),
        ],
        feature="extended",
    ),
    group(
        "rewrite-path-edges",
        [
            rule(prefix("/a"), backends=to("v1"), rewrite={"prefix": "/b/"}),
            rule(prefix("/c/"), backends=to("v1"), rewrite={"prefix": "/"}),
            rule(prefix("/f"), backends=to("v1"), rewrite={"full": "/whole"}),
        ],
        [
            case("/a/x", "v1", upstream={"path": "/b/x"}),
            case("/a/x/", "v1", upstream={"path": "/b/x/"}),
            case("/c/x?q=1", "v1", upstream={"path": "/x?q=1"}),
            case("/f/x?q=1", "v1", upstream={"path": "/whole?q=1"}),
        ],
        feature="extended",
    ),
    group(
        "response-headers",
        [
            rule(prefix("/set"), backends=to("v1"), response_headers={"set": {"X-Header-Set": "ours"}}),
            rule(prefix("/add"), backends=to("v1"), response_headers={"add": {"X-Header-Add": "more"}}),
            rule(prefix("/remove"), backends=to("v1"), response_headers={"remove": ["X-Header-Remove"]}),
            rule(prefix("/all"), backends=to("v1"), response_headers=CHANGED),
        ],
        [
            case("/set", "v1", response_headers={"X-Header-Set": "ours"}),
            case(
                "/set",
                "v1",
                headers={"X-Echo-Set-Header": "x-header-set:theirs"},
                response_headers={"X-Header-Set": "ours"},
            ),
            case("/add", "v1", response_headers={"X-Header-Add": "more"}),
            case(
                "/add",
                "v1",
                headers={"X-Echo-Set-Header": "X-Header-Add:first"},
                response_headers={"X-Header-Add": "first,more"},
            ),
            case(
                "/remove",
                "v1",
                headers={"X-Echo-Set-Header": "x-HEADER-remove:x"},
                absent_response_headers=["X-Header-Remove"],
            ),
            case(
                "/all",
                "v1",
                headers={"X-Echo-Set-Header": "X-Header-Set:a,X-Header-Add:b,X-Header-Remove:c,Another:d"},
                response_headers={"X-Header-Set": "ours", "X-Header-Add": "b,more", "Another": "d"},
                absent_response_headers=["X-Header-Remove"],
            ),
        ],
        feature="extended",
    ),
    group(
        "headers-of-one-backend",
        [
            {
                "match": [prefix("/one")],
                "backends": [{"name": "v1", "weight": 1, "request_headers": {"set": {"X-Backend": "first"}}}],
            },
            {
                "match": [prefix("/other")],
                "backends": [{"name": "v2", "weight": 1, "response_headers": {"add": {"X-Backend": "second"}}}],
            },
        ],
        [
            case("/one", "v1", upstream={"headers": {"X-Backend": "first"}}),
            case("/other", "v2", upstream={"absent_headers": ["X-Backend"]}, response_headers={"X-Backend": "second"}),
        ],
        feature="extended",
    ),
]

SHARES = [
    group(
        "shares",
        [
            rule(prefix("/half"), backends=to("v1", "v2")),
            rule(prefix("/none"), backends=[{"name": "v1", "weight": 0}, {"name": "v2", "weight": 3}]),
            rule(
                prefix("/third"),
                backends=[{"name": "v1", "weight": 1}, {"name": "v2", "weight": 1}, {"name": "v3", "weight": 2}],
            ),
        ],
        [
            case("/half", repeat=400, distribution={"v1": 0.5, "v2": 0.5}, tolerance="6 percentage points"),
            case("/none", "v2", repeat=50, distribution={"v1": 0.0, "v2": 1.0}),
            case(
                "/third", repeat=400, distribution={"v1": 0.25, "v2": 0.25, "v3": 0.5}, tolerance="6 percentage points"
            ),
        ],
    ),
    group(
        "mirrors",
        [
            rule(prefix("/all"), backends=to("v1"), mirror=[{"to": "v2"}]),
            rule(prefix("/fifth"), backends=to("v1"), mirror=[{"to": "v2", "percent": 20}]),
            rule(
                prefix("/half"),
                backends=to("v1"),
                mirror=[{"to": "v3", "fraction": {"numerator": 25, "denominator": 50}}],
            ),
            rule(prefix("/never"), backends=to("v1"), mirror=[{"to": "v3", "percent": 0}]),
            rule(prefix("/edited"), backends=to("v1"), mirror=[{"to": "v2"}], request_headers=CHANGED),
        ],
        [
            case("/all", "v1", mirrored_to=["v2"]),
            case("/all", "v1", method="POST", body="for both", mirrored_to=["v2"], upstream={"body": "for both"}),
            case("/fifth", repeat=400, mirrored={"v2": 0.2}, tolerance="6 percentage points"),
            case("/half", repeat=400, mirrored={"v3": 0.5}, tolerance="6 percentage points"),
            case("/never", "v1", repeat=50, mirrored={"v3": 0.0}),
            case("/edited", "v1", mirrored_to=["v2"], upstream={"headers": {"X-Header-Set": "ours"}}),
        ],
        feature="extended",
    ),
    group(
        "backends-that-are-not-there",
        [
            rule(prefix("/missing"), backends=to("nowhere")),
            rule(
                prefix("/kind"), backends=[{"name": "v1", "weight": 1, "kind": "NonExistent", "group": "example.com"}]
            ),
            rule(prefix("/namespace"), backends=[{"name": "v1", "weight": 1, "namespace": "elsewhere"}]),
            rule(prefix("/omitted")),
            rule(prefix("/empty"), backends=[]),
            rule(prefix("/partly"), backends=[{"name": "nowhere", "weight": 1}, {"name": "v2", "weight": 0}]),
            rule(prefix("/there"), backends=to("v1")),
        ],
        [
            case("/missing", status=500),
            case("/kind", status=500),
            case("/namespace", status=500),
            case("/omitted", status=500),
            case("/empty", status=500),
            case("/partly", status=500),
            case("/there", "v1"),
        ],
    ),
]

TIMES = [
    group(
        "timeouts",
        [
            rule(prefix("/request"), backends=to("v1"), timeouts={"request": "500ms"}),
            rule(prefix("/backend"), backends=to("v1"), timeouts={"backend": "500ms"}),
            rule(prefix("/both"), backends=to("v1"), timeouts={"request": "20s", "backend": "300ms"}),
            rule(prefix("/never"), backends=to("v1"), timeouts={"request": "0s", "backend": "0s"}),
        ],
        [
            case("/request", "v1"),
            case("/request?delay=1s", status=504),
            case("/backend", "v1"),
            case("/backend?delay=1s", status=504),
            case("/both?delay=1s", status=504),
            case("/never?delay=1s", "v1"),
        ],
        feature="extended",
    ),
    group(
        "retries-are-counted",
        [
            rule(prefix("/three"), backends=to("v3"), retry={"codes": [500], "attempts": 3, "backoff": "10ms"}),
            rule(prefix("/none"), backends=to("v3")),
        ],
        [
            case("/three", backend_script={"answer": 500, "succeed_after_failures": 3}, attempts=4),
            case("/three", status=500, backend_script={"answer": 500, "succeed_after_failures": 9}, attempts=4),
            case("/three", status=503, backend_script={"answer": 503, "succeed_after_failures": 1}, attempts=1),
            case("/none", status=500, backend_script={"answer": 500, "succeed_after_failures": 1}, attempts=1),
        ],
        feature="extended (experimental)",
    ),
    group(
        "retries-of-broken-connections",
        [rule(prefix("/reset"), backends=to("v3"), retry={"attempts": 3})],
        [
            case("/reset", "v3", backend_script={"answer": "reset", "succeed_after_failures": 2}),
            case("/reset", status=[500, 502, 503], backend_script={"answer": "reset", "succeed_after_failures": 9}),  # type: ignore[arg-type]
        ],
        feature="extended (experimental)",
    ),
]

OURS, THEIRS = "https://shop.example", "https://elsewhere.example"
ASKED = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-one, x-two"}
CORS = [
    group(
        "cors",
        [
            rule(
                prefix("/named"),
                backends=to("v1"),
                cors={
                    "origins": [OURS, "https://*.example.net"],
                    "methods": ["GET", "PUT"],
                    "headers": ["x-one", "x-two"],
                    "expose": ["x-three"],
                    "credentials": True,
                    "max_age": 3600,
                },
            ),
            rule(prefix("/any"), backends=to("v1"), cors={"origins": ["*"], "methods": ["PUT"]}),
        ],
        [
            case(
                "/named",
                status=[200, 204],  # type: ignore[arg-type]
                method="OPTIONS",
                headers={"Origin": OURS, **ASKED},
                response_headers={
                    "Access-Control-Allow-Origin": OURS,
                    "Access-Control-Allow-Methods": ["GET, PUT", "PUT, GET"],
                    "Access-Control-Allow-Headers": ["x-one, x-two", "x-two, x-one"],
                    "Access-Control-Allow-Credentials": "true",
                    "Access-Control-Max-Age": "3600",
                },
            ),
            *(
                case(
                    "/named",
                    status=[200, 204],  # type: ignore[arg-type]
                    method="OPTIONS",
                    headers={"Origin": origin, **ASKED},
                    response_headers={"Access-Control-Allow-Origin": origin},
                )
                for origin in ("https://a.example.net", "https://b.a.example.net")
            ),
            *(
                case(
                    "/named",
                    status=[200, 204, 403],  # type: ignore[arg-type]
                    method="OPTIONS",
                    headers={"Origin": origin, **ASKED},
                    absent_response_headers=["Access-Control-Allow-Origin"],
                )
                for origin in (THEIRS, "https://example.net", "https://xexample.net", "http://a.example.net", "null")
            ),
            case(
                "/named",
                "v1",
                headers={"Origin": OURS},
                response_headers={
                    "Access-Control-Allow-Origin": OURS,
                    "Access-Control-Allow-Credentials": "true",
                    "Access-Control-Expose-Headers": "x-three",
                },
            ),
            case("/named", headers={"Origin": THEIRS}, absent_response_headers=["Access-Control-Allow-Origin"]),
            case("/named", "v1", absent_response_headers=["Access-Control-Allow-Origin"]),
            case(
                "/any",
                status=[200, 204],  # type: ignore[arg-type]
                method="OPTIONS",
                headers={"Origin": f"{THEIRS}:1234", "Access-Control-Request-Method": "PUT"},
                response_headers={
                    "Access-Control-Allow-Origin": ["*", f"{THEIRS}:1234"],
                    "Access-Control-Allow-Methods": "PUT",
                },
                absent_response_headers=["Access-Control-Allow-Credentials"],
            ),
        ],
        feature="extended",
    )
]

GROUPS = [*REDIRECTS, *EDITS, *SHARES, *TIMES, *CORS]
