"""Building one Python environment with uv: progress as it goes, and the last word if it fails."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from kubeling.engine.images import PythonEnvironment
from kubeling.engine.uvtalk import explain, is_network_trouble, progress

__all__ = ["COMPLETE", "Building", "Built", "PullError", "size_of"]

COMPLETE: Final = "complete"
"""The file that says an environment is whole; its time is when it was last used."""

_PAUSE: Final = 0.5
"""Seconds that progress waits for more of it, so that it is told in few pieces."""


class PullError(Exception):
    """An environment could not be prepared; the message says what failed and what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(f"{why}: {remedy}" if remedy else why)
        self.why = why
        self.remedy = remedy


class Built(msgspec.Struct, frozen=True):
    """What is written into :data:`COMPLETE`."""

    size: int
    requirements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Call:
    """How uv is called here: from the workspace, whose ``uv.toml`` counts."""

    program: str
    folder: Path
    env: dict[str, str]
    install_options: list[str]

    @classmethod
    def here(cls, folder: Path) -> _Call:
        from uv import find_uv_bin

        from kubeling.engine.pipsettings import own_of_uv, pip_settings, uv_options, uv_variables

        environ, home = os.environ, Path.home()
        pip = pip_settings(environ, home)
        sources = not own_of_uv(environ, home, folder)
        variables = uv_variables(pip, environ, sources=sources)
        options = uv_options(pip, sources=sources)
        return cls(str(find_uv_bin()), folder, {**environ, **variables}, options)


class Building:
    """A build under way: any number may wait for it and hear of its progress.

    Built in place, because the scripts in an environment name its path, and marked when complete.
    """

    def __init__(
        self, home: Path, python: PythonEnvironment, workspace: Path, parts: BuildParts
    ) -> None:
        self._home = home
        self._python = python
        self._workspace = workspace
        self._parts = parts
        self._listeners: list[Callable[[str], None]] = []

    def listen(self, tell: Callable[[str], None]) -> None:
        """From now on, tells of progress."""
        self._listeners.append(tell)

    async def run(self) -> None:
        """Raises :class:`PullError`."""
        call = _Call.here(self._workspace)
        try:
            await self._build(call)
        except _NoNetwork as error:
            # All that is needed may be in uv's cache.
            try:
                await self._build(_offline(call))
            except PullError as missing:
                why = f"{missing.why}, and it could not be fetched: {error.why}"
                raise PullError(why, error.remedy) from error

    async def _build(self, call: _Call) -> None:
        python = self._python
        await asyncio.to_thread(_start_over, self._home)
        interpreter = python.version or sys.executable
        await self._uv(call, "venv", "--seed", "--python", interpreter, str(self._home))
        # Compiled now, because a container's changes to the environment, compilation among them,
        # are its own and lost with it.
        options = ["--compile-bytecode", "--python", str(self._home / "bin" / "python")]
        options += call.install_options
        if self._parts.requirements:
            await self._uv(call, "pip", "install", *options, *self._parts.requirements)
        if python.bare:
            await self._uv(call, "pip", "install", *options, "--no-deps", *python.bare)
        if self._parts.sees_platform:
            _show_platform(self._home)
        size = await asyncio.to_thread(size_of, self._home)
        built = Built(size, (*python.requirements, *python.bare))
        (self._home / COMPLETE).write_bytes(msgspec.json.encode(built))

    async def _uv(self, call: _Call, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            call.program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=call.folder,
            env=call.env,
        )
        try:
            assert process.stdout is not None
            output = await self._read(process.stdout)
            await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            kind = _NoNetwork if is_network_trouble(output) else PullError
            why, remedy = explain(output)
            raise kind(why or f"uv {arguments[0]}: exit code {process.returncode}", remedy)

    async def _read(self, stream: asyncio.StreamReader) -> str:
        lines: list[str] = []
        news: list[str] = []
        while True:
            try:
                async with asyncio.timeout(_PAUSE if news else None):
                    data = await stream.readline()
            except TimeoutError:
                self._tell(news)
                continue
            if not data:
                self._tell(news)
                return "".join(lines)
            lines.append(data.decode(errors="replace"))
            if text := progress(lines[-1]):
                news.append(text)

    def _tell(self, news: list[str]) -> None:
        if news:
            for listener in self._listeners:
                listener(", ".join(news))
            news.clear()


@dataclass(frozen=True, slots=True)
class BuildParts:
    """What to install, and whether the platform's packages are seen behind it."""

    requirements: tuple[str, ...]
    sees_platform: bool


class _NoNetwork(PullError):
    """Something could not be fetched."""


def _offline(call: _Call) -> _Call:
    env = {**call.env, "UV_OFFLINE": "1"}
    return _Call(call.program, call.folder, env, call.install_options)


def size_of(folder: Path) -> int:
    """What a folder takes on disk, in bytes."""
    total = 0
    for parent, _, files in os.walk(folder):
        for file in files:
            total += os.lstat(os.path.join(parent, file)).st_blocks * 512
    return total


def _show_platform(home: Path) -> None:
    """Adds the platform's packages behind the environment's own, editable ones included."""
    own = sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)})
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (Path(own) / "kubeling-platform.pth").write_text(line)


def _start_over(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
