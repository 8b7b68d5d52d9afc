"""Repositories that stand in for those of others' examples, served by Git's own program."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

__all__ = ["make_repositories", "serving"]

_REPOSITORIES: Final[dict[str, tuple[str, ...]]] = {
    "argoproj-labs/go-git.git": (),
    "argoproj/argo-workflows.git": ("v2.1.1",),
    "golang/example.git": ("cfe12d6",),
}
"""What each has beside ``master``; a commit's name cannot be had, so a tag stands for it."""

_FILES: Final = {"VERSION": "0.0.0\n", "README.md": "stands for others' work\n", "hello/x.go": ""}


def make_repositories(folder: Path) -> None:
    """Makes them all below a folder."""
    work = folder / "work"
    for name, text in _FILES.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    _git(work, "init", "-q", "-b", "master")
    _git(work, "add", ".")
    _git(work, *who, "commit", "-q", "-m", "Begin")
    for name, tags in _REPOSITORIES.items():
        _git(folder, "clone", "-q", "--bare", str(work), name)
        for tag in tags:
            _git(folder / name, "tag", tag)


def serving(folder: Path) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler of all requests for the repositories in a folder (``git http-backend``)."""

    async def serve(request: web.Request) -> web.Response:
        variables = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_ADDR": "127.0.0.1",
            "PATH_INFO": request.path,
            "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        }
        pipe = asyncio.subprocess.PIPE
        git = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=variables, stdin=pipe, stdout=pipe
        )
        head, _, body = (await git.communicate(await request.read()))[0].partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(fields.pop("Status", "200").split()[0])
        return web.Response(body=body, status=status, headers=fields)

    return serve


def _git(where: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=where, check=True)
