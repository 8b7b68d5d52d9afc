"""Downloads of artifacts, with a bar, in bounded memory, going on where one stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from kubeling.cli.errors import CliError

__all__ = ["download_artifact"]

_API: Final = "/apis/v2beta1/artifacts"
_FOLDER: Final = "X-Artifact-Folder"
_PIECE: Final = 1 << 20
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=10, sock_read=120)
_COLUMNS: Final = (
    TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
)  # fmt: skip


async def download_artifact(url: str, artifact: str, target: Path | None) -> Path:
    """Writes the artifact to the target, or beside us under its own name; returns where it is."""
    async with aiohttp.ClientSession(url, timeout=_TIMEOUT) as session:
        found = await _json(session, f"{_API}/{artifact}")
        name = str(found.get("uri", "")).rstrip("/").rpartition("/")[2] or artifact
        path = target or Path(name)
        content = f"{_API}/{artifact}/content"
        files = await _files(session, content)
        with Progress(*_COLUMNS, console=Console(stderr=True)) as progress:
            if files is None:
                await _download(session, content, {}, path, progress)
                return path
            for file in files:
                below = _inside(path, file)
                await _download(session, content, {"path": file}, below, progress)
    return path


async def _files(session: aiohttp.ClientSession, content: str) -> list[str] | None:
    """The files of a folder; ``None`` of an artifact that is one file."""
    async with session.get(content, headers={"Range": "bytes=0-0"}) as response:
        await _check(response)
        if response.headers.get(_FOLDER) != "true":
            return None
        listing = await response.json()
        return [str(file["path"]) for file in listing["files"]]


async def _download(
    session: aiohttp.ClientSession,
    content: str,
    query: dict[str, str],
    target: Path,
    progress: Progress,
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f"{target.name}.part")
    have = scratch.stat().st_size if scratch.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    async with session.get(content, params=query, headers=headers) as response:
        if response.status == 416:  # all of it is there
            scratch.replace(target)
            return
        await _check(response)
        goes_on = response.status == 206
        total = response.content_length
        known = None if total is None else total + (have if goes_on else 0)
        bar = progress.add_task(target.name, total=known, completed=have if goes_on else 0)
        with scratch.open("ab" if goes_on else "wb") as file:
            async for piece in response.content.iter_chunked(_PIECE):
                file.write(piece)
                progress.advance(bar, len(piece))
    scratch.replace(target)


def _inside(folder: Path, name: str) -> Path:
    """Where a file of a folder goes; never beside it, whatever its name says."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise CliError(f"the artifact has a file {name!r}, which is outside of it")
    return path


async def _json(session: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    async with session.get(path) as response:
        await _check(response)
        found: dict[str, Any] = await response.json()
        return found


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        answer = await response.json()
        raise CliError(str(answer.get("message", answer)))
