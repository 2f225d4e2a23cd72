"""Systems made of facts by hand: calls without a parser, a model without manifests."""

from __future__ import annotations

from collections.abc import Mapping

from skerry.architecture.code.facts import Bound, Call, Code, Guard, Kind, Loop, Role, Target, Timeout
from skerry.architecture.model import Edge, Evidence, Service, Source, SystemModel
from skerry.architecture.rules import Subject
from skerry.architecture.source import Place
from skerry.architecture.traces.spans import Traces

FILE = "api/app.py"
BREAKER = Guard("pybreaker", Place(FILE, 1))
LIMITED = Timeout(Bound.BOUNDED, 2.0, "timeout=2")
PEER = Target("http://peer:8000")
ENDLESS = Timeout(Bound.UNBOUNDED, None, "requests has no limit of its own")


class Nothing:
    """No file is read."""

    sizes: Mapping[str, int] = {}
    skipped = ()

    def read(self, path: str) -> bytes:
        raise KeyError(path)


def call(
    line: int,
    *,
    timeout: Timeout = LIMITED,
    kind: Kind = Kind.HTTP,
    role: Role = Role.REQUEST,
    breaker: Guard | None = None,
    loop: Loop | None = None,
    target: Target = PEER,
    function: str = "ask",
    library: str = "requests",
) -> Call:
    return Call(
        place=Place(FILE, line),
        function=function,
        library=library,
        kind=kind,
        operation="GET",
        target=target,
        path="/a",
        timeout=timeout,
        breaker=breaker,
        loop=loop,
        role=role,
    )


def subject(
    *calls: Call, guarded: bool = False, traces: Traces | None = None, to_peer: tuple[Call, ...] | None = None
) -> Subject:
    """The service `api` makes the calls; those to `to_peer`, else all to http://peer, are an edge to the service `peer`."""
    peers = tuple(each for each in calls if each.target.url == "http://peer:8000") if to_peer is None else to_peer
    remote = tuple(each for each in peers if each.kind in {Kind.HTTP, Kind.GRPC, Kind.RPC})
    edges = (Edge(caller="api", callee="peer", waits=True, calls=remote),) if remote else ()
    model = SystemModel(
        services={name: Service(name=name, roots=(name,)) for name in ("api", "peer")},
        edges=edges,
        guarded={"peer": (Evidence("outlier detection", Source.DEPLOY),)} if guarded else {},
    )
    files = {FILE: Role.REQUEST, "peer/app.py": Role.REQUEST}
    code = Code(calls=calls, roles=files, lines=dict.fromkeys(files, 10))
    return Subject(files=Nothing(), code=code, model=model, traces=traces)
