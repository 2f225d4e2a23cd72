"""Invoices: which are due, and that one was paid."""

import os

import psycopg
from fastapi import FastAPI, HTTPException

app = FastAPI(title="billing")


def connect():
    return psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=3, options="-c statement_timeout=5000")


@app.get("/invoices")
def due():
    with connect() as connection:
        rows = connection.execute(
            "SELECT id, amount FROM invoices WHERE state = 'due' ORDER BY id LIMIT 100"
        ).fetchall()
    return [{"id": row[0], "amount": row[1]} for row in rows]


@app.post("/invoices/{invoice_id}/settle", status_code=204)
def settle(invoice_id: int):
    with connect() as connection:
        changed = connection.execute(
            "UPDATE invoices SET state = 'paid' WHERE id = %s AND state = 'due'", (invoice_id,)
        ).rowcount
    if not changed:
        raise HTTPException(404, "no such invoice is due")
