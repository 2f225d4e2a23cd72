"""Comparing in a running gateway: which requests, their answers as they go by, and asking both sides again afterwards.

It delays nobody: a client has its whole answer before the candidate is asked. It is the first to be left out when there is more
to do than time, and bounded in how much of it there is at once, how long it takes and how much it keeps.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from skerry.gateway.engine import heads
from skerry.gateway.engine.question import Question
from skerry.gateway.model import SAFE, Shadow
from skerry.gateway.strangler.comparing import Answer, Difference, compare
from skerry.gateway.strangler.noise import Noise
from skerry.gateway.strangler.normalising import Rules
from skerry.gateway.strangler.redacting import Redactor, request_line
from skerry.gateway.strangler.samples import Samples
from skerry.gateway.wire import ReplyHead, chunk
from skerry.gateway.wire.request import CHUNKED
from skerry.signals import AnswersDiffered, emit

if TYPE_CHECKING:
    from skerry.gateway.engine.counting import Counting
    from skerry.gateway.engine.exchange import Exchange
    from skerry.gateway.engine.plan import Plan, Target

Asking = Callable[[], Awaitable[Answer | None]]
"""Asks a side, once each time it is called."""
PATIENCE: Final = 5.0
"""Seconds for an answer that nobody waits for."""
AGAIN: Final = 16
"""How often a candidate that differed and then did not is asked once more: one that is wrong in a twentieth of its answers is
caught in more than half of those cases.
"""
AT_ONCE: Final = 8 * 1024
"""Bytes of two bodies that are compared in the event loop; longer ones are by a thread."""
MARK: Final = b"skerry-shadow: 1\r\n"
"""What tells a service that nobody waits for the answer. A client cannot say it: nothing named `skerry-` crosses the gateway."""
_CONDITIONAL: Final = frozenset(
    (b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since", b"if-range", b"range")
)
"""What makes an answer depend on another one that the client has: both sides would be right and differ."""
_LAST: Final = b"0\r\n\r\n"


class Copy:
    """An answer on its way to a client, kept as far as it is short."""

    __slots__ = ("_pieces", "head", "size")

    def __init__(self) -> None:
        self.head: ReplyHead | None = None
        self.size: int = 0
        self._pieces: list[bytes] = []

    def begins(self, head: ReplyHead, most: int) -> bool:
        """Its head, of the last attempt; False when it is of no use, for it is too long or has no end."""
        self.head, self.size = head, 0
        self._pieces.clear()
        return head.length <= most and (b"content-type", b"text/event-stream") not in head.headers

    def add(self, piece: bytes, most: int) -> bool:
        """A piece of its body; False when that is more than `most` bytes now."""
        self.size += len(piece)
        if self.size > most:
            return False
        self._pieces.append(piece)
        return True

    def answer(self) -> Answer | None:
        """What it was."""
        if self.head is None:
            return None
        return Answer(self.head.status, tuple(self.head.headers), b"".join(self._pieces))


class Comparer:
    """Compares answers of one route in one worker, and keeps what comes of it in the sums and samples of `counting`."""

    def __init__(self, name: str, shadow: Shadow, noise: Noise, counting: Counting) -> None:
        self.shadow: Shadow = shadow
        self.most: int = shadow.body
        self.active: int = 0
        self._name = name
        self._rules = Rules(shadow)
        self._noise = noise
        self._samples = Samples(Redactor(shadow.redact))
        self._counting = counting
        self._told: set[str] = set()
        """Paths that were told by a signal: as many as have samples, which are bounded."""

    # Which.

    def takes(self, exchange: Exchange, plan: Plan) -> bool:
        """Whether this safe request is one of the sample; then there is a place for it, which `compare` or `leave` gives back."""
        counting = self._counting
        if counting.clock.random() >= self.shadow.sample or self._unfit(exchange):
            return False
        return self._enter(busy=counting.busy or plan.limit.waiting > 0)

    def copies(self, exchange: Exchange) -> bool:
        """Whether this unsafe request is one of the sample, if the candidate may have it at all."""
        if not self.shadow.harmless or self._counting.clock.random() >= self.shadow.sample or self._unfit(exchange):
            return False
        return self._enter(busy=self._counting.busy)

    def _unfit(self, exchange: Exchange) -> bool:
        """Whether both answers could be right and differ; that is counted, for what is not compared says nothing."""
        head = exchange.head
        found = bool(head.upgrade) or any(name in _CONDITIONAL for name, _ in head.headers)
        self._noise.sums.unfit += found
        return found

    def _enter(self, *, busy: bool) -> bool:
        if busy or self.active >= self.shadow.concurrency:
            self._noise.sums.shed += 1
            return False
        self.active += 1
        return True

    def leave(self) -> None:
        """A place is free again."""
        self.active -= 1

    def give_up(self) -> None:
        """An answer is too long, or has no end."""
        self._noise.sums.unread += 1
        self.leave()

    # How.

    def compare(self, exchange: Exchange, copy: Copy, control: Target, candidate: Target, *, once: bool) -> None:
        """The client has its answer, which is `copy`. `once`: the control is not asked again, and the candidate not twice."""
        first = self._plain(copy.answer())
        body = self._body(exchange)
        if first is None or body is None:
            self.give_up()
            return

        def asking(target: Target) -> Asking:
            return lambda: self._ask(exchange, target, body)

        again = None if once else asking(control)
        self._counting.keep(
            exchange.worker.loop.create_task(self._in_its_place(exchange, first, asking(candidate), again))
        )

    async def _in_its_place(
        self, exchange: Exchange, first: Answer, ask_candidate: Asking, ask_control: Asking | None
    ) -> None:
        try:
            await self._pair(exchange, first, ask_candidate, ask_control)
        finally:
            self.leave()

    def _body(self, exchange: Exchange) -> bytes | None:
        """The request's body as it is sent, None when it is not there any more or too long."""
        if exchange.head.length == 0:
            return b""
        kept = exchange.kept
        if kept is None or sum(map(len, kept)) > self.most:
            return None
        if exchange.head.length == CHUNKED:
            return b"".join([*(chunk(piece) for piece in kept), _LAST])
        return b"".join(kept)

    async def _ask(self, exchange: Exchange, target: Target, body: bytes) -> Answer | None:
        pool = None if target.cluster is None else target.cluster.pick()
        if pool is None:
            return None
        data = heads.towards(exchange, target, pool, PATIENCE, mark=MARK) + body
        question = Question(exchange.head.method, self.most)
        try:
            async with asyncio.timeout(PATIENCE):
                return self._plain(await question.ask(pool, data, again=exchange.head.method in SAFE))
        except (OSError, TimeoutError):
            return None

    def _plain(self, answer: Answer | None) -> Answer | None:
        """The answer without its content coding, None when that is none we can read or there is too much in it."""
        if answer is None:
            return None
        coding = b",".join(value for name, value in answer.headers if name == b"content-encoding").strip().lower()
        if coding in {b"", b"identity"} or not answer.body:
            return answer
        if coding not in {b"gzip", b"x-gzip", b"deflate"}:
            return None
        reader = zlib.decompressobj(47)  # gzip or zlib, as the first bytes say
        try:
            body = reader.decompress(answer.body, self.most + 1)
        except zlib.error:
            return None
        if len(body) > self.most or not reader.eof:
            return None
        return Answer(answer.status, answer.headers, body)

    async def _pair(
        self,
        exchange: Exchange,
        first: Answer,
        ask_candidate: Asking,
        ask_control: Asking | None,
    ) -> None:
        theirs, ours = await self._both(ask_candidate, ask_control)
        if theirs is None or (ours is None and ask_control is not None):
            self._noise.sums.unread += 1
            return
        found = await self._compare(first, theirs)
        own = None if ours is None else {each.path for each in await self._compare(first, ours)}
        if self.shadow.settle is not None and ask_control is not None and self._counts(found, own):
            await self._counting.clock.sleep(self.shadow.settle)
            theirs, ours = await self._both(ask_candidate, ask_control)
            if theirs is None or ours is None:
                self._noise.sums.unread += 1
                return
            before = {each.path for each in found}
            found = tuple(each for each in await self._compare(ours, theirs) if each.path in before)
            if not self._counts(found, own):
                found = await self._unsteady(ours, ask_candidate, ask_control)
            self._noise.sums.settled += not self._counts(found, own)
        if self._noise.judge((each.path for each in found), own) == "differing":
            self._keep(exchange, found)

    async def _unsteady(self, ours: Answer, ask_candidate: Asking, ask_control: Asking) -> tuple[Difference, ...]:
        """Where a candidate that has settled differs again although the control stays what it is: then it is not late but wrong
        now and then.
        """
        for _ in range(AGAIN):
            theirs = await ask_candidate()
            found = () if theirs is None else await self._compare(ours, theirs)
            if found:
                after = await ask_control()
                return () if after is None or await self._compare(ours, after) else found
        return ()

    @staticmethod
    async def _both(candidate: Asking, control: Asking | None) -> tuple[Answer | None, Answer | None]:
        """At the same time, so that neither sees what the other does not yet."""
        if control is None:
            return await candidate(), None
        theirs, ours = await asyncio.gather(candidate(), control())
        return theirs, ours

    def _counts(self, found: tuple[Difference, ...], own: set[str] | None) -> bool:
        return any(each.path not in (own or ()) and not self._noise.noisy(each.path) for each in found)

    async def _compare(self, control: Answer, candidate: Answer) -> tuple[Difference, ...]:
        size = len(control.body) + len(candidate.body)
        if size <= AT_ONCE or control.body == candidate.body:
            return compare(control, candidate, self._rules)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._counting.thread, compare, control, candidate, self._rules)

    # What is kept.

    def _keep(self, exchange: Exchange, found: tuple[Difference, ...]) -> None:
        head = exchange.head
        request = request_line(head.method, head.path, head.query)
        for difference in found:
            if self._noise.noisy(difference.path) or not self._samples.add(request, difference):
                continue
            self._counting.sampled(self._name, self._samples)
            if difference.path not in self._told:
                self._told.add(difference.path)
                emit(AnswersDiffered(route=self._name, path=difference.path, kind=difference.kind))
