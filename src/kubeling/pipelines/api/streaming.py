"""Sending what artifacts hold, piece by piece; archives unpacked on the way, in bounded memory.

Artifacts are what users' programs wrote: nothing in them may run in the name of our pages.
"""

from __future__ import annotations

import asyncio
import io
import logging
import mimetypes
import tarfile
from collections.abc import Callable, Iterator
from typing import IO, Final

from aiohttp import web

from kubeling.artifacts.errors import ArtifactError
from kubeling.kube.objects import Obj
from kubeling.pipelines.api.wire import answer

__all__ = [
    "ARCHIVES",
    "FOLDER",
    "MAX_LISTED",
    "SAFE",
    "first_member",
    "folder",
    "kind_of",
    "pieces_of",
    "stream",
]

ARCHIVES: Final = (".tgz", ".tar.gz")
FOLDER: Final = "X-Artifact-Folder"
MAX_LISTED: Final = 1000
SAFE: Final = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
_PIECE: Final = 1 << 18

log = logging.getLogger(__name__)

Pieces = Callable[[], Iterator[bytes]]


def folder(listing: Obj) -> web.Response:
    """The files of a folder; the header tells it from a file that is JSON."""
    response = answer(listing)
    response.headers[FOLDER] = "true"
    return response


async def stream(request: web.Request, pieces: Pieces, name: str, peek: int) -> web.StreamResponse:
    """Sends pieces as they are read; what goes wrong before the first is an error's answer."""
    source = pieces()
    loop = asyncio.get_running_loop()
    piece = await loop.run_in_executor(None, next, source, b"")
    response = web.StreamResponse(headers={**SAFE, "Content-Type": kind_of(name)})
    await response.prepare(request)
    left = peek or None
    while piece:
        shown = piece if left is None else piece[:left]
        await response.write(shown)
        if left is not None and (left := left - len(shown)) <= 0:
            break
        try:
            piece = await loop.run_in_executor(None, next, source, b"")
        except ArtifactError as error:
            # The client must not take what it has for the whole: it finds the line cut.
            log.warning("%s: %s", request.path, error)
            if request.transport is not None:
                request.transport.abort()
            return response
    await response.write_eof()
    return response


def pieces_of(file: IO[bytes]) -> Iterator[bytes]:
    """A file in pieces; it is closed at the end."""
    with file:
        while piece := file.read(_PIECE):
            yield piece


def first_member(pieces: Pieces) -> Iterator[bytes]:
    """The first file in an archive, or the archive itself if it cannot be read as one."""
    begun = False
    try:
        with tarfile.open(fileobj=_Reader(pieces()), mode="r|gz") as archive:
            for member in archive:
                found = archive.extractfile(member) if member.isfile() else None
                if found is not None:
                    for piece in pieces_of(found):
                        begun = True
                        yield piece
                    return
    except (tarfile.TarError, EOFError, OSError) as error:
        if begun:
            # What was sent already must not be followed by the archive.
            raise ArtifactError(f"the archive is cut off: {error}") from error
    yield from pieces()


class _Reader(io.RawIOBase):
    """Pieces as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._held = b""

    def read(self, size: int = -1) -> bytes:
        while len(self._held) < size and (piece := next(self._pieces, b"")):
            self._held += piece
        found, self._held = self._held[:size], self._held[size:]
        return found


def kind_of(name: str) -> str:
    """The content type that a name stands for."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
