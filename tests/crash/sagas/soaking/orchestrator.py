"""The service that owns the sagas; two processes of it stand on one database, and the one that leads drives."""

from __future__ import annotations

from typing import Any

from wire import Body, Request, Routes

from skerry.errors import StatusError
from skerry.resilience import Bulkhead, CircuitBreaker, Policy, Retry
from skerry.saga import Rejected, Saga, StepContext
from skerry.service import Service

from .plan import PARTICIPANTS, SAGA, Order
from .served import Served

BRIEF = Retry(5, base=0.1, cap=0.5)
"""Over before an action that comes late has its effect, so that its compensation is there first."""
PATIENT = Retry(1000, base=0.1, cap=1.0)
TIMEOUT = 1.5


class Orchestrator(Served):
    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        app = Routes()
        app.post("/start")(self.start)
        app.post("/open")(self.open)
        self.service = Service(self.owner, app=app, database=settings["database"], settings=self.own, clock=self.clock)
        self.clients = {name: self.service.client(name, policy=self._policy(name)) for name in PARTICIPANTS}
        self.saga = self.define()
        self.service.add(self.saga)
        self.tell_leads(self.service.database)

    def _policy(self, name: str) -> Policy:
        breaker = CircuitBreaker(failure_rate=0.5, window=5.0, min_calls=20, open_for=0.5, probes=3)
        return Policy(name, total=5.0, limit=Bulkhead(100, queue=100), breaker=breaker)

    def define(self) -> Saga:
        """Take the money; reserve and announce at the same time; give it, the point of no return; notify, whatever it takes."""
        saga = Saga(SAGA, input=Order)

        async def undo(ctx: StepContext, order: Order, _result: None) -> None:
            await self.ask(ctx, order, "undo")

        def step(name: str, add: Any, retry: Retry = BRIEF) -> Any:
            async def action(ctx: StepContext, order: Order) -> None:
                await self.ask(ctx, order, "do")

            action.__name__ = name
            return add(retry=retry, timeout=TIMEOUT)(action)

        step("take", saga.step).compensate(undo)
        with saga.parallel():
            step("reserve", saga.step).compensate(undo)
            step("announce", saga.step).compensate(undo)
        step("give", saga.pivot).compensate(undo)
        step("notify", saga.retriable, PATIENT)
        return saga

    async def ask(self, ctx: StepContext, order: Order, action: str) -> None:
        """Ask a participant; the history learns of it first."""
        kind = "step_called" if action == "do" else "comp_called"
        self.write("calls.jsonl", kind=kind, saga=order.key, step=ctx.step, key=ctx.key)
        reply = await self.clients[order.participant(ctx.step)].post(
            f"/{action}",
            json={"step": ctx.step, "order": order.model_dump()},
            idempotency_key=ctx.key,
            headers={"x-attempt": str(ctx.attempt)},
        )
        self.die_if_due("die-engine")  # done, and not in the journal
        try:
            reply.raise_for_status()
        except StatusError as error:
            if error.status == 409 and error.code == "rejected":
                raise Rejected("declined") from error
            raise

    async def start(self, body: Body, _request: Request) -> Any:
        """Start a saga; its id."""
        order = Order(**body)
        async with self.service.transaction() as tx:
            return {"id": await self.service.sagas.start(tx, self.saga, order, key=order.key)}

    async def open(self, _body: Body, _request: Request) -> Any:
        """How many sagas have not ended."""
        counts = await self.service.sagas.stats()
        return {"open": counts.get("running", 0) + counts.get("compensating", 0)}
