"""The limit: httptools and uvloop, which answer a request with its own body.

Usage: echo_serving.py FOLDER PORT GRPC_PORT WORKERS
"""

import asyncio
import os
import sys
from typing import cast

import httptools
import uvloop

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body = body

    def on_message_complete(self) -> None:
        self.transport.write(HEAD % (len(self.body), self.body))


async def main() -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Echo, "127.0.0.1", int(sys.argv[2]), reuse_port=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    for _ in range(1, int(sys.argv[4])):
        if os.fork() == 0:
            break
    uvloop.run(main())
