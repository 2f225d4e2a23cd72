"""Which calls may leave the process, told by one file alone: the others are only looked at when they lead to one that does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from skerry.architecture.code.calls.raw import Expr, RawCall, RawLoop

VERBS: Final = frozenset(("get", "post", "put", "patch", "delete", "head", "options", "request", "stream", "send"))
_LAST: Final = frozenset(
    (
        "urlopen",
        "open",
        "connect",
        "create_connection",
        "open_connection",
        "fetch",
        "create_pool",
        "create_engine",
        "create_async_engine",
        "SMTP",
        "SMTP_SSL",
        "MongoClient",
        "AsyncIOMotorClient",
        "ws_connect",
        "drain_events",
        "process_data_events",
    )
)
HANDS_ON: Final = {
    "to_thread": 0,
    "run_sync": 0,
    "run_in_threadpool": 0,
    "sync_to_async": 0,
    "call": 0,
    "call_async": 0,
    "submit": 0,
    "map": 0,
    "run_in_executor": 1,
}
"""Names of what calls a function that it is given, and the position of that."""
_ASKS_BY_NAME: Final = ("nameko", "redis", "aioredis", "valkey")
"""Libraries of which any method is a call."""
_STUB: Final = re.compile(r"(?i)stub|client|channel|grpc|rpc|service|proxy")


def last(call: RawCall) -> str:
    """The last name of what is called; `()` where that is itself the result of a call."""
    if call.expr.name == "await":
        return "await"
    head = call.expr.args[0]
    return "()" if head.op == "call" else head.name.rpartition(".")[2]


def handed_on(call: RawCall) -> RawCall | None:
    """A call of a thread, a breaker, a pool as what it comes to: a call of the function that it is given, within it."""
    position = HANDS_ON.get(last(call))
    handed = call.expr.positional(position) if position is not None else None
    if handed is None or position is None or handed.op not in {"name", "attr", "call"}:
        return None
    inner = Expr("call", "", (handed, *call.expr.args[position + 2 :]), call.expr.keys[position + 1 :], call.expr.line)
    loop = RawLoop(call.line, "items", varies=True) if last(call) == "map" else call.loop
    return replace(call, expr=inner, within=(*call.within, call.expr), loop=loop)


def names(call: RawCall) -> tuple[str, ...]:
    """The last names of what is called: its own, and that of a function that it hands on."""
    inner = handed_on(call)
    return (last(call),) if inner is None else (last(call), last(inner))


class Imported:
    """What a file imports, as far as it tells which of its calls are worth a look."""

    def __init__(self, imports: Mapping[str, str]) -> None:
        tops = {name.lstrip(".").split(".")[0] for name in imports.values()}
        self._imports = imports
        self._any = not tops.isdisjoint(_ASKS_BY_NAME)
        self._stubs = any("grpc" in name or "_pb2" in name or name.endswith("Stub") for name in imports.values())
        self._aliases = {local for local, name in imports.items() if name.rpartition(".")[2] in VERBS | _LAST}
        self._partial = any(name in {"functools", "functools.partial"} for name in imports.values())

    def may_leave(self, call: RawCall) -> bool:
        """Whether a call looks like one that waits for somebody else."""
        name = last(call)
        if name in {"await", "()"} or name in _LAST or name in HANDS_ON or self._any:
            return True
        head = call.expr.args[0]
        if head.op == "name" and "." not in head.name:
            return head.name in self._aliases or self._partial
        if name in VERBS:
            return self._asks(call, name)
        return self._stubs or name in {"wait", "future"} or (name[:1].isupper() and self._may_be_stub(head.name))

    def _may_be_stub(self, name: str) -> bool:
        """Whether something with a method like `Reserve` may be a stub; what is imported is mostly a module with classes."""
        root = name.partition(".")[0]
        return root not in self._imports or bool(_STUB.search(name))

    def _asks(self, call: RawCall, name: str) -> bool:
        """Whether `get` and the like have an argument that may be an address; the result of a task is asked for without."""
        first = call.expr.given("url", 0) or call.expr.given("path", 0) or call.expr.keyword("method")
        if first is None:
            return bool(call.expr.spread) or name == "get"
        return first.op not in {"num", "none", "bool"} and not (
            first.op == "text" and not first.args and first.name and "/" not in first.name and name in {"get", "delete"}
        )
