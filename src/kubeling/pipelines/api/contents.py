"""The files of artifacts over HTTP: ranges, the first bytes, archives unpacked, in bounded memory.

What lies in the store or the workspace is sent by the kernel; what lies in a bucket is
:mod:`~kubeling.pipelines.api.remote_contents`'s.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from kubeling.artifacts.store import ArtifactError, local_path
from kubeling.component import Context
from kubeling.kube.objects import Obj
from kubeling.pipelines.api import streaming
from kubeling.pipelines.api.errors import InvalidArgumentError, NotFoundError
from kubeling.pipelines.api.remote_contents import RemoteContents
from kubeling.pipelines.api.service import DEFAULT_NAMESPACE
from kubeling.pipelines.api.streaming import ARCHIVES, MAX_LISTED, SAFE, first_member, pieces_of
from kubeling.pipelines.launcher import is_stored
from kubeling.pipelines.previews import HEAD, text_preview

__all__ = ["Contents"]


class Contents:
    """Answers with what artifacts hold."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def answer(
        self,
        request: web.Request,
        uri: str,
        below: str = "",
        *,
        namespace: str = DEFAULT_NAMESPACE,
        folder: Path | None = None,
        peek: int = 0,
        unpack: bool = False,
    ) -> web.StreamResponse:
        """A file of an artifact, or the list of its files if it is a folder.

        ``namespace`` says how to reach a bucket, ``folder`` what a local file must lie in; ``peek``
        stops after so many bytes; ``unpack`` sends the first file of an archive instead of it.
        """
        if local_path(uri) is None:
            remote = RemoteContents(self._context.client, namespace)
            return await remote.answer(request, uri, below, peek=peek, unpack=unpack)
        path = await asyncio.to_thread(self.file_of, uri, below, folder)
        if path.is_dir():
            return streaming.folder(await asyncio.to_thread(self._listing, path))
        if unpack and path.name.endswith(ARCHIVES):
            unpacked = lambda: first_member(lambda: pieces_of(path.open("rb")))  # noqa: E731
            return await streaming.stream(request, unpacked, path.name, peek)
        if peek:
            return await streaming.stream(
                request, lambda: pieces_of(path.open("rb")), path.name, peek
            )
        return web.FileResponse(
            path, headers={**SAFE, "Content-Type": streaming.kind_of(path.name)}
        )

    async def preview(
        self, uri: str, title: str, below: str, *, namespace: str, folder: Path | None
    ) -> Obj:
        """What a page needs to draw a file; of a folder, the list of its files."""
        if is_stored(uri):
            remote = RemoteContents(self._context.client, namespace)
            return await remote.preview(uri, title, below)
        if local_path(uri) is None:
            return {"kind": "elsewhere", "uri": uri}
        return await asyncio.to_thread(self._preview, uri, title, below, folder)

    def _preview(self, uri: str, title: str, below: str, folder: Path | None) -> Obj:
        path = self.file_of(uri, below, folder)
        if path.is_dir():
            return {"kind": "folder", **self._listing(path)}
        with path.open("rb") as file:
            head = file.read(HEAD)
        return text_preview(title, path.name, head, path.stat().st_size)

    def file_of(self, uri: str, below: str = "", folder: Path | None = None) -> Path:
        """The path of a local artifact that may be shown."""
        path = local_path(uri)
        if path is None:
            raise InvalidArgumentError(f"{uri} is not kept here; read it where it is")
        found = (path / below).resolve() if below else path.resolve()
        settings = self._context.settings
        allowed = [self._context.artifacts.folder.resolve(), settings.workspace.resolve()]
        if folder is not None:
            allowed = [folder.resolve()]
        if not found.is_relative_to(path.resolve()):
            raise InvalidArgumentError(f"path: {below} is not below {uri}")
        if not any(found.is_relative_to(root) for root in allowed):
            raise InvalidArgumentError(f"{uri} is neither in the artifact store nor the workspace")
        if not found.exists():
            raise NotFoundError(f"the artifact's file {found} is gone or was never written")
        return found

    def _listing(self, folder: Path) -> Obj:
        try:
            files = self._context.artifacts.list(str(folder))
            shown = [
                {"path": str((local_path(f.uri) or folder).relative_to(folder)), "size": f.size}
                for f, _ in zip(files, range(MAX_LISTED), strict=False)
            ]
        except ArtifactError as error:
            raise NotFoundError(str(error)) from None
        return {"files": shown}
