"""The service itself, for the modules beside it to hang on to."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from faults import Faulty
from skerry.service import Service

api = FastAPI(title="orders")
api.add_middleware(Faulty, name="orders")
service = Service(
    "orders",
    app=api,
    database="sqlite:///orders.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / "migrations",
)
