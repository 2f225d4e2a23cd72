"""Orders over HTTP."""

import os

from flask import Flask, jsonify, request
from models import Invoice, Order
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

app = Flask(__name__)
engine = create_engine(
    os.environ["DATABASE_URL"],
    pool_timeout=2,
    connect_args={"connect_timeout": 3, "options": "-c statement_timeout=5000"},
)


@app.post("/orders")
def place():
    with Session(engine) as session:
        order = Order(customer=request.json["customer"])
        session.add(order)
        session.flush()
        session.add(Invoice(order_id=order.id, amount=request.json["amount"]))
        session.commit()
        return jsonify(id=order.id), 201


@app.post("/orders/<int:order_id>/cancel")
def cancel(order_id):
    with Session(engine) as session:
        order = session.get(Order, order_id)
        order.status = "cancelled"
        for invoice in session.scalars(select(Invoice).where(Invoice.order_id == order_id)):
            invoice.state = "void"
        session.commit()
    return "", 204
