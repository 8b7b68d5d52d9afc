"""A registry of one image, as far as pulling goes (the OCI distribution specification)."""

import base64
import gzip
import hashlib
import json
from pathlib import Path

from aiohttp import web


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Registry:
    """Serves ``team/box:1`` on a loopback port; with ``password``, to ``user`` only.

    ``asked`` counts the requests for its manifest.
    """

    def __init__(self, archive: Path, password: str = "") -> None:
        self._password = password
        self.asked = 0
        self.port = 0
        layer = archive.read_bytes()
        packed = gzip.compress(layer, 1, mtime=0)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["echo", "pulled"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
        settings = json.dumps(config).encode()
        kind = "application/vnd.oci.image"
        self._manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{kind}.manifest.v1+json",
                "config": _part(f"{kind}.config.v1+json", settings),
                "layers": [_part(f"{kind}.layer.v1.tar+gzip", packed)],
            }
        ).encode()
        self._blobs = {_digest(content): content for content in (settings, packed)}
        self.digest = _digest(self._manifest)

    @property
    def image(self) -> str:
        return f"127.0.0.1:{self.port}/team/box:1"

    async def start(self) -> web.AppRunner:
        app = web.Application(middlewares=[self._check])
        app.router.add_get("/v2/", self._answer)
        app.router.add_get("/v2/team/box/manifests/{reference}", self._get_manifest)
        app.router.add_get("/v2/team/box/blobs/{digest}", self._get_blob)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    @web.middleware
    async def _check(self, request: web.Request, handler: object) -> web.StreamResponse:
        wanted = base64.b64encode(f"user:{self._password}".encode()).decode()
        if self._password and request.headers.get("Authorization") != f"Basic {wanted}":
            return web.json_response(
                {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]},
                status=401,
                headers={"WWW-Authenticate": 'Basic realm="tests"'},
            )
        return await handler(request)  # type: ignore[operator, no-any-return]

    async def _answer(self, request: web.Request) -> web.Response:
        return web.json_response({})

    async def _get_manifest(self, request: web.Request) -> web.Response:
        self.asked += 1
        if request.match_info["reference"] not in ("1", self.digest):
            return web.json_response(
                {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]},
                status=404,
            )
        kind = json.loads(self._manifest)["mediaType"]
        headers = {"Docker-Content-Digest": self.digest}
        return web.Response(body=self._manifest, content_type=kind, headers=headers)

    async def _get_blob(self, request: web.Request) -> web.Response:
        return web.Response(body=self._blobs[request.match_info["digest"]])


def _part(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}
