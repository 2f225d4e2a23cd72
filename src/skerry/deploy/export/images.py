"""A Dockerfile for each process: slim, not as root, nothing of the machine that wrote it."""

from __future__ import annotations

import json
from typing import Final

from skerry.deploy.export.plan import DRAIN, GRPC_PORT, PORT, Plan, Workload

PYTHON: Final = "python:3.13-slim"
POSTGRESQL: Final = "postgres:17-alpine"
NATS: Final = "nats:2.12-alpine"
USER: Final = 10001
DATA: Final = "/var/lib/skerry"
_IGNORED: Final = (
    *("**/.git", "**/.venv", "**/__pycache__", "**/*.pyc", "**/node_modules"),
    *("**/secrets", "**/*.env", "**/*.db", "**/var", "**/Dockerfile", "**/*.Dockerfile"),
)


def files(plan: Plan) -> dict[str, str]:
    """By path: `images/NAME.Dockerfile`, and beside it what its build does not see. The context is the system's folder."""
    found: dict[str, str] = {}
    for workload in plan.workloads:
        found[f"images/{workload.name}.Dockerfile"] = _dockerfile(plan, workload)
        found[f"images/{workload.name}.Dockerfile.dockerignore"] = "\n".join(_IGNORED) + "\n"
    return found


def surroundings(workload: Workload) -> dict[str, str]:
    """The variables of a process that are no secret, with two dollar signs for one.

    Compose and Kubernetes take a single one for the beginning of another variable.
    """
    found = {
        "SKERRY_SERVICE": workload.name,
        "SKERRY_DRAIN": str(DRAIN),
        **({"SKERRY_MIGRATE": "never"} if workload.database else {}),
        **workload.variables,
    }
    return {name: value.replace("$", "$$") for name, value in found.items()}


def probe(path: str) -> list[str]:
    """A command that asks for a path and fails unless the answer is 2xx: the image has no curl, and needs none."""
    asks = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{PORT}{path}', timeout=2)"
    return ["python", "-c", asks]


def _dockerfile(plan: Plan, workload: Workload) -> str:
    requirements = ""
    if plan.requirements:
        requirements = (
            "COPY requirements.txt ./\nRUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt\n"
        )
    ports = f"{PORT} {GRPC_PORT}" if workload.grpc else f"{PORT}"
    return f"""\
# {workload.name} of {plan.system.name}. The build's context is the folder of skerry.toml.
FROM {PYTHON}
RUN useradd --uid {USER} --no-create-home --shell /usr/sbin/nologin skerry \\
  && install --directory --owner=skerry {DATA}
WORKDIR /app
RUN pip install --no-cache-dir --disable-pip-version-check "skerry[{",".join(workload.extras)}]=={plan.version}"
{requirements}COPY . ./
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \\
  SKERRY_HOST=0.0.0.0 SKERRY_PORT={PORT} SKERRY_GRPC_PORT={GRPC_PORT} SKERRY_DATA={DATA}
USER {USER}:{USER}
EXPOSE {ports}
CMD {json.dumps(list(workload.command))}
"""
