"""Calling uv: with the settings that count here, telling of its progress, and why it has failed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from kubeling.engine.uvtalk import explain, is_network_trouble, progress

__all__ = ["NoNetwork", "PullError", "UvCall"]

_PAUSE: Final = 0.5
"""Seconds that progress waits for more of it, so that it is told in few pieces."""


class PullError(Exception):
    """An environment could not be prepared; the message says what failed and what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(f"{why}: {remedy}" if remedy else why)
        self.why = why
        self.remedy = remedy


class NoNetwork(PullError):
    """Something could not be fetched."""


@dataclass(frozen=True, slots=True)
class UvCall:
    """How uv is called here: from the workspace, whose ``uv.toml`` counts."""

    program: str
    folder: Path
    env: dict[str, str]
    install_options: list[str]
    tell: Callable[[str], None]
    """Hears of the progress."""

    @classmethod
    def here(cls, folder: Path, tell: Callable[[str], None]) -> UvCall:
        from uv import find_uv_bin

        from kubeling.engine.pipsettings import own_of_uv, pip_settings, uv_options, uv_variables

        environ, home = os.environ, Path.home()
        pip = pip_settings(environ, home)
        sources = not own_of_uv(environ, home, folder)
        variables = uv_variables(pip, environ, sources=sources)
        options = uv_options(pip, sources=sources)
        return cls(str(find_uv_bin()), folder, {**environ, **variables}, options, tell)

    def offline(self) -> UvCall:
        """The same with nothing but what is in uv's cache."""
        return replace(self, env={**self.env, "UV_OFFLINE": "1"})

    async def run(self, *arguments: str) -> None:
        """Raises :class:`PullError`."""
        process = await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.folder,
            env=self.env,
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
            kind = NoNetwork if is_network_trouble(output) else PullError
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
            self.tell(", ".join(news))
            news.clear()
