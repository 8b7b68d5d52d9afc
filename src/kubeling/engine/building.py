"""Building one Python environment with uv: progress as it goes, and the last word if it fails.

Byte code is compiled when the environment can be used already, beside the first containers. They
compile what they import, for themselves: a container's changes to an environment are its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubeling.engine.envfolder import mark_whole
from kubeling.engine.images import PythonEnvironment
from kubeling.engine.seeds import Seeds, settle
from kubeling.engine.uvcall import NoNetwork, PullError, UvCall

__all__ = ["BuildParts", "Building", "PullError", "compile_bytecode"]

log = logging.getLogger(__name__)

_EXACT: Final = re.compile(r"[\w.-]+(\[[\w.,-]*\])?==[\w.!+-]+")
"""A requirement that one version meets."""

_COMPILE_AFTER: Final = 0.5
"""Seconds in which whoever waited for the environment goes on undisturbed."""


class Building:
    """A build under way: any number may wait for it and hear of its progress.

    Built in place, because the scripts in an environment name its path, and marked when complete.
    """

    def __init__(
        self,
        home: Path,
        python: PythonEnvironment,
        workspace: Path,
        parts: BuildParts,
        seeds: Seeds,
    ) -> None:
        self._home = home
        self._python = python
        self._workspace = workspace
        self._parts = parts
        self._seeds = seeds
        self._listeners: list[Callable[[str], None]] = []
        self.seed_name = ""
        """What it began with, and needs until it has ended."""

    def listen(self, tell: Callable[[str], None]) -> None:
        """From now on, tells of progress."""
        self._listeners.append(tell)

    def _tell(self, news: str) -> None:
        for listener in self._listeners:
            listener(news)

    async def run(self) -> None:
        """Raises :class:`PullError`."""
        call = UvCall.here(self._workspace, self._tell)
        try:
            await self._build(call)
        except NoNetwork as error:
            # All that is needed may be in uv's cache.
            try:
                await self._build(call.offline())
            except PullError as missing:
                why = f"{missing.why}, and it could not be fetched: {error.why}"
                raise PullError(why, error.remedy) from error

    async def _build(self, call: UvCall) -> None:
        python = self._python
        seed = await self._seeds.plant(python.version or sys.executable, self._home, call)
        self.seed_name = seed.name
        into = ("--python", str(seed / "bin" / "python"), "--prefix", str(self._home))
        if self._parts.requirements:
            await self._install_parts(call, *into)
        if python.bare:
            await self._install_bare(call, *into)
        if self._parts.sees_platform:
            _show_platform(self._home)
        size = await asyncio.to_thread(settle, seed, self._home)
        mark_whole(self._home, size, (*python.requirements, *python.bare))

    async def _install_parts(self, call: UvCall, *into: str) -> None:
        parts = self._parts
        if parts.optional:
            try:
                await self._install(call, *into, *parts.requirements, *parts.optional)
            except NoNetwork:
                raise
            except PullError as error:
                log.info("%s goes without %s: %s", self._home, ", ".join(parts.optional), error)
            else:
                return
        await self._install(call, *into, *parts.requirements)

    async def _install_bare(self, call: UvCall, *into: str) -> None:
        """Where the versions are given and nothing else comes with them, the cache cannot lag."""
        bare = self._python.bare
        if all(_EXACT.fullmatch(requirement) for requirement in bare):
            try:
                await self._install(call.offline(), *into, "--no-deps", *bare)
            except PullError:
                pass  # not there yet, or not found: that is told by the next attempt
            else:
                return
        await self._install(call, *into, "--no-deps", *bare)

    async def _install(self, call: UvCall, *arguments: str) -> None:
        await call.run("pip", "install", *call.install_options, *arguments)


@dataclass(frozen=True, slots=True)
class BuildParts:
    """What to install, and whether the platform's packages are seen behind it."""

    requirements: tuple[str, ...]
    sees_platform: bool
    optional: tuple[str, ...] = ()


async def compile_bytecode(home: Path) -> None:
    """Compiles all modules of an environment: soon, and after whatever else there is to do."""
    await asyncio.sleep(_COMPILE_AFTER)
    options = ["-I", "-S", "-m", "compileall", "-q", "-j", "0"]
    try:
        process = await asyncio.create_subprocess_exec(
            "nice", "-n", "19", str(home / "bin" / "python"), *options, str(home / "lib"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        log.info("%s stays without byte code: %s", home.name, error)
        return
    try:
        await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise


def _show_platform(home: Path) -> None:
    """Adds the platform's packages behind the environment's own, editable ones included."""
    own = sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)})
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (Path(own) / "kubeling-platform.pth").write_text(line)
