"""Stand-ins for hosts of the internet that others' examples speak to, behind a proxy.

A platform that is told of the proxy (as users behind one tell it) reaches them by their own names,
with certificates that it is told to trust. They answer with what the examples ask for, and hold
nothing of the real hosts. All other hosts are passed through: package registries, for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiohttp import web
from tests.conformance.outside_git import make_repositories, serving
from tests.support.objectstore import object_store

from kubeling.apiserver.tls import Authority

__all__ = ["address", "outside"]

_PAGES: Final = (
    "argoproj.github.io",
    "github.com",
    "google.com",
    "httpbin.org",
    "raw.githubusercontent.com",
)
_STORES: Final = ("s3.amazonaws.com", "storage.googleapis.com")
_BUCKETS: Final[dict[str, dict[str, bytes]]] = {
    "kubernetes-release": {
        "release/v1.8.0/bin/linux/amd64/kubectl": b'#!/bin/sh\necho "stands for kubectl: $*"\n'
    },
    "ml-pipeline-playground": {
        f"shakespeare{number}.txt": b"stands for a play\n" for number in (1, 2)
    },
    "my-bucket": {},
    "my-bucket-name": {"path/in/bucket": b"hello\n"},
}
_NEAR: Final = "localhost,127.0.0.1,10.0.0.0/8,.svc,.cluster.local"


def address() -> str:
    """The machine's own address, which pods reach, too; without a network only its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@contextlib.contextmanager
def outside(folder: Path) -> Iterator[dict[str, str]]:
    """Serves until the block ends; gives the variables by which a platform finds the stand-ins.

    ``folder`` is one that pods see: the certificates to trust are kept in it.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    with object_store(**_BUCKETS) as store:
        hosts = _Hosts(folder, int(store.url.rpartition(":")[2]))
        try:
            port = asyncio.run_coroutine_threadsafe(hosts.start(), loop).result(30)
            proxy = f"http://{address()}:{port}"
            trusted = str(hosts.trusted)
            yield {
                **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), proxy),
                **dict.fromkeys(("NO_PROXY", "no_proxy"), _NEAR),
                **dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"), trusted),
            }
        finally:
            asyncio.run_coroutine_threadsafe(hosts.stop(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class _Hosts:
    """The proxy, and the servers it leads to."""

    def __init__(self, folder: Path, store: int) -> None:
        self._authority = Authority(folder / "outside")
        system = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
        known = system.read_text() if system.exists() else ""
        self.trusted = folder / "outside" / "trusted.pem"
        self.trusted.write_text(f"{known}\n{self._authority.certificate}")
        self._repositories = folder / "outside" / "git"
        make_repositories(self._repositories)
        self._store = store
        self._ports: dict[str, int] = {}
        self._ends = contextlib.AsyncExitStack()

    async def start(self) -> int:
        """The proxy's port."""
        runner = web.AppRunner(_pages(self._repositories))
        await runner.setup()
        self._ends.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pages = runner.addresses[0][1]
        for host in (*_PAGES, *_STORES):
            plain = self._store if host in _STORES else pages
            self._ports[host] = await self._secured(host, plain)
        return await self._listen(self._serve, address())

    async def stop(self) -> None:
        """Nothing is served any more."""
        await self._ends.aclose()

    async def _secured(self, host: str, plain: int) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _joined(reader, writer, "127.0.0.1", plain)

        now = dt.datetime.now(dt.UTC)
        context = self._authority.server_context(host, now)
        return await self._listen(serve, "127.0.0.1", context)

    async def _listen(
        self, serve: object, where: str, context: ssl.SSLContext | None = None
    ) -> int:
        server = await asyncio.start_server(serve, where, 0, ssl=context)  # type: ignore[arg-type]
        self._ends.callback(server.close)
        return int(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One ``CONNECT``, and what follows it."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        host, _, port = target.rpartition(":")
        if method != "CONNECT":
            writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        played = self._ports.get(host)
        where, at = ("127.0.0.1", played) if played else (host, int(port))
        await _joined(reader, writer, where, at, b"HTTP/1.1 200 Connection established\r\n\r\n")


async def _joined(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    port: int,
    greeting: bytes = b"",
) -> None:
    """Carries bytes both ways until either side has ended."""
    with contextlib.closing(writer):
        try:
            inner, back = await asyncio.open_connection(host, port)
        except OSError:
            if greeting:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(greeting)
        await asyncio.gather(_carried(reader, back), _carried(inner, writer))


async def _carried(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError), contextlib.closing(to):
        while data := await source.read(1 << 16):
            to.write(data)
            await to.drain()


def _pages(repositories: Path) -> web.Application:
    repository = serving(repositories)

    async def answer(request: web.Request) -> web.Response:
        path = request.path
        if path.startswith("/status/"):
            return web.Response(status=int(path.rpartition("/")[2]))
        if "thisisnotahash" in path or path.endswith("not-found"):
            return web.Response(status=404, text="there is no such page")
        return web.json_response({"host": request.host, "path": path})

    app = web.Application()
    app.router.add_route("*", r"/{path:.*\.git/.*}", repository)
    app.router.add_route("*", "/{path:.*}", answer)
    return app
