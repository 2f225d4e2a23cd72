"""The application itself, for the modules to hang on to."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from skerry.service import Service

api = FastAPI(title="shop")
service = Service(
    "shop",
    app=api,
    database="sqlite:///shop.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / "migrations",
)
