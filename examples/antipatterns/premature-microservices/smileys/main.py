"""Turns :) into a smiley."""

import os

from kombu import Connection, Exchange, Queue
from kombu.mixins import ConsumerProducerMixin

book = Exchange("book", type="topic")
incoming = Queue("smileys", book, routing_key="entry.written")


class Smileys(ConsumerProducerMixin):
    def __init__(self, connection):
        self.connection = connection

    def get_consumers(self, Consumer, channel):
        return [Consumer([incoming], callbacks=[self.heard])]

    def heard(self, body, message):
        text = body["text"].replace(":)", "\N{SLIGHTLY SMILING FACE}")
        self.producer.publish({"text": text}, exchange=book, routing_key="entry.smiling")
        message.ack()


if __name__ == "__main__":
    with Connection(os.environ["AMQP_URL"], connect_timeout=3) as connection:
        Smileys(connection).run()
