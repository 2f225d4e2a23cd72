"""Counts greetings."""

import os
import sqlite3

from kombu import Connection, Exchange, Queue
from kombu.mixins import ConsumerMixin

book = Exchange("book", type="topic")
incoming = Queue("counters", book, routing_key="entry.smiling")


class Worker(ConsumerMixin):
    def __init__(self, connection):
        self.connection = connection

    def get_consumers(self, Consumer, channel):
        return [Consumer([incoming], callbacks=[self.heard])]

    def heard(self, body, message):
        text = body["text"]
        with sqlite3.connect(os.environ["DATABASE_PATH"], timeout=3) as database:
            database.execute("UPDATE counters SET n = n + 1 WHERE name = ?", (text[:1],))
        message.ack()


if __name__ == "__main__":
    with Connection(os.environ["AMQP_URL"], connect_timeout=3) as connection:
        Worker(connection).run()
