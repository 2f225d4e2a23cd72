"""Takes greetings and tells the others of them."""

import os
import sqlite3

from flask import Flask, request
from kombu import Connection, Exchange

app = Flask(__name__)
book = Exchange("book", type="topic")


@app.post("/entries")
def write():
    text = request.get_json()["text"][:500]
    with Connection(os.environ["AMQP_URL"], connect_timeout=3) as connection:
        connection.Producer().publish({"text": text}, exchange=book, routing_key="entry.written", declare=[book])
    return "", 202


@app.get("/entries")
def read():
    with sqlite3.connect(os.environ["DATABASE_PATH"], timeout=3) as database:
        return [row[0] for row in database.execute("SELECT text FROM entries ORDER BY id DESC LIMIT 50")]


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=8000)
