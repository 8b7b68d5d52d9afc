"""Artifacts as downloads and as folders to look into. Upstream: ``server/artifacts``.

An artifact that is a folder is a ``tgz`` as a whole, and a page of links where a path into it is
asked for. Nothing outside the namespace's part of the store is given out, whatever a step has
linked to from within.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import mimetypes
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aiohttp import web

from kubeling.artifacts.store import local_path
from kubeling.component import Context
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import SECRETS
from kubeling.workflows.api.elsewhere import loaded
from kubeling.workflows.api.errors import InvalidArgument, NotFoundFailure
from kubeling.workflows.api.packed import packed
from kubeling.workflows.api.service import Service
from kubeling.workflows.places import OWN, is_elsewhere, known_repository, store_key
from kubeling.workflows.resources import WORKFLOWS

__all__ = ["ArtifactService"]

_HEADERS: Final = {
    "Content-Security-Policy": (
        "sandbox allow-same-origin; base-uri 'none'; default-src 'none'; img-src 'self'; "
        "style-src 'self' 'unsafe-inline'"
    ),
    "X-Frame-Options": "SAMEORIGIN",
}
_CHUNK: Final = 1 << 18
_DIRECTIONS: Final = ("inputs", "outputs")


class ArtifactService(Service):
    """What steps took and left."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._root = local_path(context.settings.artifacts_uri)

    async def output(self, request: web.Request) -> web.StreamResponse:
        """An output of a node of a live Workflow."""
        return await self._of_live(request, "outputs")

    async def input(self, request: web.Request) -> web.StreamResponse:
        """An input of a node of a live Workflow."""
        return await self._of_live(request, "inputs")

    async def output_by_uid(self, request: web.Request) -> web.StreamResponse:
        """An output of a node of an archived Workflow."""
        return await self._of_archived(request, "outputs")

    async def input_by_uid(self, request: web.Request) -> web.StreamResponse:
        """An input of a node of an archived Workflow."""
        return await self._of_archived(request, "inputs")

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A file of an artifact, or a page with the files of a folder."""
        match = request.match_info
        where, wanted, direction = match["namespace"], match["id"], match["direction"]
        if direction not in _DIRECTIONS:
            raise InvalidArgument(f'"{direction}" is neither inputs nor outputs')
        if match["discriminator"] == "workflows":
            workflow = await self._live(request, where, wanted)
        elif match["discriminator"] == "archived-workflows":
            workflow = await self._archived(request, wanted)
            if namespace(workflow) != where:
                raise InvalidArgument(f"the workflow is not in the namespace {where}")
        else:
            raise InvalidArgument("ask for workflows or archived-workflows")
        artifact = _artifact(workflow, match["node"], direction, match["artifact"])
        below = match.get("path", "").strip("/")
        async with self._at(request, workflow, artifact, below) as path:
            as_folder = request.path.endswith("/")
            if path.is_dir() and not as_folder:
                raise web.HTTPTemporaryRedirect(f"{request.rel_url.raw_path}/")
            if as_folder:
                return await asyncio.to_thread(_listing, request, path)
            return await self._sent(request, path)

    async def _of_live(self, request: web.Request, direction: str) -> web.StreamResponse:
        match = request.match_info
        workflow = await self._live(request, match["namespace"], match["name"])
        return await self._whole(request, workflow, direction)

    async def _of_archived(self, request: web.Request, direction: str) -> web.StreamResponse:
        workflow = await self._archived(request, request.match_info["uid"])
        return await self._whole(request, workflow, direction)

    async def _live(self, request: web.Request, where: str, wanted: str) -> Obj:
        await self.allow(request, "get", WORKFLOWS, where, wanted)
        return await self.operator.get(where, wanted)

    async def _archived(self, request: web.Request, uid: str) -> Obj:
        workflow = await (await self.archive.store()).get(uid=uid)
        if workflow is None:
            raise NotFoundFailure("workflow not yet archived")
        await self.allow(request, "get", WORKFLOWS, namespace(workflow), name(workflow))
        return workflow

    async def _whole(
        self, request: web.Request, workflow: Obj, direction: str
    ) -> web.StreamResponse:
        match = request.match_info
        artifact = _artifact(workflow, match["node"], direction, match["artifact"])
        async with self._at(request, workflow, artifact) as path:
            if path.is_dir():
                return await packed(request, path, _HEADERS)
            return await self._sent(request, path)

    @contextlib.asynccontextmanager
    async def _at(
        self, request: web.Request, workflow: Obj, artifact: Obj, below: str = ""
    ) -> AsyncIterator[Path]:
        """The file or folder, wherever the artifact lies, for the length of a block."""
        where = namespace(workflow)
        repository = known_repository(workflow["status"]) or OWN
        place = repository.located(artifact)
        if place is None:
            raise NotFoundFailure(f"artifact {artifact['name']} says nothing of where it lies")
        if "raw" in place:
            with tempfile.TemporaryDirectory(prefix="kubeling-artifact-") as folder:
                file = Path(folder) / "artifact.txt"
                file.write_text(str(place["raw"].get("data") or ""))
                yield file
        elif is_elsewhere(place):

            async def read_secret(named: str) -> Obj:
                await self.allow(request, "get", SECRETS, where, named)
                return await self.client.get(SECRETS, named, where)

            async with loaded(artifact, place, read_secret) as path:
                yield _within(path.parent, path / below if below else path)
        else:
            yield await asyncio.to_thread(self._stored, where, place, below)

    async def _sent(self, request: web.Request, path: Path) -> web.StreamResponse:
        if self._root is not None and path.is_relative_to(self._root.resolve()):
            return web.FileResponse(path, headers=_headers(path))
        return await _copied(request, path)

    def _stored(self, where: str, place: Obj, below: str) -> Path:
        """The file or folder in the namespace's part of the platform's store."""
        key = store_key(place)
        if self._root is None or not key:
            raise InvalidArgument("the platform's artifact store is no folder of this machine")
        own = (self._root / where).resolve()
        return _within(own, own / key / below if below else own / key)


def _artifact(workflow: Obj, node: str, direction: str, wanted: str) -> Obj:
    nodes: dict[str, Obj] = (workflow.get("status") or {}).get("nodes") or {}
    if node not in nodes:
        raise NotFound(f'workflow "{name(workflow)}" has no node "{node}"')
    listed: list[Obj] = (nodes[node].get(direction) or {}).get("artifacts") or []
    for artifact in listed:
        if artifact["name"] == wanted:
            return artifact
    names = ", ".join(str(artifact["name"]) for artifact in listed) or "none"
    raise NotFoundFailure(f"artifact not found: {wanted} (the node's {direction}: {names})")


def _within(root: Path, path: Path) -> Path:
    """The path with its links followed; raises unless that leads to something below the root."""
    found, root = path.resolve(), root.resolve()
    if not found.is_relative_to(root) or found == root or not found.exists():
        raise NotFoundFailure(f"no artifact at {path.name}")
    return found


def _headers(path: Path) -> dict[str, str]:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    named = {"Content-Type": kind, "Content-Disposition": f'filename="{quote(path.name)}"'}
    return {**_HEADERS, **named}


async def _copied(request: web.Request, path: Path) -> web.StreamResponse:
    """Sends a file that is gone afterwards."""
    response = web.StreamResponse(headers=_headers(path))
    await response.prepare(request)
    file = await asyncio.to_thread(path.open, "rb")
    with file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            await response.write(chunk)
    await response.write_eof()
    return response


def _listing(request: web.Request, folder: Path) -> web.Response:
    """The names in a folder, as links; its own page where it has one."""
    if not folder.is_dir():
        raise NotFoundFailure(f"{folder.name} is not a folder")
    if (folder / "index.html").is_file():
        raise web.HTTPTemporaryRedirect(f"{request.rel_url.raw_path}index.html")
    names = sorted(_shown(entry) for entry in folder.iterdir())
    links = "".join(_link(f"./{quote(entry)}", entry) for entry in names)
    page = f"<html><body><ul>\n{_link('..', '..')}{links}</ul></body></html>"
    return web.Response(text=page, content_type="text/html", headers=_HEADERS)


def _link(address: str, text: str) -> str:
    return f'<li><a href="{address}">{html.escape(text)}</a></li>\n'


def _shown(entry: Path) -> str:
    return f"{entry.name}/" if entry.is_dir() else entry.name
