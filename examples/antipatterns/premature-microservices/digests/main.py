"""Keeps the text for the weekly digest."""

import os
import sqlite3

from kombu import Connection, Exchange, Queue
from kombu.mixins import ConsumerMixin

book = Exchange("book", type="topic")
incoming = Queue("digests", book, routing_key="entry.smiling")


class Worker(ConsumerMixin):
    def __init__(self, connection):
        self.connection = connection

    def get_consumers(self, Consumer, channel):
        return [Consumer([incoming], callbacks=[self.heard])]

    def heard(self, body, message):
        text = body["text"]
        with sqlite3.connect(os.environ["DATABASE_PATH"], timeout=3) as database:
            database.execute("INSERT INTO digests (text) VALUES (?)", (text,))
        message.ack()


if __name__ == "__main__":
    with Connection(os.environ["AMQP_URL"], connect_timeout=3) as connection:
        Worker(connection).run()
