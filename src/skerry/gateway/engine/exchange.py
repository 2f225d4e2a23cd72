"""One request and its one answer, on the client's side."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from skerry.errors import SkerryError
from skerry.gateway.engine import heads
from skerry.gateway.engine.told import TOLD
from skerry.gateway.model import IDEMPOTENT, RESERVED, Aggregate, Redirect, Respond
from skerry.gateway.wire import BadMessage, ReplyHead, RequestHead, chunk
from skerry.service import problem
from skerry.service.problem import Answer, Problem
from skerry.service.shedding import LAG
from skerry.signals import HUB
from skerry.telemetry.spans import TRACING

if TYPE_CHECKING:
    from skerry.gateway.compression import Encoder
    from skerry.gateway.engine.call import Call
    from skerry.gateway.engine.client import Client
    from skerry.gateway.engine.plan import Edit, Fields, Plan
    from skerry.gateway.engine.upstream import Upstream
    from skerry.gateway.engine.worker import Worker
    from skerry.gateway.matching import Found

REPLAY: Final = 64 * 1024
"""Bytes of a request's body that are kept, so that it can be sent again or be mirrored."""
_ADDRESS: Final = re.compile(r"[0-9A-Fa-f.:]{2,45}")
_LAST: Final = b"0\r\n\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Exchange:
    """Callbacks all the way, for a task would cost as much as all the rest.

    The client's connection calls `begin`, `body_piece`, `body_ends` and `client_gone`; who answers calls `answer` or `fail`, or
    `reply` with `piece` and `end`. Exactly one answer is sent, or the client's connection is cut.
    """

    __slots__ = (
        "_chunked",
        "_encoder",
        "_held",
        "_keep",
        "_out",
        "_task",
        "body_done",
        "bytes",
        "call",
        "client",
        "context",
        "found",
        "head",
        "held",
        "identity",
        "identity_key",
        "kept",
        "most_body",
        "over",
        "peer",
        "plan",
        "replied",
        "retold",
        "said",
        "secure",
        "started",
        "status",
        "tunnel",
        "why",
        "worker",
    )

    def __init__(self, client: Client, head: RequestHead, worker: Worker) -> None:
        self.client: Client = client
        self.head: RequestHead = head
        self.worker: Worker = worker
        self.started: float = worker.now()
        self.body_done: bool = head.length == 0
        self.bytes: int = 0
        self.call: Call | None = None
        self.context: str = ""
        """The trace context of this request, as traceparent has it; empty until somebody needs it."""
        self.said: bytes = client.said
        """The header lines that tell the service where it comes from."""
        self.found: Found | None = None
        self.held: float = 0.0
        """Since when it has waited for an owner, 0 when it has not."""
        self.identity: str = ""
        self.identity_key: str = ""
        self.retold: bool = False
        """Whether keys were fetched once because this request names one that is not known."""
        self.kept: list[bytes] | None = None
        """The body so far, None once it is too long to be kept or there is none."""
        self.most_body: int = 0
        self.over: bool = False
        self.peer: str = client.peer
        self.plan: Plan | None = None
        self.replied: bool = False
        self.secure: bool = client.secure
        """Whether the client came by TLS, to us or to a proxy of one's own."""
        self.status: int = 0
        self.tunnel: Upstream | None = None
        self.why: str = ""
        self._chunked = False
        self._encoder: Encoder | None = None
        self._held = 0
        self._keep = False
        self._out: list[bytes] = []
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Find out who answers, and have it done."""
        try:
            self._begin()
        except Problem as error:
            again = None if self.retold else self.worker.new_keys(error)
            if again is None:
                self.fail(error)
            else:
                self.retold = True
                self._task = self.worker.loop.create_task(self._begin_after(again))
        except Exception as error:
            self._failed_inside(error)

    async def _begin_after(self, refresh: Awaitable[object]) -> None:
        await refresh
        if not self.over:
            self.begin()

    def _begin(self) -> None:
        head, worker = self.head, self.worker
        runtime, path = worker.runtime, head.path
        if path.startswith(RESERVED) and (path == RESERVED or path[len(RESERVED)] == "/"):
            self.answer(worker.health(path))
            return
        if path == "*":
            self.answer(Answer(204, (), b""))
            return
        if runtime.spec.trusted_hops:
            self._believe(runtime.spec.trusted_hops)
        found = self.found = runtime.tables[self.client.listener].find(head)
        if found is None:
            raise Problem(404, "no_route", "There is nothing under this path.")
        plan = self.plan = runtime.plans[id(found.route)]
        lag = worker.lag.look()
        if lag > LAG:
            worker.demand_room(found.route, lag)
        early = None if plan.guard is None else plan.guard.check(self)
        if early is not None:
            self.answer(early)
            return
        if not self.body_done:
            self._expect_body(plan.body)
        if plan.choice is not None:
            call = plan.call if TRACING.tracer is None and not HUB.traced else TOLD[plan.call]
            self.call = call(self, plan, plan.choice)
            self.call.start()
        else:
            self._answer_here(plan, found)

    def begin_again(self) -> None:
        """Another specification is served, which this request has waited for: find out anew who answers."""
        before, self.call = self.plan, None
        assert before is not None
        try:
            found = self.found = self.worker.runtime.tables[self.client.listener].find(self.head)
            if found is None:
                raise Problem(404, "no_route", "There is nothing under this path.")
            plan = self.plan = self.worker.runtime.plans[id(found.route)]
            same = (plan.route.name, plan.route.auth) == (before.route.name, before.route.auth)
            early = None if same or plan.guard is None else plan.guard.check(self)
            if early is not None:
                self.answer(early)
            elif plan.choice is not None:
                call = plan.call if TRACING.tracer is None and not HUB.traced else TOLD[plan.call]
                self.call = call(self, plan, plan.choice)
                self.call.start(self.worker.now())
            else:
                self._answer_here(plan, found)
        except Problem as error:
            self.fail(error)
        except Exception as error:
            self._failed_inside(error)

    def _expect_body(self, most: int) -> None:
        self.most_body = most
        if self.head.length > most:
            raise Problem(413, "body_too_large", f"The request's body is larger than {most} bytes.")
        self.kept = []
        if self.head.expects:
            self.client.send(_CONTINUE)

    def _believe(self, hops: int) -> None:
        """What proxies of one's own said about where the request came from."""
        told = self.head.context.get(b"x-forwarded-for", b"").decode("latin-1")
        addresses = [address.strip() for address in told.split(",") if address.strip()][-hops:]
        if not addresses or not all(_ADDRESS.fullmatch(address) for address in addresses):
            return
        self.peer = addresses[0]
        scheme = self.head.context.get(b"x-forwarded-proto", b"").lower()
        if scheme in {b"http", b"https"}:
            self.secure = scheme == b"https"
        self.said = self.client.forwarded(", ".join([*addresses, self.client.peer]), secure=self.secure)

    def _answer_here(self, plan: Plan, found: Found) -> None:
        action = found.route.action
        if isinstance(action, Redirect):
            fields = [
                (b"location", heads.location(action, self.head, found, secure=self.secure)),
                (b"content-length", b"0"),
            ]
            self.answer(Answer(action.status, fields, b""))
        elif isinstance(action, Respond):
            fields = [(b"content-type", action.content_type.encode("latin-1"))] if action.body else []
            self.answer(Answer(action.status, fields, action.body.encode()))
        elif isinstance(action, Aggregate):
            self._task = self.worker.loop.create_task(self._aggregate(plan, found))

    async def _aggregate(self, plan: Plan, found: Found) -> None:
        assert plan.aggregator is not None
        try:
            with self.worker.within(self):
                answer = await plan.aggregator.answer(heads.for_parts(self), found.variables, self.head.query or "")
            self.answer(answer)
        except Problem as error:
            self.fail(error)
        except SkerryError as error:
            known = problem.of(error, what="The service behind this path")
            if known is None:
                self._failed_inside(error)
            else:
                self.fail(known)
        except Exception as error:
            self._failed_inside(error)

    # The request's body.

    def body_piece(self, piece: bytes) -> None:
        """A piece of the body came."""
        if self.over:
            return
        kept = self.kept
        if kept is not None:
            kept.append(piece)
            self._held += len(piece)
            if self._held > REPLAY:
                self._too_long_to_keep()
        if self.call is not None:
            self.call.body_piece(piece)

    def _too_long_to_keep(self) -> None:
        if self.call is not None and self.call.sending:
            self.kept = None
        else:
            self.client.pause()  # until it is known where it goes

    def body_ends(self) -> None:
        """It is whole."""
        self.body_done = True
        if self.call is not None and not self.over:
            self.call.body_ends()

    def spoiled(self, error: BadMessage) -> None:
        """The body cannot be read on."""
        if self.call is not None:
            self.call.gone()
        self.fail(Problem(error.status, error.code, error.detail))

    # The answer.

    def answer(self, answer: Answer) -> None:
        """Answer with what is at hand, whole."""
        if self.over:
            return
        if self.replied:
            self.cut("answered twice")
            return
        self.status = answer.status
        keep = self.head.keep_alive and self.body_done and not self.worker.draining
        fields = [field for field in answer.headers if field[0] != b"content-length"]
        whole = answer.body
        plan = self.plan
        if plan is not None:
            fields = heads.edited(fields, plan.response)
            if plan.guard is not None:
                fields, whole = plan.guard.local(self, answer.status, fields, whole)
        framing = self._connection(keep)
        if answer.status not in {204, 304}:
            framing = b"content-length: %d\r\n%b" % (len(whole), framing)
        body = b"" if self.head.method == "HEAD" or answer.status in {204, 304} else whole
        self.replied = True
        self.bytes = len(body)
        self.client.send(heads.reply(answer.status, fields, framing) + body)
        self._finish(keep=keep)

    def fail(self, error: Problem) -> None:
        """Answer with a problem body."""
        self.why = error.code
        self.answer(error.answer(instance=self.head.path, trace_id=self.worker.trace(self)[3:35]))

    def _failed_inside(self, error: Exception) -> None:
        self.worker.failed_inside(self, error)
        self.fail(Problem(500, "internal", "The gateway failed on this request."))

    def reply(self, head: ReplyHead, edits: tuple[Edit, ...], *, location: bytes | None = None) -> None:
        """Begin an answer that a service gave. It goes out with its first piece, or when the service pauses."""
        fields: Fields = head.headers
        plan = self.plan
        assert plan is not None
        if location is not None:
            fields = [(name, location if name == b"location" else value) for name, value in fields]
        if plan.response:
            fields = heads.edited(fields, plan.response)
        if edits:
            fields = heads.edited(fields, edits)
        if plan.guard is not None:
            fields, self._encoder = plan.guard.dress(self, head, fields)
        self.replied = True
        self.status = head.status
        keep = self._keep = self.head.keep_alive and self.body_done and not self.worker.draining
        if head.bare:
            framing = b"" if head.declared is None or head.status == 204 else b"content-length: %d\r\n" % head.declared
        elif head.length >= 0 and self._encoder is None:
            framing = b"content-length: %d\r\n" % head.length
        elif self.head.minor == 1:
            framing, self._chunked = heads.CHUNKED, True
        else:
            framing, keep = b"", False
            self._keep = False
        if not keep or not self.head.minor:
            framing += self._connection(keep)
        self._out.append(heads.reply(head.status, fields, framing))

    def piece(self, piece: bytes) -> None:
        """A piece of its body."""
        if self._encoder is not None:
            piece = self._encoder.feed(piece)
            if not piece:
                return
        self.bytes += len(piece)
        self._out.append(chunk(piece) if self._chunked else piece)

    def flush(self) -> None:
        """Send what there is."""
        out = self._out
        if out:
            self._out = []
            self.client.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def end(self) -> None:
        """It is whole."""
        if self._encoder is not None:
            rest = self._encoder.finish()
            self._encoder = None
            if rest:
                self.bytes += len(rest)
                self._out.append(chunk(rest) if self._chunked else rest)
        if self._chunked:
            self._out.append(_LAST)
        self.flush()
        self._finish(keep=self._keep)

    def cut(self, why: str) -> None:
        """The answer cannot be finished: whoever reads it must not take it for whole."""
        if self.over:
            return
        self.why = why
        self.flush()
        self._stop()
        self.over = True
        self.worker.log(self)
        self.client.abort()

    def client_gone(self) -> None:
        """Nobody is left to answer."""
        if self.over:
            return
        self.over = True
        if not self.replied:
            self.status = 499
        self.why = self.why or "client_gone"
        self._stop()
        self.worker.log(self)

    def client_full(self, *, full: bool) -> None:
        """Whether the client takes no more for the moment."""
        upstream = self.tunnel or (None if self.call is None else self.call.upstream)
        if upstream is not None and not upstream.transport.is_closing():
            if full:
                upstream.transport.pause_reading()
            else:
                upstream.transport.resume_reading()

    # Another protocol.

    def open_tunnel(self, upstream: Upstream, head: ReplyHead) -> None:
        """Both sides agreed on another protocol: from now on bytes go both ways as they come."""
        self.tunnel = upstream
        self.replied = True
        self.status = 101
        framing = b"connection: upgrade\r\nupgrade: websocket\r\n"
        self.client.send(heads.reply(101, head.headers, framing))
        self.client.begin_tunnel()

    def close_tunnel(self) -> None:
        """One side ended it."""
        self.tunnel = None
        self.over = True
        self.worker.log(self)
        self.client.linger()

    @property
    def kept_whole(self) -> bool:
        """Whether all of the body so far can be sent again."""
        return self.head.length == 0 or self.kept is not None

    @property
    def repeatable(self) -> bool:
        """Whether it does no harm that a service acts on it twice: by the method, or because it knows the request by a key."""
        head, plan = self.head, self.plan
        unsafe = plan is not None and plan.policy.retry.unsafe
        return head.method in IDEMPOTENT or unsafe or head.header(b"idempotency-key") is not None

    def _connection(self, keep: bool) -> bytes:
        if not keep:
            return heads.CLOSE
        return b"" if self.head.minor else heads.KEEP_ALIVE

    def _stop(self) -> None:
        if self.call is not None:
            self.call.gone()
        if self._task is not None:
            self._task.cancel()

    def _finish(self, *, keep: bool) -> None:
        self.over = True
        call = self.call
        if call is not None and call.upstream is not None:
            call.gone()
        self.worker.log(self)
        self.call = None  # they know each other: the collector would have to find out that nobody else does
        self.client.finished(keep=keep)
