"""Problem bodies from inside a FastAPI or Starlette application, so that every error of a service has one form."""

from __future__ import annotations

from typing import Any

from skerry import context
from skerry.errors import SkerryError
from skerry.service.problem import Problem, of

MAX_FIELDS = 20
MAX_NAME = 100
NO_BODY = frozenset([204, 304])


def install(app: Any) -> None:
    """Give a Starlette or FastAPI application handlers that answer with problem bodies. Any other one stays as it is."""
    if not hasattr(app, "add_exception_handler"):
        return
    from starlette.exceptions import HTTPException

    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(SkerryError, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
    try:
        from fastapi.exceptions import RequestValidationError
    except ImportError:
        return
    app.add_exception_handler(RequestValidationError, _invalid)


async def _problem(request: Any, error: Exception) -> Any:
    problem = of(error)
    if problem is None:
        raise error
    return _response(request, problem)


async def _http(request: Any, error: Any) -> Any:
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, f"error_{error.status_code}")
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (error.headers or {}).items()
    ]
    return _response(request, Problem(error.status_code, code, str(error.detail), headers=headers))


async def _invalid(request: Any, error: Any) -> Any:
    """Name each field that is wrong and why; never repeat what was sent."""
    fields = [{"field": _field(entry["loc"]), "message": entry["msg"]} for entry in error.errors()[:MAX_FIELDS]]
    detail = "; ".join(f"{entry['field']}: {entry['message']}" for entry in fields[:1])
    return _response(request, Problem(422, "invalid_input", detail, more={"errors": fields}))


def _field(location: Any) -> str:
    """Where it is wrong. Names may be the caller's own, so they are cut."""
    return ".".join(str(part)[:MAX_NAME] for part in location[1:]) or str(location[0])


async def _unexpected(request: Any, _error: Exception) -> Any:
    # Starlette raises the error again after this answer, which is how the chassis learns of it
    return _response(request, unexpected())


def unexpected() -> Problem:
    """What a caller sees of an error nobody foresaw."""
    return Problem(500, "internal_error", "Something went wrong here. The log holds the details under this trace id.")


def _response(request: Any, problem: Problem) -> Any:
    from starlette.responses import Response

    answer = problem.answer(instance=request.url.path, trace_id=context.current().trace_id)
    if answer.status in NO_BODY:
        return Response(
            None, answer.status, {name.decode(): value.decode("latin-1") for name, value in problem.headers}
        )
    response = Response(answer.body, answer.status)
    response.raw_headers = list(answer.headers)
    return response
