"""Money that was taken."""

import os

from flask import Flask, jsonify, request
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, insert

app = Flask(__name__)
engine = create_engine(
    os.environ["DATABASE_URL"], connect_args={"connect_timeout": 3, "read_timeout": 5, "write_timeout": 5}
)
charges = Table(
    "charges",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("card", String(32)),
    Column("amount", Integer),
)


@app.post("/charges")
def charge():
    wanted = request.get_json()
    if wanted["card"].startswith("declined"):
        return jsonify(error="declined"), 402
    with engine.begin() as connection:
        row = connection.execute(insert(charges).values(card=wanted["card"], amount=wanted["amount"]))
    return jsonify(id=row.inserted_primary_key[0]), 201
