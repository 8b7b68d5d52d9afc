"""A folder as a ``tgz`` that is sent while it is made, through a pipe: no copy, little memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aiohttp import web

__all__ = ["packed"]

_CHUNK: Final = 1 << 16


async def packed(
    request: web.Request, folder: Path, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Sends the folder."""
    response = web.StreamResponse(headers=dict(headers))
    response.content_type = "application/gzip"
    response.headers["Content-Disposition"] = f'filename="{quote(folder.name)}.tgz"'
    await response.prepare(request)
    reading, writing = os.pipe()
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(_CHUNK)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb")
    )
    packing = asyncio.create_task(asyncio.to_thread(_pack, folder, writing))
    try:
        while chunk := await reader.read(_CHUNK):
            await response.write(chunk)
        await packing
    finally:
        transport.close()
        await asyncio.gather(packing, return_exceptions=True)
    await response.write_eof()
    return response


def _pack(folder: Path, writing: int) -> None:
    """Writes the archive; that nobody reads it to its end is no error."""
    with (
        contextlib.suppress(BrokenPipeError),
        os.fdopen(writing, "wb") as file,
        tarfile.open(fileobj=file, mode="w|gz") as archive,
    ):
        archive.add(folder, arcname=folder.name)
