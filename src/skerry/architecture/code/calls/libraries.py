"""Which calls of which libraries wait for somebody else, and what each library does when it is told nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from skerry.architecture.code.calls import databases, ours
from skerry.architecture.code.calls.arguments import Arguments, arguments
from skerry.architecture.code.calls.bounds import Bounds
from skerry.architecture.code.calls.likely import VERBS
from skerry.architecture.code.calls.seen import Seen, texts
from skerry.architecture.code.calls.values import Is, Scope, Value, chain
from skerry.architecture.code.calls.world import World
from skerry.architecture.code.facts import Bound, Guard, Kind, Timeout
from skerry.architecture.source import Place

_FUNCTIONS: Final = re.compile(r"^(requests|httpx2?|aiohttp|urllib3)(?:\.api)?\.(\w+)$")
_CLIENTS: Final = (
    (
        re.compile(
            r"^requests\.(?:sessions\.)?[Ss]ession$|^requests_toolbelt\..*Session$|^cachecontrol\.CacheControl$"
        ),
        "requests",
    ),
    (re.compile(r"^httpx2?\.(?:Async)?Client$"), "httpx"),
    (re.compile(r"^aiohttp\.(?:client\.)?ClientSession$|^aiohttp_retry\.RetryClient$"), "aiohttp"),
    (re.compile(r"^tornado\.(?:httpclient|curl_httpclient)\.\w*HTTPClient$"), "tornado"),
    (re.compile(r"^urllib3\.(?:PoolManager|ProxyManager|HTTPS?ConnectionPool)$"), "urllib3"),
)
_DEFAULTS: Final = {
    "httpx": Timeout(Bound.DEFAULT, 5.0, "what httpx does when it is told nothing"),
    "aiohttp": Timeout(Bound.DEFAULT, 300.0, "what aiohttp does when it is told nothing"),
    "tornado": Timeout(Bound.DEFAULT, 20.0, "what tornado does when it is told nothing"),
    "nats": Timeout(Bound.DEFAULT, 0.5, "what nats-py does when it is told nothing"),
    "aio_pika": Timeout(Bound.UNBOUNDED, None, "an answer that does not come is waited for for ever"),
    "requests": Timeout(Bound.UNBOUNDED, None, "requests waits for ever when it is told nothing"),
    "urllib3": Timeout(Bound.UNBOUNDED, None, "urllib3 waits for ever when it is told nothing"),
    "urllib": Timeout(Bound.UNBOUNDED, None, "urllib waits for ever when it is told nothing"),
    "grpc": Timeout(Bound.UNBOUNDED, None, "a gRPC call without a deadline waits for ever"),
    "celery": Timeout(Bound.UNBOUNDED, None, "a result without a time-out is waited for for ever"),
    "nameko": Timeout(Bound.UNBOUNDED, None, "a nameko proxy waits for its answer for ever"),
    "redis": Timeout(Bound.UNBOUNDED, None, "a client without socket_timeout waits for ever"),
}
_READS: Final = re.compile(
    r"^(?:Get|List|Find|Search|Count|Check|Is|Has|Read|Fetch|Query|Lookup|Describe|Validate|Ping|Show)", re.IGNORECASE
)
_STUB: Final = re.compile(r"(\w*?)(?:Async)?Stub$")
_UNARY: Final = frozenset(("unary_unary", "unary_stream", "stream_unary", "stream_stream"))
_REDIS: Final = re.compile(
    r"^(?:redis|aioredis|valkey|fakeredis|rediscluster)\.(?:[\w.]*\.)?(?:Strict)?(?:Redis|Valkey|RedisCluster|from_url)"
)
_OWN_COMMANDS: Final = frozenset(
    ("pipeline", "pubsub", "close", "aclose", "register_script", "lock", "from_url", "connection_pool")
)
_QUEUES: Final = ("aio_pika", "aiormq", "aiokafka", "nats", "pika", "kombu", "aiomqtt", "stomp")


@dataclass(frozen=True, slots=True)
class Libraries:
    """Recognises calls of libraries."""

    world: World
    bounds: Bounds
    setdefault: frozenset[str]
    """Top folders in which `socket.setdefaulttimeout` is called."""

    def seen(self, callee: Value, args: Arguments) -> Seen | None:
        """What a call of `callee` is, None for what does not leave the process."""
        if callee.kind is Is.EXTERNAL:
            return self._function(callee, args)
        if callee.kind is Is.MADE and callee.name in _UNARY and callee.base is not None:
            return self._by_channel(callee, args)
        if callee.kind is not Is.MEMBER:
            return None
        root, way = chain(callee)
        if root.kind is not Is.MADE:
            return None
        for recognise in (self._http, self._grpc, self._skerry, self._celery, self._redis, self._nameko, self._queue):
            found = recognise(root, way, args)
            if found is not None:
                return found
        return None

    def _default(self, library: str) -> Timeout:
        return _DEFAULTS[library]

    def _function(self, callee: Value, args: Arguments) -> Seen | None:
        plain = _FUNCTIONS.match(callee.name)
        if plain and plain[2] in VERBS - {"send"} and (plain[1] != "aiohttp" or plain[2] == "request"):
            library = "httpx" if plain[1] == "httpx2" else plain[1]
            return self._asked(library, plain[2], None, args)
        if callee.name in {"urllib.request.urlopen", "urllib2.urlopen", "six.moves.urllib.request.urlopen"}:
            url = args.value("url", 0)
            data = args.given("data", 1)
            if url.kind is Is.MADE and url.name.endswith("Request"):
                request = arguments(self.world, url, args.scope)
                data = data or request.given("data", 1)
                url = request.value("url", 0)
            limit = self._given(args, "timeout", 2) or self._sockets(args, self._default("urllib"))
            return Seen(library="urllib", kind=Kind.HTTP, operation="POST" if data else "GET", limit=limit, url=url)
        if callee.name == "socket.create_connection":
            none = Timeout(Bound.UNBOUNDED, None, "a socket without a time-out waits for ever")
            limit = self._given(args, "timeout", 1) or self._sockets(args, none)
            return Seen(library="socket", kind=Kind.SOCKET, operation="connect", limit=limit)
        if callee.name == "asyncio.open_connection":
            none = Timeout(Bound.UNBOUNDED, None, "connecting waits for as long as the system does")
            return Seen(library="asyncio", kind=Kind.SOCKET, operation="connect", limit=none)
        if callee.name in {"smtplib.SMTP", "smtplib.SMTP_SSL"} and args.expr is not None and len(args.expr.args) > 1:
            none = Timeout(Bound.UNBOUNDED, None, "smtplib waits for ever when it is told nothing")
            limit = self._given(args, "timeout", 3 if callee.name.endswith("P") else 5) or self._sockets(args, none)
            return Seen(library="smtplib", kind=Kind.SOCKET, operation="connect", limit=limit)
        return databases.connection(callee, args)

    def _given(self, args: Arguments, name: str, index: int = -1) -> Timeout | None:
        found = args.given(name, index)
        if found is not None:
            return self.bounds.explicit(found)
        if args.open_ended():
            return Timeout(Bound.UNKNOWN, None, "what is passed as ** is not seen")
        if args.passed_on():
            return self._passed_on(args, name)
        return None

    def _passed_on(self, args: Arguments, name: str) -> Timeout | None:
        """The worst that callers give to a function that passes its `**kwargs` on; None where one gives nothing."""
        known = self.world.functions[args.scope.file, args.scope.function]
        callers = self.world.callers(args.scope.file, known.name) if args.scope.frame is None else []
        limits = []
        for where, call in callers:
            given = self.world.frame(known, call.expr, where).get(name)
            if given is None:
                return None
            limits.append(self.bounds.explicit(given))
        return max(limits, key=lambda each: each.bound is Bound.UNBOUNDED) if limits else None

    def _sockets(self, args: Arguments, none: Timeout) -> Timeout:
        if args.scope.file.split("/")[0] in self.setdefault:
            return Timeout(Bound.BOUNDED, None, "socket.setdefaulttimeout")
        return none

    # --- HTTP

    def _http(self, root: Value, way: tuple[str, ...], args: Arguments) -> Seen | None:
        library = next((name for pattern, name in _CLIENTS if pattern.match(root.name)), None)
        if library is not None and len(way) == 1 and (way[0] in VERBS or way[0] in {"urlopen", "ws_connect"}):
            return self._asked(library, way[0], root, args)
        if library == "tornado" and way == ("fetch",):
            return self._fetched(root, args)
        if root.name in {"http.client.HTTPConnection", "http.client.HTTPSConnection"} and way == ("request",):
            made = arguments(self.world, root, args.scope)
            limit = self._given(made, "timeout", 2) or self._sockets(args, self._default("urllib"))
            method = args.value("method", 0)
            operation = method.name if method.kind is Is.TEXT else "REQUEST"
            return Seen(
                library="http.client",
                kind=Kind.HTTP,
                operation=operation,
                limit=limit,
                client=root,
                url=args.value("url", 1),
                base=made.value("host", 0),
            )
        if root.name.endswith("build_opener") and way == ("open",):
            limit = self._given(args, "timeout", 2) or self._sockets(args, self._default("urllib"))
            return Seen(library="urllib", kind=Kind.HTTP, operation="GET", limit=limit, url=args.value("fullurl", 0))
        return None

    def _fetched(self, root: Value, args: Arguments) -> Seen:
        """A call of tornado's client: with an address, or with a request that has one."""
        url, asked = args.value("request", 0), args
        if url.kind is Is.MADE and url.name.endswith("HTTPRequest"):
            asked = arguments(self.world, url, args.scope)
            url = asked.value("url", 0)
        limit = (
            self._given(args, "request_timeout") or self._given(asked, "request_timeout") or self._default("tornado")
        )
        method = asked.value("method", 1 if asked is not args else -1)
        operation = method.name.upper() if method.kind is Is.TEXT else "GET"
        return Seen(library="tornado", kind=Kind.HTTP, operation=operation, limit=limit, client=root, url=url)

    def _asked(self, library: str, verb: str, client: Value | None, args: Arguments) -> Seen:
        with_method = verb in {"request", "stream"} or (library == "urllib3" and verb == "urlopen")
        method = args.value("method", 0) if with_method else None
        operation = verb.upper() if method is None else method.name.upper() if method.kind is Is.TEXT else "REQUEST"
        made = arguments(self.world, client, args.scope) if client is not None else None
        base = made.value("base_url", 0 if library == "aiohttp" else -1) if made else None
        limit = self._given(args, "timeout") or self._of_client(library, client, made)
        url = None if verb == "send" else args.value("url", 1 if with_method else 0)
        return Seen(
            library=library, kind=Kind.HTTP, operation=operation, limit=limit, client=client, url=url, base=base
        )

    def _of_client(self, library: str, client: Value | None, made: Arguments | None) -> Timeout:
        if client is None or made is None:
            return self._default(library)
        if library == "requests":
            return self._by_adapter(client, made) or self._default(library)
        found = self._given(made, "timeout")
        return found if found is not None else self._default(library)

    def _by_adapter(self, client: Value, made: Arguments) -> Timeout | None:
        """What an adapter that is mounted on a session does, or the session's own class."""
        owners = [client.base] if client.base is not None and client.base.kind is Is.INSTANCE else []
        for path, call in self.world.bodies.named("mount"):
            if path == made.scope.file and call.expr.args[0].op in {"name", "attr"}:
                scope = self.world.scope(path, call)
                target = self.world.value(call.expr.args[0], scope)
                same = target.kind is Is.MEMBER and target.base is not None and target.base.expr is client.expr
                if same and client.expr is not None:
                    adapter = self.world.value(call.expr.positional(1), scope)
                    given = adapter.expr.keyword("timeout") if adapter.expr is not None else None
                    if given is not None and adapter.scope is not None:
                        return self.bounds.explicit((given, adapter.scope))
                    owners.append(adapter)
        for owner in owners:
            for each in self.world.lineage(owner.file, owner.name) if owner.kind is Is.INSTANCE else ():
                for method in ("send", "request"):
                    known = self.world.functions.get((each.file, f"{each.name}.{method}"))
                    if known is not None and known.sets:
                        place = Place(each.file, known.line)
                        return Timeout(Bound.BOUNDED, None, f"{each.name}.{method} gives it one", place)
        return None

    # --- RPC

    def _grpc(self, root: Value, way: tuple[str, ...], args: Arguments) -> Seen | None:
        module, _, name = root.name.rpartition(".")
        stub = _STUB.match(name)
        if (
            stub is None
            or not way
            or not (module.endswith("_grpc") or "grpc" in module or "pb2" in module or not module)
        ):
            return None
        made = arguments(self.world, root, args.scope)
        channel = made.value("channel", 0)
        future = way[-1] == "future"
        if len(way) > 2 or way[0].startswith("_"):
            return None
        limit = self._given(args, "timeout", 1) or self._of_channel(channel)
        if future and limit.bound is Bound.UNBOUNDED:
            limit = Timeout(Bound.UNKNOWN, None, "the call is a future; who waits for it is not followed")
        return self._remote(way[0], limit, channel, stub[1])

    def _by_channel(self, callee: Value, args: Arguments) -> Seen | None:
        """`channel.unary_unary("/package.Service/Method", ...)` that is called."""
        made = arguments(self.world, callee, args.scope)
        path = made.value("method", 0).name
        channel = callee.base
        if channel is None:
            return None
        own = self._own_channel(channel)
        limit = self._given(args, "timeout", 1) or (own[0] if own else self._of_channel(channel))
        service, _, method = path.strip("/").rpartition("/")
        seen = self._remote(method or path, limit, channel, service.rpartition(".")[2])
        if own is None:
            return seen
        return Seen(
            library="skerry",
            kind=Kind.GRPC,
            operation=seen.operation,
            limit=limit,
            client=channel,
            service=own[2],
            breaker=own[1],
            writes=seen.writes,
        )

    def _remote(self, method: str, limit: Timeout, channel: Value, service: str) -> Seen:
        address = arguments(self.world, channel, Scope(""))
        where = address.value("target", 0) if channel.kind is Is.MADE and address.expr is not None else None
        return Seen(
            library="grpc",
            kind=Kind.GRPC,
            operation=method,
            limit=limit,
            client=channel,
            url=where,
            service=service,
            writes=not _READS.match(method),
        )

    def _of_channel(self, channel: Value) -> Timeout:
        for each in (channel, channel.base):
            if each is None or each.kind is not Is.MADE or each.expr is None:
                continue
            if each.name.endswith("intercept_channel") or each.expr.keyword("interceptors") is not None:
                return Timeout(Bound.UNKNOWN, None, "the channel has interceptors, which may set a deadline")
            if '"timeout"' in texts(each.expr):
                return Timeout(Bound.BOUNDED, None, "the channel's service config")
        return self._default("grpc")

    def _nameko(self, root: Value, way: tuple[str, ...], args: Arguments) -> Seen | None:
        last = root.name.rpartition(".")[2]
        if not root.name.startswith("nameko") or last not in {
            "RpcProxy",
            "ServiceRpc",
            "ClusterRpcProxy",
            "ClusterRpc",
        }:
            return None
        made = arguments(self.world, root, args.scope)
        cluster = last.startswith("Cluster")
        way = tuple(each for each in way if each not in {"()", "start"})
        if way and way[-1] == "call_async":
            return None
        if len(way) != (2 if cluster else 1):
            return None
        service = way[0] if cluster else made.value("target_service", 0).name
        limit = (self._given(made, "timeout", 2) if cluster else None) or self._default("nameko")
        writes = not _READS.match(way[-1])
        return Seen(
            library="nameko", kind=Kind.RPC, operation=way[-1], limit=limit, client=root, service=service, writes=writes
        )

    def _celery(self, root: Value, way: tuple[str, ...], args: Arguments) -> Seen | None:
        of_task = len(way) >= 2 and way[-2] == "()" and bool({"send_task", "delay", "apply_async"} & set(way))
        known = root.name.endswith("AsyncResult") and way == ("get",)
        if not (way and way[-1] in {"get", "wait"} and (of_task or known)):
            return None
        limit = self._given(args, "timeout", 0) or self._default("celery")
        return Seen(library="celery", kind=Kind.RPC, operation="result", limit=limit, client=root, writes=True)

    def _queue(self, root: Value, way: tuple[str, ...], args: Arguments) -> Seen | None:
        """What waits for the next message of a queue, in a library that sends requests over one."""
        calls = way[-1] if way else ""
        if root.name in {"nats.connect", "nats.aio.client.Client"} and calls == "request":
            return self._by_subject("nats", root, self._given(args, "timeout", 2), args.value("subject", 0))
        if root.name.startswith("aio_pika.patterns") and calls == "call":
            return self._by_subject("aio_pika", root, self._given(args, "expiration", 2), args.value("method_name", 0))
        waits = {"drain_events": "timeout", "process_data_events": "time_limit"}.get(way[-1]) if way else None
        if waits is None or not root.name.startswith(_QUEUES):
            return None
        none = Timeout(Bound.UNBOUNDED, None, "the next message is waited for for ever")
        limit = self._given(args, waits, 0) or none
        return Seen(library=root.name.split(".")[0], kind=Kind.RPC, operation=way[-1], limit=limit, client=root)

    def _by_subject(self, library: str, root: Value, given: Timeout | None, subject: Value) -> Seen:
        """A question that is put to whoever listens on a subject."""
        operation = subject.name if subject.kind is Is.TEXT else "request"
        limit = given or self._default(library)
        own = operation.startswith("$")  # of the broker itself, such as $JS.API
        writes = not own and not _READS.match(operation.rpartition(".")[2])
        kind = Kind.BROKER if own else Kind.RPC
        return Seen(library=library, kind=kind, operation=operation, limit=limit, client=root, writes=writes)

    # --- skerry

    def _skerry(self, root: Value, way: tuple[str, ...], args: Arguments) -> Seen | None:
        if not root.name.startswith("skerry.") or not way or way[-1] not in VERBS:
            return None
        direct = root.name.endswith("ServiceClient") and len(way) == 1
        of_service = root.name.endswith(".Service") and way[:2] == ("client", "()") and len(way) == 3
        if not direct and not of_service:
            return None
        client = root
        if of_service:
            callee_base = args_base(args, self.world)
            client = callee_base if callee_base is not None else root
        made = arguments(self.world, client, args.scope)
        limit, breaker = self._policy(made)
        limit = self._given(args, "timeout") or limit
        with_method = way[-1] in {"request", "stream"}
        return Seen(
            library="skerry",
            kind=Kind.HTTP,
            operation=way[-1].upper(),
            limit=limit,
            client=client,
            url=args.value("path", 1 if with_method else 0),
            service=made.value("service", 0).name,
            breaker=breaker,
        )

    def _own_channel(self, channel: Value) -> tuple[Timeout, Guard | None, str] | None:
        named = channel.kind is Is.MADE and channel.name in {
            "channel",
            "grpc_channel",
            "skerry.client.grpc.grpc_channel",
        }
        root, _ = chain(channel)
        if not named or not (root.name.startswith("skerry.") or channel.name.startswith("skerry.")):
            return None
        made = arguments(self.world, channel, Scope(""))
        return (*self._policy(made), made.value("service", 0).name)

    def _policy(self, made: Arguments) -> tuple[Timeout, Guard | None]:
        """The limit and the breaker of a client's policy, or of the one that it has when it is given none."""
        given = made.given("policy")
        place = Place(made.scope.file, made.expr.line) if made.expr is not None else None
        if given is None:
            guard = Guard("the default policy", place) if place is not None else None
            return ours.default("client", place), guard
        policy = self.world.value(*given)
        if policy.kind is not Is.MADE or policy.expr is None or policy.scope is None:
            return Timeout(Bound.UNKNOWN, None, "the policy is not seen", place), None
        args = arguments(self.world, policy, policy.scope)
        where = Place(policy.scope.file, policy.line)
        breaker = args.given("breaker")
        sure = breaker is not None and self.world.value(*breaker).kind not in {Is.NONE, Is.UNKNOWN}
        guard = Guard("CircuitBreaker", where) if sure else None
        total, attempt = args.given("total"), args.given("attempt")
        limit = self.bounds.explicit(total) if total is not None else ours.default("Policy", where)
        if limit.bound is Bound.UNBOUNDED and attempt is not None:
            limit = self.bounds.explicit(attempt)
        return limit, guard

    # --- caches

    def _redis(self, root: Value, way: tuple[str, ...], args: Arguments) -> Seen | None:
        if not _REDIS.match(root.name) or len(way) != 1 or way[0] in _OWN_COMMANDS:
            return None
        made = arguments(self.world, root, args.scope)
        own = self._given(args, "timeout") if way[0].startswith(("b", "x")) else None
        limit = own if own is not None and own.bound is Bound.BOUNDED else self._given(made, "socket_timeout")
        if limit is None:
            address = made.value("url", 0) if root.name.endswith("from_url") else None
            limit = self._default("redis")
            if made.expr is None or (address is not None and address.variables) or made.given("connection_pool"):
                limit = Timeout(Bound.UNKNOWN, None, "how the connection is made is not seen")
        if limit.place is None and root.scope is not None and root.line:
            limit = Timeout(limit.bound, limit.seconds, limit.why, Place(root.scope.file, root.line))
        url = made.value("url", 0) if root.name.endswith("from_url") else None
        return Seen(library="redis", kind=Kind.CACHE, operation=way[0], limit=limit, client=root, url=url)


def args_base(args: Arguments, world: World) -> Value | None:
    """What the called member belongs to."""
    if args.expr is None:
        return None
    callee = world.value(args.expr.args[0], args.scope)
    return callee.base
