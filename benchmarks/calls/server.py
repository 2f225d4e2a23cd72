"""The server that all clients call: it reads to the end of a head and answers, and nothing more. Prints its port."""

from __future__ import annotations

import asyncio
import gc

import uvloop

BODY = b'{"sku":"LAMP-1","quantity":3,"reserved":true}'
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
END = b"\r\n\r\n"


class Answering(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.left = b""

    def data_received(self, data):
        *heads, self.left = (self.left + data).split(END)
        if heads:
            self.transport.write(REPLY * len(heads))


async def main() -> None:
    gc.freeze()  # what the package beside this loads is none of the server's: to look through it takes tens of milliseconds
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
