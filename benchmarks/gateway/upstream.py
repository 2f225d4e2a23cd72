"""An upstream for machines without nginx: it answers 1 KiB of JSON to any request without a body, and counts them."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from benchmarks.gateway.configurations import BODY

REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
END = b"\r\n\r\n"
COUNT = b"GET /-/count "


class Answering(asyncio.Protocol):
    answered = 0

    def connection_made(self, transport):
        self.transport = transport
        self.left = b""

    def data_received(self, data):
        *heads, self.left = (self.left + data).split(END)
        Answering.answered += len(heads)
        if heads and heads[0].startswith(COUNT):
            # the shape of nginx's own page: accepts, handled, requests
            body = b"server accepts handled requests\n 0 0 %d \n" % Answering.answered
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        elif heads:
            self.transport.write(REPLY * len(heads))


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
