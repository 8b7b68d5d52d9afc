"""Preparing what an image stands for, once per content: virtual environments by uv, scripts.

An environment whose requirements the platform's own interpreter meets is that interpreter: nothing
is installed. All others are built under a name made from their content and marked when complete, so
a crash in the middle leaves nothing that could be taken for an environment.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

from kubeling.engine.images import ImageEntry, PythonEnvironment

__all__ = ["Environment", "Environments", "PullError"]

_COMPLETE: Final = "complete"
_HOST_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class PullError(Exception):
    """An environment could not be prepared; the message is the tool's last word."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Folders that come first on a container's ``PATH``, and its identity."""

    path: tuple[Path, ...]
    digest: str

    @property
    def variables(self) -> dict[str, str]:
        """What every container of this environment starts with."""
        return {"PATH": ":".join([*map(str, self.path), os.environ.get("PATH") or _HOST_PATH])}


class Environments:
    """The prepared environments of one data directory; each is prepared by one task at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._building: dict[str, asyncio.Task[None]] = {}

    def ready(self, entry: ImageEntry) -> Environment | None:
        """The environment, if nothing has to be installed for it."""
        folders = []
        if entry.programs:
            folders.append(self._programs(entry.programs))
        if entry.python is not None:
            if _is_platform(entry.python):
                folders.append(Path(sys.executable).parent)
            elif (self._home(entry.python) / _COMPLETE).exists():
                folders.append(self._home(entry.python) / "bin")
            else:
                return None
        return Environment(tuple(folders), _digest(entry))

    async def prepare(self, entry: ImageEntry) -> Environment:
        """The environment, installed first if need be; raises :class:`PullError`."""
        while (found := self.ready(entry)) is None:
            assert entry.python is not None
            await asyncio.shield(self._build(entry.python))
        return found

    def _build(self, python: PythonEnvironment) -> asyncio.Task[None]:
        home = self._home(python)
        task = self._building.get(home.name)
        if task is None:
            task = asyncio.create_task(_build(home, python), name=f"build {home.name}")
            self._building[home.name] = task
            task.add_done_callback(lambda _: self._building.pop(home.name))
        return task

    async def stop(self) -> None:
        """Gives up what is being prepared."""
        tasks = list(self._building.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _home(self, python: PythonEnvironment) -> Path:
        parts = [python.version or sys.version, *sorted(python.requirements)]
        if python.bare:
            parts += ["bare", *sorted(python.bare)]
        text = "\n".join([*parts, "platform"] if _sees_platform(python) else parts)
        return self._folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def _programs(self, programs: dict[str, str]) -> Path:
        text = "\0".join(f"{name}\0{script}" for name, script in sorted(programs.items()))
        folder = self._folder / f"programs-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        if not folder.exists():
            fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
            fresh.mkdir(parents=True, exist_ok=True)
            for name, script in programs.items():
                (fresh / name).write_text(script)
                (fresh / name).chmod(0o755)
            fresh.rename(folder)
        return folder


async def _build(home: Path, python: PythonEnvironment) -> None:
    """Builds in place, because the scripts in an environment name its path."""
    from uv import find_uv_bin

    uv = str(find_uv_bin())
    await asyncio.to_thread(_start_over, home)
    interpreter = python.version or sys.executable
    await _run(uv, "venv", "--seed", "--quiet", "--python", interpreter, str(home))
    # Compiled now, because a container's changes to the environment, compilation among them, are
    # its own and lost with it.
    install = (*(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python"), _python(home))
    if python.requirements and not (_sees_platform(python) and _has_platform(python.requirements)):
        await _run(*install, *python.requirements)
    if python.bare:
        await _run(*install, "--no-deps", *python.bare)
    if _sees_platform(python):
        _show_platform(home)
    (home / _COMPLETE).touch()


def _python(home: Path) -> str:
    return str(home / "bin" / "python")


def _show_platform(home: Path) -> None:
    """Adds the platform's packages behind the environment's own, editable ones included."""
    own = sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)})
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (Path(own) / "kubeling-platform.pth").write_text(line)


def _start_over(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        lines = [line.strip() for line in output.decode(errors="replace").splitlines()]
        said = " ".join(line for line in lines if line)[-500:]
        raise PullError(f"uv {command[1]}: {said or f'exit code {process.returncode}'}")


def _is_platform(python: PythonEnvironment) -> bool:
    """Whether the interpreter the platform runs on will do."""
    if python.version and not sys.version.startswith(python.version):
        return False
    return _has_platform((*python.requirements, *python.bare))


def _sees_platform(python: PythonEnvironment) -> bool:
    """Whether an environment of its own shows the platform's packages behind them."""
    if python.version and not sys.version.startswith(python.version):
        return False
    return python.platform or (bool(python.bare) and _has_platform(python.requirements))


def _has_platform(requirements: Iterable[str]) -> bool:
    return all(_is_installed(requirement) for requirement in requirements)


def _is_installed(requirement: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(requirement)
    except InvalidRequirement:
        return False  # an URL or a path: uv knows what to do with it
    if wanted.url or wanted.extras:
        return False
    if wanted.marker is not None and not wanted.marker.evaluate():
        return True
    try:
        return wanted.specifier.contains(metadata.version(wanted.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def _digest(entry: ImageEntry) -> str:
    return hashlib.sha256(msgspec.json.encode(entry, order="deterministic")).hexdigest()
