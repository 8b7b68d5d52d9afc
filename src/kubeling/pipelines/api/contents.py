"""The files of artifacts over HTTP: ranges, the first bytes, archives unpacked, in bounded memory.

What lies in the store or the workspace is sent by the kernel; what lies in a bucket is passed on in
pieces. Artifacts are what users'
programs wrote: nothing in them may run in the name of our pages.
"""

from __future__ import annotations

import asyncio
import mimetypes
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from aiohttp import web

from kubeling.artifacts.store import ArtifactError, ArtifactNotFound, local_path
from kubeling.component import Context
from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import InvalidArgumentError, NotFoundError
from kubeling.pipelines.api.service import DEFAULT_NAMESPACE
from kubeling.pipelines.api.wire import answer
from kubeling.pipelines.bucket_access import open_bucket
from kubeling.pipelines.previews import HEAD, text_preview

__all__ = ["FOLDER", "Contents"]

FOLDER: Final = "X-Artifact-Folder"

_PIECE: Final = 1 << 18
_MAX_LISTED: Final = 1000
_SAFE: Final = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}


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
            return await self._remote(request, namespace, uri, below, peek)
        path = await asyncio.to_thread(self.file_of, uri, below, folder)
        if path.is_dir():
            return _folder(await asyncio.to_thread(self._listing, path))
        if unpack and path.name.endswith((".tgz", ".tar.gz")):
            return await _stream(request, lambda: _first_member(path), path.name, peek)
        if peek:
            return await _stream(request, lambda: _pieces(path.open("rb")), path.name, peek)
        return web.FileResponse(path, headers={**_SAFE, "Content-Type": _kind(path.name)})

    async def preview(self, uri: str, title: str, below: str, folder: Path | None) -> Obj:
        """What a page needs to draw a file; of a folder, the list of its files."""
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
                for f, _ in zip(files, range(_MAX_LISTED), strict=False)
            ]
        except ArtifactError as error:
            raise NotFoundError(str(error)) from None
        return {"files": shown}

    async def _remote(
        self, request: web.Request, namespace: str, uri: str, below: str, peek: int
    ) -> web.StreamResponse:
        try:
            bucket, key = await open_bucket(self._context.client, namespace, uri)
            key = f"{key}/{below}".strip("/")
            files = await asyncio.to_thread(bucket.files, key)
            if not files:
                raise NotFoundError(f"there is nothing at {uri}")
            if list(files) != [key]:
                names = sorted(files.values())[:_MAX_LISTED]
                return _folder({"files": [{"path": name} for name in names]})
            return await _stream(request, lambda: bucket.open(key), key, peek)
        except ArtifactNotFound as error:
            raise NotFoundError(str(error)) from None
        except ArtifactError as error:
            raise InvalidArgumentError(str(error)) from None


def _folder(listing: Obj) -> web.Response:
    """The files of a folder; the header tells it from a file that is JSON."""
    response = answer(listing)
    response.headers[FOLDER] = "true"
    return response


async def _stream(
    request: web.Request, pieces: Callable[[], Iterator[bytes]], name: str, peek: int
) -> web.StreamResponse:
    """Sends pieces as they are read; what goes wrong before the first is an error's answer."""
    source = pieces()
    loop = asyncio.get_running_loop()
    piece = await loop.run_in_executor(None, next, source, b"")
    response = web.StreamResponse(headers={**_SAFE, "Content-Type": _kind(name)})
    await response.prepare(request)
    left = peek or None
    while piece:
        shown = piece if left is None else piece[:left]
        await response.write(shown)
        if left is not None and (left := left - len(shown)) <= 0:
            break
        piece = await loop.run_in_executor(None, next, source, b"")
    await response.write_eof()
    return response


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


def _first_member(path: Path) -> Iterator[bytes]:
    """The first file in an archive, or the archive itself if it cannot be read as one."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            member = next((m for m in archive if m.isfile()), None)
            found = archive.extractfile(member) if member is not None else None
            if found is not None:
                yield from _pieces(found)
                return
    except (tarfile.TarError, EOFError, OSError):
        pass
    yield from _pieces(path.open("rb"))


def _kind(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
