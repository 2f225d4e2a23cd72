"""What a console tells of a small shop: well, with payment down, and with names that somebody made to hurt."""

from __future__ import annotations

from typing import Any

AT = 1_789_999_511.0
EVIL = '<img src=x onerror="window.hit=1"></script><svg onload="window.hit=1">\u202egnol\'"`${window.hit=1}'
SAGA = {
    "service": "order",
    "id": "01JC8XK1E7",
    "name": "checkout",
    "key": "order-4711",
    "status": "stuck",
    "reason": "refund failed 5 times: the card has expired",
    "started_at": AT - 420,
    "changed_at": AT - 180,
}
TIMELINE = [
    {"at": AT - 420, "what": "started", "step": "", "note": "", "by_hand": False},
    {"at": AT - 419.9, "what": "done", "step": "reserve_stock", "note": "", "by_hand": False},
    {"at": AT - 419.2, "what": "done", "step": "charge_card", "note": "", "by_hand": False},
    {"at": AT - 412, "what": "failed", "step": "ship", "note": "the address is refused", "by_hand": False},
    {"at": AT - 180, "what": "stuck", "step": "refund", "note": "the card has expired", "by_hand": False},
]
DEAD = {
    "service": "search",
    "id": 17,
    "group": "search",
    "event_id": "01JC8XJ90Q",
    "type": "shop.order.placed",
    "key": "order-4698",
    "attempts": 5,
    "reason": "ValidationError: total is missing",
    "parked_at": AT - 300,
    "held": 3,
    "age": 300.0,
}
MORE = {
    "description": "",
    "step": 15.0,
    "slowness": [0.041] * 60,
    "database": {"reached": True, "since": AT - 7260, "error": ""},
}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPANS: list[dict[str, Any]] = [
    {"id": "a1", "parent": None, "service": "gateway", "name": "POST /orders", "kind": "server", "at": AT - 9,
     "seconds": 1.42, "error": True, "attributes": {"http.response.status_code": 503}},
    {"id": "b2", "parent": "a1", "service": "order", "name": "POST /orders", "kind": "server", "at": AT - 8.99,
     "seconds": 1.40, "error": True, "attributes": {"http.route": "/orders"}},
    {"id": "c3", "parent": "b2", "service": "order", "name": "stock.reserve", "kind": "client", "at": AT - 8.98,
     "seconds": 0.06, "error": False, "attributes": {"skerry.attempts": 1}},
    {"id": "d4", "parent": "c3", "service": "stock", "name": "POST /reserve", "kind": "server", "at": AT - 8.97,
     "seconds": 0.04, "error": False, "attributes": {}},
    {"id": "e5", "parent": "b2", "service": "order", "name": "payment.charge", "kind": "client", "at": AT - 8.9,
     "seconds": 1.3, "error": True, "attributes": {"skerry.attempts": 3, "error.type": "CircuitOpen"}},
]  # fmt: skip


def service(name: str, *, rate: float = 12.0, p95: float = 0.041, **changed: Any) -> dict[str, Any]:
    """One that is well, but for what is `changed`."""
    well = {
        "name": name,
        "kind": "service",
        "state": "ready",
        "since": AT - 7260,
        "rate": rate,
        "errors": 0.0,
        "p95": p95,
        "retries": 0.0,
        "shed": 0.0,
        "outbox": None,
        "history": [0.0] * 60,
        "traffic": [rate] * 60,
    }
    return well | changed


def edge(source: str, target: str, *, kind: str = "call", rate: float = 12.0, **changed: Any) -> dict[str, Any]:
    """One that is well, but for what is `changed`."""
    well = {
        "from": source,
        "to": target,
        "kind": kind,
        "rate": rate,
        "errors": 0.0,
        "p95": 0.03,
        "breaker": "closed",
        "lag": None,
    }
    return well | ({"breaker": None, "lag": 0, "p95": None} if kind == "event" else {}) | changed


def healthy() -> dict[str, Any]:
    """All is well, and has been for two hours."""
    return {
        "at": AT,
        "version": 1,
        "system": "shop",
        "sentence": {
            "level": "ok",
            "text": "All 6 services are well, for 2 h 1 min",
            "subject": None,
            "since": AT - 7260,
            "damage": "",
            "safe": "",
        },
        "strip": {
            "breakers": [
                {"service": "gateway", "policy": "order", "state": "closed", "since": AT - 7260},
                {"service": "order", "policy": "stock", "state": "closed", "since": AT - 7260},
                {"service": "order", "policy": "payment", "state": "closed", "since": AT - 7260},
            ],
            "outboxes": [
                {"service": "order", "rows": 0, "oldest": None},
                {"service": "payment", "rows": 0, "oldest": None},
            ],
            "sagas": {"running": 3, "compensating": 0, "stuck": 0},
        },
        "services": [
            service("gateway", kind="gateway", p95=0.062),
            service("order", p95=0.055, outbox={"rows": 0, "oldest": None}),
            service("payment", rate=9.1, outbox={"rows": 0, "oldest": None}),
            service("stock", p95=0.012),
            service("search", rate=31.0, p95=0.008),
            service("shipping", rate=4.2, p95=0.02),
        ],
        "edges": [
            edge("gateway", "order"),
            edge("gateway", "search", rate=31.0),
            edge("order", "stock"),
            edge("order", "payment", rate=9.1),
            edge("order", "shipping", kind="event", rate=4.2),
            edge("order", "search", kind="event", rate=12.0),
        ],
        "changes": [],
        "people": [],
    }


def payment_down() -> dict[str, Any]:
    """Payment has been killed three minutes ago: its callers fail, the outbox of order grows, a saga is stuck."""
    view = healthy()
    rising = [0.0] * 48 + [0.2, 0.36] + [0.38] * 10
    view["version"] = 2
    view["sentence"] = {
        "level": "down",
        "text": "payment is down since 14:02:11; 38 % of orders fail; 212 events wait, none is lost",
        "subject": "payment",
        "since": AT - 180,
        "damage": "38 % of orders fail",
        "safe": "212 events wait in the outbox of order, none is lost",
    }
    view["strip"]["breakers"][2] |= {"state": "open", "since": AT - 176}
    view["strip"]["outboxes"][0] |= {"rows": 212, "oldest": 171.0}
    view["strip"]["sagas"] = {"running": 3, "compensating": 4, "stuck": 1}
    view["services"] = [
        service(
            "payment", state="down", since=AT - 180, rate=0.0, errors=1.0, p95=None, history=[0.0] * 48 + [1.0] * 12
        ),
        service("order", errors=0.38, p95=1.4, retries=0.11, outbox={"rows": 212, "oldest": 171.0}, history=rising),
        service("gateway", kind="gateway", errors=0.29, p95=1.42, shed=0.004, history=[each * 0.8 for each in rising]),
        service("search", rate=31.0, p95=0.008),
        service("shipping", rate=0.4, p95=0.02),
        service("stock", p95=0.012),
    ]
    view["edges"] = [
        edge("gateway", "order", errors=0.38),
        edge("gateway", "search", rate=31.0),
        edge("order", "stock"),
        edge("order", "payment", rate=0.3, errors=1.0, breaker="open", p95=1.3),
        edge("order", "shipping", kind="event", rate=0.4, lag=212),
        edge("order", "search", kind="event", rate=12.0),
    ]
    view["changes"] = [
        {"at": AT - 120, "service": "order", "kind": "saga", "text": "saga checkout order-4711 is stuck at refund"},
        {"at": AT - 176, "service": "order", "kind": "breaker", "text": "breaker to payment opened"},
        {"at": AT - 180, "service": "payment", "kind": "state", "text": "stopped answering, killed by signal 9"},
        {"at": AT - 197, "service": "payment", "kind": "release", "text": "version 42 started"},
    ]
    view["people"] = [
        {
            "kind": "saga",
            "service": "order",
            "id": SAGA["id"],
            "title": "checkout order-4711 is stuck",
            "detail": SAGA["reason"],
            "since": AT - 180,
            "actions": ["retry", "skip", "resolve"],
        },
        {
            "kind": "dead",
            "service": "search",
            "id": 17,
            "title": "shop.order.placed of order-4698 could not be handled",
            "detail": "ValidationError: total is missing (5 attempts, 3 held behind it)",
            "since": AT - 300,
            "actions": ["replay", "drop"],
        },
    ]
    return view


def hostile() -> dict[str, Any]:
    """Everything that anybody outside can name has an evil name."""
    view = payment_down()
    view["system"] = EVIL
    view["sentence"] |= {"text": EVIL, "subject": EVIL, "damage": EVIL, "safe": EVIL}
    view["services"] = [service(EVIL, state="down", errors=1.0), *view["services"][1:]]
    view["edges"].append(edge("order", EVIL, errors=0.5, breaker="open"))
    view["strip"]["breakers"].append({"service": EVIL, "policy": EVIL, "state": "open", "since": AT})
    view["strip"]["outboxes"].append({"service": EVIL, "rows": 9, "oldest": 3.0})
    view["changes"] = [{"at": AT, "service": EVIL, "kind": EVIL, "text": EVIL}]
    view["people"] = [each | {"service": EVIL, "title": EVIL, "detail": EVIL} for each in view["people"]]
    return view


def answers() -> dict[str, Any]:
    """The other pages, by their path below `/api/`."""
    letter = DEAD | {
        "state": "dead",
        "body": None,
        "envelope": {"type": DEAD["type"], "data": {"order_id": "order-4698"}},
    }
    saga = {key: SAGA[key] for key in ("service", "id", "key", "status", "reason")}
    saga |= {
        "saga": "checkout",
        "version": 1,
        "trace": TRACE,
        "parent": None,
        "children": [],
        "steps": {"charge_card": "done"},
        "stands_at": "refund",
        "timeline": TIMELINE,
    }
    line = {
        "id": TRACE,
        "name": "POST /orders",
        "service": "gateway",
        "at": AT - 9,
        "seconds": 1.42,
        "spans": 5,
        "errors": 3,
    }
    return {
        "traces": [
            line,
            line | {"id": "0" * 31 + "1", "name": "GET /search", "seconds": 0.008, "spans": 2, "errors": 0},
        ],
        f"traces/{TRACE}": {"id": TRACE, "spans": SPANS},
        "sagas": {
            "errors": [],
            "sagas": [SAGA, SAGA | {"id": "01JC8XK2AA", "key": "order-4712", "status": "running", "reason": ""}],
        },
        f"sagas/order/{SAGA['id']}": saga,
        "dead": {"dead": [DEAD], "total": 1, "errors": []},
        "dead/search/17": letter,
        "strangler": [ramp()],
        "checks": {"checks": checks(), "available": True},
        "audit": {"audit": []},
        **{f"service?name={each['name']}": each | MORE | {"traces": [line]} for each in payment_down()["services"]},
    }


def ramp() -> dict[str, Any]:
    """A route of which a quarter goes to the new service."""
    return {
        "route": "orders",
        "from": "monolith",
        "to": "order",
        "state": "ramping",
        "percent": 25.0,
        "steps": [5.0, 25.0, 50.0, 100.0],
        "owner": "control",
        "needs": "about 1,800 more requests at 25 %",
        "control": {"requests": 5400, "errors": 9, "refused": 1, "slow": 270, "timed": 5390},
        "candidate": {"requests": 1800, "errors": 2, "refused": 0, "slow": 81, "timed": 1798},
        "pairs": 640,
        "differing": 2,
        "evidence": {"errors": 0.4, "refused": 0.7, "latency": 1.9, "mismatches": 6.2},
        "limit": 100.0,
        "mismatches": [],
        "decision": {"at": AT - 90, "verdict": "promote", "by": "evidence", "before": 5.0, "after": 25.0,
                     "reason": "as good", "numbers": {}, "effective": AT - 89.9},
        "exit": 0,
    }  # fmt: skip


def checks() -> dict[str, Any]:
    """One thing that must never be, and nothing else."""
    finding = {
        "rule": "shared-database",
        "verdict": "violation",
        "severity": "error",
        "services": ["order", "payment"],
        "file": "payment/store.py",
        "line": 12,
        "message": "payment reads the table orders, which belongs to order",
        "fingerprint": "f1",
        "evidence": [],
        "why": "Two services that share tables cannot be changed apart.",
        "fix": "Let payment keep what it needs from the events of order.",
    }
    return {"findings": [finding], "unknown": [], "clean": [], "unparsed": 0, "skipped": [], "allowed": [], "known": [],
            "gone": [], "remarks": [], "rules": [], "services": 6, "files": 48, "part": None}  # fmt: skip
