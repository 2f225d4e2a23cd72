"""Documents for the tests of reading: one that says everything, and many that are wrong in one place each."""

from __future__ import annotations

FULL = """\
name: shop
trusted_hops: 1
access_log: {file: access.jsonl, sample: 0.1}
limits: {body: 64 KiB, head: 16384, headers: 50, body_rate: 1 , idle_timeout: 30}
listeners:
  - {name: http, address: 0.0.0.0, port: 8080}
  - name: https
    port: 8443
    hostnames: [shop.example, "*.shop.example"]
    tls: {certificate: tls/shop.pem, key: /etc/shop.key, client_ca: ca.pem}
services:
  order: {urls: ["http://10.0.0.1:80", "http://[::1]:81"], connect: 0.5, connections: 8, idle: 5}
  payment: {url: "https://pay.example", ca: pay.pem}
jwt:
  users:
    issuer: https://id.example
    audiences: shop
    jwks_url: https://id.example/keys
    algorithms: [ES256]
    claims: {sub: X-User}
defaults:
  policy: {total: 4.0, attempt: 1.0, retry: {attempts: 2, statuses: [503]}, breaker: {min_calls: 5}}
  auth: users
  cors: {origins: ["https://shop.example"], credentials: true}
  rate_limit: {requests: 100, key: identity}
  compress: true
routes:
  - name: orders
    path: /orders
    methods: [GET]
    headers: {X-Canary: always, x-version: {regex: "v[0-9]+"}}
    query: {beta: "1"}
    cookies: {plan: gold}
    hostnames: [shop.example]
    listeners: [https]
    services: {order: 90, order-next: {weight: 10, request_headers: {set: {X-Next: "1"}}}}
    sticky: {cookie: session}
    mirrors: [shadow, {service: dark, percent: 5}]
    rewrite: {prefix: /v2/orders, host: orders.internal}
    request_headers: {set: {X-A: a}, add: {X-B: b}, remove: [X-C]}
    response_headers: {remove: [Server]}
    policy: {total: 0.5, retry: false, breaker: false, concurrency: 4, queue: 0, adaptive: true}
    auth: {providers: [users], required: false, scopes: [orders]}
    rate_limit: {requests: 5, per: 60, burst: 10, key: peer}
    body: 1 MiB
  - match:
      - path: {exact: /old}
      - path: {regex: "/old/[0-9]+"}
        methods: [POST, PUT]
    redirect: {scheme: https, host: shop.example, port: 8443, full: /new, status: 308}
    auth: false
    cors: false
    rate_limit: false
    compress: false
  - path: /teapot
    respond: {status: 418, body: short and stout}
  - path: /home/{user}
    methods: [GET]
    aggregate:
      deadline: 0.8
      parts:
        order: {service: order, path: "/users/{user}/orders?limit=5", required: true, pick: [id, a.b], rename: {id: order_id}}
        offers:
          {service: offer, path: /offers, query: [page], timeout: 0.2, fallback: {items: [], more: null}, policy: {attempts: 1}}
  - name: books
    path: /books
    rewrite: /api/books
    strangle:
      from: monolith
      to: catalogue
      steps: [0.5%, 5, 25 %, 100%]
      sticky: {header: X-User}
      shadow:
        sample: 10%
        ignore: ["$.ts", "$['made by']"]
        normalise:
          - {path: "$.books[*].price", round: 2}
          - {path: "$.seen", time: 1s}
          - {path: "$.tags", unordered: true}
          - {path: "$.isbn", case: true}
          - {path: "$.title", space: true}
        headers: [Content-Type, ETag]
        redact: ["$.owner.*"]
        harmless: true
        settle: 500 ms
        concurrency: 4
        body: 64 KiB
      guard:
        {alpha: 0.5%, interval: 2s, worse_by: 0.002, slower_by: 5%, mismatches: 0, enough: 100, limit: 30%, limit_requests: 20}
      writes: ramp
      position: /position
  - {name: stock, path: /stock, strangle: {from: monolith, to: stock, shadow: false}}
"""

ROUTE = "routes:\n  - path: /a\n    service: a\n"
JWT = "jwt: {u: {issuer: i, audiences: a, jwks_file: f, %s}}\n"
STRANGLED = "routes:\n  - {name: r, path: /a, strangle: {from: a, %s}}\n"

MISTAKES = {
    "no YAML": ("routes: [", 2, "not valid YAML"),
    "no mapping": ("- a\n", 1, "must be a mapping"),
    "an unknown key": ("nam: x\n" + ROUTE, 1, "unknown key 'nam'"),
    "an unknown key of a route": (ROUTE + "    servic: b\n", 4, "unknown key 'servic'"),
    "a key twice": (ROUTE + "    path: /b\n", 4, "'path' is there twice"),
    "a key that is no text": ("1: 2\n" + ROUTE, 1, "a key must be text"),
    "no routes": ("name: g\n", 1, "'routes' is missing"),
    "no answer": ("routes:\n  - path: /a\n", 2, "one of 'service', 'services'"),
    "two answers": (ROUTE + "    respond: {status: 200}\n", 2, "contradict each other"),
    "path and match": (ROUTE + "    match: [{path: /b}]\n", 2, "'match' and 'path' contradict each other"),
    "a redirect that rewrites": (
        "routes:\n  - {path: /a, redirect: {full: /b}, rewrite: /c}\n",
        2,
        "'redirect' and 'rewrite' contradict",
    ),
    "a number as text": (ROUTE + "    headers: {x-a: 1}\n", 4, "routes[0].headers.x-a: must be text: put it in quotes"),
    "a number out of range": (
        ROUTE + "    policy: {total: 3601}\n",
        4,
        "routes[0].policy.total: must be a number from",
    ),
    "a number of nothing": (ROUTE + "    policy: {total: .nan}\n", 4, "must be a number from"),
    "half an attempt": (ROUTE + "    policy: {attempts: 1.5}\n", 4, "must be a whole number from 1 to 10"),
    "a size": ("limits: {body: 64 kB}\n" + ROUTE, 1, "limits.body: must be a size"),
    "a method": (ROUTE + "    methods: [get]\n", 4, "routes[0].methods[0]: must be one of GET"),
    "no path": ("routes:\n  - {path: a, service: a}\n", 2, "routes[0].path: 'a' is not valid here"),
    "an empty segment": ("routes:\n  - {path: /a//b, service: a}\n", 2, "is not valid here"),
    "a dot segment": ("routes:\n  - {path: /a/../b, service: a}\n", 2, "has a dot segment"),
    "a hidden dot segment": ("routes:\n  - {path: /a/%2e%2E/b, service: a}\n", 2, "has a dot segment"),
    "a hidden slash": ("routes:\n  - {path: /a%2fb, service: a}\n", 2, "encoded slash"),
    "a variable in a prefix": ('routes:\n  - {path: "/a/{b}", service: a}\n', 2, "write it as {template: ...}"),
    "the gateway's own path": ("routes:\n  - {path: /health/x, service: a}\n", 2, "is the gateway's own"),
    "a variable twice": ('routes:\n  - {path: {template: "/{a}/{a}"}, service: a}\n', 2, "has a variable twice"),
    "a broken regex": ('routes:\n  - {path: {regex: "/a("}, service: a}\n', 2, "is not a regular expression of RE2"),
    "a look-ahead": (
        'routes:\n  - {path: {regex: "/a(?=b)"}, service: a}\n',
        2,
        "RE2, which is linear, has no look-around",
    ),
    "a regex of a header": (ROUTE + '    headers: {x-a: {regex: "("}}\n', 4, "routes[0].match[0].headers.x-a"),
    "a header's name": (ROUTE + '    headers: {"x a": b}\n', 4, "must be the name of a header"),
    "a doubled header": (ROUTE + "    headers: {X-A: b, x-a: b}\n", 4, "is there twice"),
    "a doubled route": (ROUTE + "  - {path: /a, service: b}\n", 4, "/a is routed already by the route on line 2"),
    "routes with a method in common": (
        "routes:\n  - {path: /a, methods: [GET, POST], service: a}\n  - {path: /a, methods: [POST, PUT], service: b}\n",
        3,
        "is routed already",
    ),
    "templates of one shape": (
        'routes:\n  - {path: {template: "/{a}"}, service: a}\n  - {path: {template: "/{b}"}, service: b}\n',
        3,
        "is routed already",
    ),
    "hosts in common": (
        "routes:\n  - {path: /, service: a, hostnames: [a.b, c.d]}\n  - {path: /, service: b, hostnames: [c.d]}\n",
        3,
        "is routed already",
    ),
    "a name twice": (
        "routes:\n  - {name: x, path: /a, service: a}\n  - {name: x, path: /b, service: b}\n",
        3,
        "routes[1].name: 'x' is the name of the route on line 2 already",
    ),
    "no weight": (
        "routes:\n  - path: /a\n    services: {a: 0, b: 0}\n",
        3,
        "routes[0].services: all weights are 0",
    ),
    "Host as a header": (ROUTE + "    request_headers: {set: {host: b}}\n", 4, "use rewrite.host"),
    "framing as a header": (
        ROUTE + "    response_headers: {remove: [content-length]}\n",
        4,
        "the gateway itself sets it",
    ),
    "the connection as a header": (
        ROUTE + "    request_headers: {add: {Connection: x}}\n",
        4,
        "belongs to one connection",
    ),
    "who asks as a header": (ROUTE + "    request_headers: {set: {X-Forwarded-For: x}}\n", 4, "says who asks"),
    "a line end in a header": (ROUTE + '    request_headers: {set: {X-A: "a\\r\\nb"}}\n', 4, "is not valid here"),
    "a prefix of what has none": (
        "routes:\n  - {path: {exact: /a}, service: a, rewrite: /b}\n",
        2,
        "there is no prefix to replace",
    ),
    "a circle": ("routes:\n  - {path: /a, redirect: {status: 301}}\n", 2, "leads to where it came from"),
    "a body of 204": ("routes:\n  - {path: /a, respond: {status: 204, body: x}}\n", 2, "has no body"),
    "no identity": (ROUTE + "    rate_limit: {requests: 1, key: identity}\n", 4, "there is no identity without 'auth'"),
    "an unknown provider": (ROUTE + "    auth: users\n", 4, "there is no 'users' under 'jwt'"),
    "an unknown listener": (ROUTE + "    listeners: [x]\n", 4, "there is no listener 'x'"),
    "a host of no listener": (
        "listeners: [{hostnames: [a.example]}]\n" + ROUTE + "    hostnames: [b.example]\n",
        5,
        "no listener of this route takes 'b.example'",
    ),
    "listeners in one place": ("listeners: [{name: a}, {name: b}]\n" + ROUTE, 1, "is another listener's already"),
    "a breaker that never opens": (ROUTE + "    policy: {breaker: {failure_rate: null}}\n", 4, "opens never"),
    "an origin": (ROUTE + '    cors: {origins: ["shop.example"]}\n', 4, "is not valid here"),
    "any origin with cookies": (ROUTE + '    cors: {origins: ["*"], credentials: true}\n', 4, "credentials never go"),
    "a port of an origin": (ROUTE + '    cors: {origins: ["https://a.b:443"]}\n', 4, "routes[0].cors: browsers leave"),
    "two places of keys": (JWT % "jwks_url: https://a" + ROUTE, 1, "contradict each other"),
    "keys by http": (
        "jwt: {u: {issuer: i, audiences: a, jwks_url: http://id.example/}}\n" + ROUTE,
        1,
        "jwt.u.jwks_url: keys are fetched by https",
    ),
    "a strangled route without a name": (
        "routes:\n  - {path: /a, strangle: {from: a, to: b}}\n",
        2,
        "routes[0].strangle: a strangled route needs a 'name'",
    ),
    "a strangled route that goes nowhere": (STRANGLED % "to: a", 2, "strangle.to: 'a' is where it comes from"),
    "a strangled route without an end": (STRANGLED % "to: b, steps: [1%, 50%]", 2, "the last step is 100%, not 50%"),
    "steps that do not rise": (STRANGLED % "to: b, steps: [5%, 5%, 100%]", 2, "steps[1]: 5% is not more than 5%"),
    "a step of nothing": (STRANGLED % "to: b, steps: [0%, 100%]", 2, "steps[0]: must be a share from 0.01% to 100%"),
    "a strangled route with a service": (
        "routes:\n  - {name: r, path: /a, service: a, strangle: {from: a, to: b}}\n",
        2,
        "'service' and 'strangle' contradict each other",
    ),
    "a strangled route that is sticky twice": (
        "routes:\n  - {name: r, path: /a, sticky: {cookie: c}, strangle: {from: a, to: b}}\n",
        2,
        "'strangle' and 'sticky' contradict each other",
    ),
    "a JSON path that is none": (
        STRANGLED % "to: b, shadow: {ignore: ['lines.price']}",
        2,
        "must be a JSON path such as",
    ),
    "a JSON path that goes too far": (
        STRANGLED % f"to: b, shadow: {{redact: ['${'[*]' * 33}']}}",
        2,
        "redact[0]: a JSON path has at most 32 steps",
    ),
    "two rules in one": (
        STRANGLED % "to: b, shadow: {normalise: [{path: $.a, round: 2, case: true}]}",
        2,
        "'round' and 'case' contradict each other",
    ),
    "a rule that is off": (
        STRANGLED % "to: b, shadow: {normalise: [{path: $.a, case: false}]}",
        2,
        "normalise[0].case: can only be true",
    ),
    "a share beyond all": (STRANGLED % "to: b, shadow: {sample: 101%}", 2, "must be a share from 0.01% to 100%"),
    "a time of another unit": (STRANGLED % "to: b, guard: {interval: 1 h}", 2, "such as 2, 2s or 500ms"),
    "a position with a dot segment": (STRANGLED % "to: b, position: /a/../b", 2, "has a dot segment"),
    "an unsigned token": (JWT % "algorithms: [none]" + ROUTE, 1, "must be one of RS256"),
    "secret and public keys": (JWT % "algorithms: [RS256, HS256]" + ROUTE, 1, "contradict each other"),
    "a claim as Host": (JWT % "claims: {sub: Host}" + ROUTE, 1, "use rewrite.host"),
    "an address with a path": ("services: {a: {url: http://a/b}}\n" + ROUTE, 1, "must be http://HOST:PORT"),
    "mixed addresses": ('services: {a: {urls: ["http://a", "https://a"]}}\n' + ROUTE, 1, "contradict each other"),
    "authorities of plain http": ("services: {a: {url: http://a, ca: x}}\n" + ROUTE, 1, "is for https"),
    "an aggregate of a prefix": (
        "routes:\n  - {path: {prefix: /a}, aggregate: {parts: {a: {service: a, path: /}}}}\n",
        2,
        "matches as a whole",
    ),
    "an unknown variable": (
        'routes:\n  - {path: "/{a}", aggregate: {parts: {a: {service: a, path: "/{b}"}}}}\n',
        2,
        "{b} is not a variable",
    ),
    "the name of what is missing": (
        "routes:\n  - {path: /a, aggregate: {parts: {missing: {service: a, path: /}}}}\n",
        2,
        "is the name of the list",
    ),
    "a fallback that is never used": (
        "routes:\n  - {path: /a, aggregate: {parts: {a: {service: a, path: /, required: true, fallback: 1}}}}\n",
        2,
        "nothing that stands in",
    ),
    "a fallback that JSON has not": (
        "routes:\n  - {path: /a, aggregate: {parts: {a: {service: a, path: /, fallback: 2026-01-01}}}}\n",
        2,
        "must be a value that JSON has",
    ),
    "endless aliases": (
        (
            "x: [&a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a], "
            "&c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b], &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]]\n"
            "routes:\n  - {path: /a, aggregate: {parts: {a: {service: a, path: /, fallback: [*d, *d, *d, *d]}}}}\n"
        ),
        1,
        "unknown key 'x'",
    ),
    "a second document": (ROUTE + "---\n" + ROUTE, 5, "a second document"),
}
"""What is wrong: the text, the line of the first mistake, and what the error says."""

CONTRADICTIONS = {
    *("a dot segment", "a hidden dot segment", "a hidden slash", "a variable in a prefix", "the gateway's own path"),
    *("a variable twice", "a broken regex", "a look-ahead", "a regex of a header", "a doubled header"),
    *("a doubled route", "routes with a method in common", "templates of one shape", "hosts in common", "a name twice"),
    *("no weight", "Host as a header", "framing as a header", "the connection as a header", "who asks as a header"),
    *("a prefix of what has none", "a circle", "a body of 204", "no identity", "an unknown provider"),
    *("an unknown listener", "a host of no listener", "listeners in one place", "a breaker that never opens"),
    *("any origin with cookies", "a port of an origin", "keys by http", "secret and public keys", "a claim as Host"),
    *("mixed addresses", "authorities of plain http", "an aggregate of a prefix", "an unknown variable"),
    *("a strangled route without a name", "a strangled route that goes nowhere", "a strangled route without an end"),
    *("steps that do not rise", "a step of nothing", "a share beyond all"),
    *("a JSON path that goes too far", "a position with a dot segment"),
    *("the name of what is missing", "a fallback that is never used"),
}
"""Those that a schema cannot see: each part is right by itself."""
UNSEEN = {"no YAML", "a key twice", "a second document", "a number of nothing", "a fallback that JSON has not"}
"""Those that are gone, or are no JSON, once YAML is read."""
