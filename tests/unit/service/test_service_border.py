from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from asgi import Answer, play, post, request, settings
from fastapi import FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel, Field

from skerry import context
from skerry.errors import (
    CircuitOpen,
    ConfigurationError,
    ConnectionLost,
    DeadlineExceeded,
    Held,
    LateAction,
    Locked,
    Overloaded,
    ProjectionBehind,
    RateLimited,
    ReceiptConflict,
    Rejected,
    ReplyTooLarge,
    SkerryError,
    StatusError,
    StoreBusy,
    StoreUnavailable,
    Unreachable,
)
from skerry.service import Problem, Service
from skerry.signals import RequestFailed, Signal, subscribe
from skerry.telemetry.spans import SpanEnded
from skerry.testing import VirtualClock

CANARY = "s3cr3t-canary"


class Line(BaseModel):
    sku: str = Field(pattern="^[A-Z]+$")
    quantity: int


class Order(BaseModel, extra="forbid"):
    lines: list[Line]


def make_api(clock: VirtualClock) -> FastAPI:
    api = FastAPI()

    @api.post("/orders")
    async def place(order: Order, tenant: Annotated[str, Header(max_length=5)] = "x") -> dict[str, int]:
        return {"lines": len(order.lines)}

    @api.post("/raw")
    async def raw(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @api.get("/ambient")
    async def ambient() -> dict[str, Any]:
        current = context.current()
        return {
            "left": current.remaining(clock),
            "trace": current.trace_id,
            "priority": current.priority,
            "retried": current.retries_above,
        }

    @api.get("/slow")
    async def slow() -> None:
        await clock.sleep(3600)

    @api.get("/own-time-out")
    async def own_time_out() -> None:
        raise TimeoutError(CANARY)

    @api.get("/broken/{name}")
    async def broken(name: str) -> None:
        raise ValueError(CANARY)

    return api


def ask(tmp_path: Path, *args: Any, app: Any = None, **options: Any) -> Answer:
    """One request to a service with that application."""

    async def act(clock: VirtualClock) -> Answer:
        service = Service(
            "s", app=app or make_api(clock), settings=settings(tmp_path), clock=clock, max_body=100, timeout=30.0
        )
        return await request(service.app, *args, **options)

    answer: Answer = play(act)
    return answer


def raising(error: BaseException) -> FastAPI:
    api = FastAPI()

    @api.get("/x")
    async def x() -> None:
        raise error

    return api


def plainly_raising(error: BaseException) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    return app


def assert_problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status, body["status"], body["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert body["type"] == f"urn:skerry:problem:{code}"
    assert len(body["trace_id"]) == 32
    assert CANARY.encode() not in answer.body
    return body


# --- limits


def test_a_body_announced_as_too_large_is_not_read(tmp_path: Path) -> None:
    """A Content-Length over the limit is answered 413 before the application is asked."""
    called: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["path"])

    for length in ("101", "9" * 400):
        answer = ask(tmp_path, "POST", "/raw", app=app, headers={"content-length": length})
        assert_problem(answer, 413, "too_large")
        assert answer.headers["connection"] == "close"
    assert called == []


def test_a_body_that_grows_too_large_is_cut_off(tmp_path: Path) -> None:
    """Without a Content-Length the bytes are counted: 413, also where a framework would say the body was unreadable."""
    for path in ("/raw", "/orders"):
        answer = ask(tmp_path, "POST", path, headers={"content-type": "application/json"}, chunks=[b"x" * 60] * 3)
        assert_problem(answer, 413, "too_large")
        assert answer.headers["connection"] == "close"


def test_a_body_of_just_the_limit_is_served(tmp_path: Path) -> None:
    """The limit itself is still allowed."""
    answer = ask(tmp_path, "POST", "/raw", chunks=[b"x" * 50] * 2)
    assert (answer.status, answer.json()) == (200, {"bytes": 100})


def test_a_length_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """A Content-Length that is not digits, or looks like some, is 400."""
    for length in ("ten", "-1", "\u00b2"):
        assert_problem(ask(tmp_path, "POST", "/raw", headers={"content-length": length}), 400, "bad_request")


@pytest.mark.parametrize(("header", "seconds"), [("2.5", 2.5), ("0", 0.0), ("", 30.0), ("9999", 300.0)])
def test_a_request_ends_at_its_deadline(tmp_path: Path, header: str, seconds: float) -> None:
    """At the caller's deadline, or the service's own where the caller names none, work is cancelled and the answer is 504."""

    async def act(clock: VirtualClock) -> None:
        service = Service("s", app=make_api(clock), settings=settings(tmp_path), clock=clock, timeout=30.0)
        headers = {"skerry-timeout": header} if header else {}
        assert_problem(await request(service.app, "GET", "/slow", headers=headers), 504, "timed_out")
        assert clock.monotonic() == pytest.approx(seconds)

    play(act)


@pytest.mark.parametrize("failure", [asyncio.CancelledError, OSError])
def test_a_request_without_an_answer_is_told_with_what_ended_it(tmp_path: Path, failure: type[BaseException]) -> None:
    """The error of its span is the class of the exception: of a cancellation, or of an answer that could not be sent."""
    heard: list[Signal] = []

    async def app(scope: object, receive: object, send: object) -> None:
        raise Problem(409, "taken", "Somebody was quicker.")

    async def send(message: object) -> None:
        raise failure

    async def act(clock: VirtualClock) -> None:
        service = Service("s", app=app, settings=settings(tmp_path), clock=clock)
        with pytest.raises(failure):
            await service.app({"type": "http", "method": "GET", "path": "/", "headers": []}, asyncio.Event().wait, send)

    end = subscribe(heard.append, spans=True)
    play(act)
    end()
    assert [told.error for told in heard if isinstance(told, SpanEnded)] == [failure.__name__]


def test_work_whose_time_is_over_is_not_begun(tmp_path: Path) -> None:
    """A request that arrives after its deadline is refused before the application sees it: its caller has gone."""
    begun: list[str] = []

    async def app(scope: object, receive: object, send: object) -> None:
        begun.append("work")

    async def act(clock: VirtualClock) -> None:
        service = Service("s", app=app, settings=settings(tmp_path), clock=clock)
        answer = await request(service.app, "POST", "/", headers={"skerry-timeout": "0.000"})
        assert_problem(answer, 504, "timed_out")
        assert "nothing was done" in answer.json()["detail"]

    play(act)
    assert begun == []


def test_a_time_out_of_the_applications_own_is_its_error(tmp_path: Path, signals: list[Signal]) -> None:
    """A `TimeoutError` that is not the request's deadline is an unexpected error, not a 504."""
    assert_problem(ask(tmp_path, "GET", "/own-time-out"), 500, "internal_error")
    assert any(isinstance(signal, RequestFailed) for signal in signals)


def test_the_callers_context_is_taken_over(tmp_path: Path) -> None:
    """Time left, trace, priority and the retried mark of the caller are what the application sees."""
    headers = {
        "skerry-timeout": "2.5",
        "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
        "skerry-priority": "8",
        "skerry-retried": "1",
    }
    answer = ask(tmp_path, "GET", "/ambient", headers=headers)
    assert answer.json() == {"left": 2.5, "trace": "ab" * 16, "priority": 8, "retried": True}


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e9", "", "soon", "9" * 20])
def test_malformed_headers_are_ignored(tmp_path: Path, value: str) -> None:
    """What a header cannot mean is as if it were not there."""
    headers = dict.fromkeys(("skerry-timeout", "traceparent", "skerry-priority", "skerry-retried"), value)
    body = ask(tmp_path, "GET", "/ambient", headers=headers).json()
    assert (body["left"], body["priority"], body["retried"]) == (30.0, 5, False)
    assert len(body["trace"]) == 32


# --- errors


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ReceiptConflict(CANARY), 422, "key_reused"),
        (LateAction(CANARY), 409, "late_action"),
        (ProjectionBehind(CANARY), 409, "behind"),
        (Held(CANARY), 409, "held"),
        (Rejected("sold out"), 409, "rejected"),
        (Locked(CANARY), 423, "locked"),
        (StoreBusy(CANARY), 503, "busy"),
        (StoreUnavailable(CANARY), 503, "data_unavailable"),
        (CircuitOpen(CANARY), 503, "circuit_open"),
        (Overloaded(CANARY), 503, "overloaded"),
        (RateLimited(CANARY, retry_after=2.5), 429, "rate_limited"),
        (DeadlineExceeded(CANARY), 504, "timed_out"),
        (Unreachable("stock", CANARY), 502, "unreachable"),
        (ConnectionLost("stock", CANARY), 502, "connection_lost"),
        (ReplyTooLarge("stock", CANARY), 502, "reply_too_large"),
        (StatusError("stock", 500, CANARY), 502, "error_500"),
        (Problem(418, "teapot", "Short and stout."), 418, "teapot"),
        (Problem(499, "odd", "A status without a name."), 499, "odd"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, SkerryError) else None,
)
@pytest.mark.parametrize("application", [raising, plainly_raising], ids=["framework", "plain"])
def test_known_errors_are_problems(
    tmp_path: Path, signals: list[Signal], application: Any, error: Exception, status: int, code: str
) -> None:
    """Each of skerry's errors has its status and code, without its text, also without a framework; none is unexpected."""
    body = assert_problem(ask(tmp_path, "GET", "/x", app=application(error)), status, code)
    assert body["instance"] == "/x"
    assert not [signal for signal in signals if isinstance(signal, RequestFailed)]


def test_who_finds_a_lock_taken_is_told_when_to_ask_again(tmp_path: Path) -> None:
    """423 with `Retry-After`: a second, or as long as the error says."""
    for error, seconds in ((Locked("a"), "1"), (Locked("a", retry_after=2.5), "3")):
        assert ask(tmp_path, "GET", "/x", app=raising(error)).headers["retry-after"] == seconds


@pytest.mark.parametrize("error", [ValueError(CANARY), ConfigurationError(CANARY)], ids=["any", "ours"])
@pytest.mark.parametrize("application", [raising, plainly_raising], ids=["framework", "plain"])
def test_unexpected_errors_tell_nothing(
    tmp_path: Path, signals: list[Signal], caplog: pytest.LogCaptureFixture, application: Any, error: Exception
) -> None:
    """The caller sees 500 and a trace id, the operator a signal and the log; only the log has the error's text."""
    assert_problem(ask(tmp_path, "GET", "/x", app=application(error)), 500, "internal_error")
    (failed,) = [signal for signal in signals if isinstance(signal, RequestFailed)]
    assert (failed.service, failed.method, failed.error) == ("s", "GET", type(error).__name__)
    assert CANARY not in repr(failed)
    assert CANARY in caplog.text


def test_a_failed_request_is_told_by_its_route(tmp_path: Path, signals: list[Signal]) -> None:
    """The signal names the route's pattern, never the path, which may hold anything."""
    ask(tmp_path, "GET", f"/broken/{CANARY}")
    (failed,) = [signal for signal in signals if isinstance(signal, RequestFailed)]
    assert failed.route == "/broken/{name}"


def test_an_error_after_the_answer_began_is_told(tmp_path: Path, signals: list[Signal]) -> None:
    """When part of an answer has left there is no second one, and the failure is still reported."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise CircuitOpen("known") if scope["path"] == "/known" else OSError

    answer = ask(tmp_path, "GET", "/x", app=app)
    assert (answer.status, answer.body) == (200, b"half")
    assert len([signal for signal in signals if isinstance(signal, RequestFailed)]) == 1
    ask(tmp_path, "GET", "/known", app=app)
    assert len([signal for signal in signals if isinstance(signal, RequestFailed)]) == 1


def test_http_exceptions_are_problems(tmp_path: Path) -> None:
    """A framework's own refusals have the same form; their headers stay."""
    body = assert_problem(ask(tmp_path, "GET", "/nowhere"), 404, "not_found")
    assert body["title"] == "Not Found"
    refused = ask(tmp_path, "DELETE", "/orders")
    assert_problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "POST"
    wait = HTTPException(429, "Later.", headers={"Retry-After": "3"})
    answer = ask(tmp_path, "GET", "/x", app=raising(wait))
    assert assert_problem(answer, 429, "error_429")["detail"] == "Later."
    assert answer.headers["retry-after"] == "3"


def test_an_http_exception_without_a_body_has_none(tmp_path: Path) -> None:
    """A status that allows no body gets none."""
    answer = ask(tmp_path, "GET", "/x", app=raising(HTTPException(304)))
    assert (answer.status, answer.body) == (304, b"")


def test_invalid_input_is_named_and_not_repeated(tmp_path: Path) -> None:
    """Each wrong field is named with the reason, and nothing of what was sent comes back; long names are cut."""

    async def act(clock: VirtualClock) -> None:
        app = Service("s", app=make_api(clock), settings=settings(tmp_path), clock=clock).app
        wrong = {"lines": [{"sku": CANARY, "quantity": CANARY}], "n" * 500: CANARY}
        body = assert_problem(await post(app, "/orders", wrong, tenant="too-long"), 422, "invalid_input")
        fields = [entry["field"] for entry in body["errors"]]
        assert fields == ["tenant", "lines.0.sku", "lines.0.quantity", "n" * 100]
        assert body["detail"].startswith("tenant: ")
        missing = assert_problem(await post(app, "/orders", None), 422, "invalid_input")
        assert missing["errors"][0]["field"] == "body"
        many = assert_problem(await post(app, "/orders", {"lines": [{}] * 1000}), 422, "invalid_input")
        assert len(many["errors"]) == 20
        broken = await request(
            app, "POST", "/orders", headers={"content-type": "application/json"}, chunks=[f'{{"{CANARY}'.encode()]
        )
        assert_problem(broken, 422, "invalid_input")

    play(act)


def test_answers_of_the_application_pass_unchanged(tmp_path: Path) -> None:
    """What the application answers itself is not touched."""
    api = FastAPI()

    @api.get("/x")
    async def x() -> Response:
        return Response(json.dumps({"ok": 1}), 203, {"x-own": "1"})

    answer = ask(tmp_path, "GET", "/x", app=api)
    assert (answer.status, answer.json(), answer.headers["x-own"]) == (203, {"ok": 1}, "1")


def test_a_service_without_an_application_knows_no_paths(tmp_path: Path) -> None:
    """It answers 404 to everything but health."""

    async def act(clock: VirtualClock) -> Answer:
        return await request(Service("s", settings=settings(tmp_path), clock=clock).app, "GET", "/x")

    assert_problem(play(act), 404, "not_found")
