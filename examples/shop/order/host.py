"""The service itself, for the modules beside it to hang on to."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from skerry.service import Service

api = FastAPI(title="order")
service = Service(
    "order",
    app=api,
    database="sqlite:///order.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / "migrations",
)
