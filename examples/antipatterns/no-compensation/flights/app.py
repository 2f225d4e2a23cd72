"""Seats on flights."""

import os

from fastapi import FastAPI, HTTPException
from psycopg_pool import ConnectionPool
from pydantic import BaseModel

app = FastAPI(title="flights")
pool = ConnectionPool(
    os.environ["DATABASE_URL"], timeout=2, kwargs={"connect_timeout": 3, "options": "-c statement_timeout=5000"}
)


class Booking(BaseModel):
    flight: str
    traveller: str


@app.post("/bookings", status_code=201)
def book(wanted: Booking):
    with pool.connection() as connection:
        row = connection.execute(
            "UPDATE seats SET traveller = %s WHERE id = "
            "(SELECT id FROM seats WHERE flight = %s AND traveller IS NULL LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id",
            (wanted.traveller, wanted.flight),
        ).fetchone()
    if row is None:
        raise HTTPException(409, "full")
    return {"id": row[0]}


@app.delete("/bookings/{booking_id}", status_code=204)
def cancel(booking_id: int):
    with pool.connection() as connection:
        connection.execute("UPDATE seats SET traveller = NULL WHERE id = %s", (booking_id,))
