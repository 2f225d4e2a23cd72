"""A request of a route that is strangled: which side it goes to, what it counts for, and whether it is compared afterwards."""

from __future__ import annotations

from asyncio import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from skerry.errors import Refused, SkerryError, StatusError
from skerry.gateway.engine.call import Call
from skerry.gateway.engine.comparison import Comparer, Copy
from skerry.gateway.model import SAFE, Forward, Route
from skerry.gateway.wire import ReplyHead
from skerry.service.problem import Problem
from skerry.signals import RetryPlanned, emit

if TYPE_CHECKING:
    from skerry.gateway.engine.counting import Counting
    from skerry.gateway.engine.exchange import Exchange
    from skerry.gateway.engine.plan import Choice, Plan, Target
    from skerry.gateway.engine.upstream import Upstream
    from skerry.gateway.strangler.tally import Arm, RouteTally

MOST_WAITING: Final = 1000
"""Unsafe requests that wait in one worker while ownership is handed over; more are refused at once."""


@dataclass(slots=True)
class Strangled:
    """What such a route is at. `tally` is None where nothing is counted, `arms` says whether both sides are."""

    name: str
    control: Target
    candidate: Target
    writes: Target | None
    hold: float
    arms: bool
    tally: RouteTally | None
    comparer: Comparer | None
    counting: Counting | None

    @classmethod
    def of(cls, route: Route, action: Forward, targets: list[Target], counting: Counting | None) -> Strangled:
        """From a route to which its share was applied: control and candidate are its backends, in this order."""
        control, candidate = targets[0], targets[-1]
        writes = None
        if action.writes:
            writes = candidate if action.writes[0].service == candidate.service else control
        plan = action.strangle
        comparer = None
        # where the candidate owns the data, the control's answers may be old ones: neither to be compared with nor to be given
        if plan is not None and plan.shadow is not None and counting is not None and writes is not candidate:
            comparer = counting.comparer(route.name, plan.shadow)
        return cls(
            route.name,
            control,
            candidate,
            writes,
            action.hold,
            arms=plan is not None and plan.counted and counting is not None,
            tally=None if counting is None else counting.tally.route(route.name),
            comparer=comparer,
            counting=counting,
        )

    def spares(self, target: Target | None, method: str) -> bool:
        """Whether a request that `target` fails is asked of the control."""
        return target is self.candidate and self.writes is not self.candidate and method in SAFE

    def arm(self, target: Target) -> Arm | None:
        """Where a request to `target` counts, None when nothing is counted."""
        if not self.arms or self.tally is None:
            return None
        return self.tally.candidate if target is self.candidate else self.tally.control


class StrangledCall(Call):
    """A call whose first attempt counts for its side.

    A safe request that the candidate fails is asked again of the control at once, whatever the policy says of retries: clients do
    not pay for the experiment, and the control had all of these requests before. All other attempts stay on their side.
    """

    __slots__ = ("_begun", "_copy", "_counted", "_counts_for", "_next", "_safe", "_side", "_waits", "_writes")

    def __init__(self, exchange: Exchange, plan: Plan, choice: Choice) -> None:
        super().__init__(exchange, plan, choice)
        assert plan.strangled is not None
        self._side: Strangled = plan.strangled
        self._safe = exchange.head.method in SAFE
        self._counts_for: Arm | None = None
        self._begun = 0.0
        self._copy: Copy | None = None
        self._counted: bool | None = None
        """None before the first attempt counted; then whether it counted as an error."""
        self._next: Target | None = None
        self._waits = False
        self._writes = False

    # Where it goes.

    def start(self, since: float = 0.0) -> None:
        side = self._side
        if self._safe or side.writes is None:
            super().start(since)
        elif side.hold:
            self._wait_for_owner()
        else:
            self._writes = True
            if side.tally is not None:
                side.tally.writing += 1
            super().start(since)

    def _wait_for_owner(self) -> None:
        """Nobody takes unsafe requests for the moment: it begins anew as soon as another specification is served."""
        worker = self._exchange.worker
        if len(worker.waiting) >= MOST_WAITING:
            self._not_now()
            return
        self._waits = True
        worker.waiting[self] = None
        exchange = self._exchange
        exchange.held = exchange.held or worker.now()  # however often other shares come meanwhile, it waits no longer
        self._set_alarm(exchange.held + self._side.hold)

    def go_on(self) -> None:
        """Another specification is served."""
        self._waits = False
        self._clear_alarm()
        if not self._exchange.over:
            self._exchange.begin_again()

    def _not_now(self) -> None:
        detail = "What this path changes is being handed over to another service; try again in a moment."
        self._end(Problem(503, "handed_over", detail, headers=((b"retry-after", b"1"),)))

    def _pick(self) -> Target | None:
        if self._next is not None:
            return self._next
        side = self._side
        if self._safe:
            compared = side.comparer is not None and side.comparer.takes(self._exchange, self._plan)
            target = side.control if compared else super()._pick()
        else:
            target = super()._pick() if side.writes is None else side.writes
            compared = target is side.control and side.comparer is not None and side.comparer.copies(self._exchange)
            if target is side.candidate and side.tally is not None:
                side.tally.writes += 1
        if compared:
            self._copy = Copy()
        self._next = target
        if target is not None and (self._safe or side.writes is None):
            self._counts_for = side.arm(target)
        return target

    # What it counts for.

    def _count(self, *, error: bool, refused: bool = False) -> None:
        """How the first attempt ended; later ones do not count, but an answer that breaks off makes an error of it."""
        arm = self._counts_for
        if arm is None or self.attempts != 1:
            return
        if self._counted is None:
            seconds = self._exchange.worker.now() - max(self._since, self._begun)
            arm.add(seconds=seconds, error=error, refused=refused)
            self._counted = error
        elif error and not self._counted:
            arm.errors += 1
            self._counted = True

    def _tell(self, status: int) -> None:
        super()._tell(status)
        self._count(error=status >= 500, refused=400 <= status < 500)

    def _lost_ticket(self, error: BaseException) -> None:
        super()._lost_ticket(error)
        if not isinstance(error, CancelledError | Refused):
            self._count(error=True)

    def body_ends(self) -> None:
        if self._waits:
            return
        # until here it was the client that took its time
        self._begun = self._exchange.worker.now()
        super().body_ends()

    # What becomes of a failure.

    def _falls_back(self) -> bool:
        side, exchange = self._side, self._exchange
        return (
            self.attempts == 1
            and side.spares(self.target, exchange.head.method)
            and not exchange.replied
            and exchange.kept_whole
            and exchange.worker.now() < self._deadline
        )

    def _fall_back(self, error: Exception) -> None:
        if isinstance(error, SkerryError):
            self._last = error
        self._next = self._side.control
        emit(RetryPlanned(policy=self._plan.route.name, attempt=1, delay=0.0, error=type(error).__name__))
        self._try(self._exchange.worker.now())

    def _unavailable(self, error: Exception) -> None:
        # a side that is known to be away fails its requests, though nothing is sent: else a dead candidate had no errors
        self._count(error=True)
        if self._falls_back():
            self._fall_back(error)
        else:
            super()._unavailable(error)

    def _attempt_failed(self, kind: str, error: SkerryError) -> None:
        if self._falls_back():
            self._lost_ticket(error)
            self.sending = False
            self._fall_back(error)
        else:
            super()._attempt_failed(kind, error)

    def reply_begins(self, upstream: Upstream, head: ReplyHead) -> None:
        if head.status >= 500 and self._falls_back():
            self._pass_over(upstream)
            failure = StatusError(self.service, head.status)
            self._lost_ticket(failure)
            self._fall_back(failure)
            return
        if self._copy is not None and not self._copy.begins(head, self._most):
            self._give_up()
        super().reply_begins(upstream, head)

    def cancel(self) -> None:
        if self._waits:
            self._slot = None
            self._forget()
            self._not_now()
        else:
            super().cancel()

    # What is compared.

    @property
    def _most(self) -> int:
        return 0 if self._side.comparer is None else self._side.comparer.most

    def _give_up(self) -> None:
        """The client has its answer all the same; another request can be compared meanwhile."""
        self._copy = None
        if self._side.comparer is not None:
            self._side.comparer.give_up()

    def reply_piece(self, piece: bytes) -> None:
        if self._copy is not None and not self._copy.add(piece, self._most):
            self._give_up()
        super().reply_piece(piece)

    def reply_ends(self) -> None:
        copy, self._copy = self._copy, None
        exchange, side = self._exchange, self._side
        super().reply_ends()
        if copy is not None and side.comparer is not None:
            side.comparer.compare(exchange, copy, side.control, side.candidate, once=not self._safe)

    # The end.

    def gone(self) -> None:
        self._forget()
        super().gone()

    def _forget(self) -> None:
        if self._waits:
            self._waits = False
            self._exchange.worker.waiting.pop(self, None)

    def _leave(self) -> None:
        super()._leave()
        if self._copy is not None:
            self._copy = None
            if self._side.comparer is not None:
                self._side.comparer.leave()
        if self._writes:
            self._writes = False
            if self._side.counting is not None and self._side.tally is not None:
                self._side.counting.write_ends(self._side.tally)
