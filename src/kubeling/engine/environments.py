"""Preparing what an image stands for, once per content: virtual environments by uv, scripts.

An environment whose requirements the platform's own interpreter meets is that interpreter: nothing
is installed. All others are built under a name made from their content and marked when complete, so
a crash in the middle leaves nothing that could be taken for an environment.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

from kubeling.engine.building import Building, BuildParts, PullError, compile_bytecode
from kubeling.engine.envfolder import built_size, mark_used
from kubeling.engine.images import ImageEntry, PythonEnvironment
from kubeling.engine.seeds import Seeds
from kubeling.engine.uvcall import UvCall
from kubeling.kube.clock import Clock

__all__ = ["Environment", "Environments", "PullError"]

log = logging.getLogger(__name__)

_READY_AFTER: Final = 2.0
_HOST_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Environment:
    """Folders that come first on a container's ``PATH``, its identity, and its size on disk."""

    path: tuple[Path, ...]
    digest: str
    size: int = 0
    links: tuple[tuple[str, str], ...] = ()
    """Programs that an image has at a place of its own: where they are, and that place."""

    @property
    def variables(self) -> dict[str, str]:
        """What every container of this environment starts with."""
        return {"PATH": ":".join([*map(str, self.path), os.environ.get("PATH") or _HOST_PATH])}


class Environments:
    """The prepared environments of one data directory; each is prepared by one task at a time.

    ``workspace`` is where uv is run, so that settings and paths in it count.
    """

    def __init__(self, folder: Path, workspace: Path) -> None:
        self._folder = folder
        self._workspace = workspace
        self._seeds = Seeds(folder)
        self._building: dict[str, tuple[Building, asyncio.Task[None]]] = {}
        self._compiling: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()
        """Set when one was built."""

    def ready(self, entry: ImageEntry) -> Environment | None:
        """The environment, if nothing has to be installed for it; counts as its use."""
        folders = []
        size = 0
        links: list[tuple[str, str]] = []
        if entry.programs:
            folders.append(programs := self._programs(entry.programs))
            placed = (name for name in entry.programs if name.startswith("/"))
            links = [(str(programs / _file_name(name)), name) for name in placed]
        if entry.python is not None:
            if _is_platform(entry.python):
                folders.append(Path(sys.executable).parent)
            else:
                home = self._home(entry.python)
                if not mark_used(home):
                    return None
                folders.append(home / "bin")
                size = built_size(home)
        return Environment(tuple(folders), _digest(entry), size, tuple(links))

    async def prepare(
        self, entry: ImageEntry, tell: Callable[[str], None] = lambda _: None
    ) -> Environment:
        """The environment, installed first if need be; raises :class:`PullError`.

        ``tell`` hears of the progress.
        """
        while (found := self.ready(entry)) is None:
            assert entry.python is not None
            building, task = self._build(entry.python)
            building.listen(tell)
            await asyncio.shield(task)
        return found

    async def make_ready(self, clock: Clock) -> None:
        """A moment after the start, makes what every environment begins with; asks nobody for it.

        What is not in uv's cache is fetched when an environment is wanted.
        """
        await clock.sleep(_READY_AFTER)
        try:
            call = UvCall.here(self._workspace, lambda news: None)
        except OSError as error:
            log.warning("no environments can be built: %s", error)
            return
        await self._seeds.make_ahead(sys.executable, call)

    def is_building(self, name: str) -> bool:
        """Whether an environment is being built, or another one with it."""
        if name in self._building or self._seeds.is_making(name):
            return True
        return any(building.seed_name == name for building, _ in self._building.values())

    def _build(self, python: PythonEnvironment) -> tuple[Building, asyncio.Task[None]]:
        home = self._home(python)
        found = self._building.get(home.name)
        if found is None:
            sees = _sees_platform(python)
            enough = sees and _has_platform(python.requirements)
            parts = BuildParts(() if enough else python.requirements, sees, python.optional)
            building = Building(home, python, self._workspace, parts, self._seeds)
            task = asyncio.create_task(building.run(), name=f"build {home.name}")
            found = self._building[home.name] = building, task
            task.add_done_callback(lambda done: self._built(home, done))
        return found

    def _built(self, home: Path, done: asyncio.Task[None]) -> None:
        del self._building[home.name]
        self.changed.set()
        if not done.cancelled() and done.exception() is None:
            following = asyncio.create_task(self._follow_up(home), name=f"compile {home.name}")
            self._compiling.add(following)
            following.add_done_callback(self._compiling.discard)

    async def _follow_up(self, home: Path) -> None:
        await compile_bytecode(home)
        await self._seeds.copy_ahead(sys.executable)

    async def stop(self) -> None:
        """Gives up what is being prepared."""
        tasks = [*(task for _, task in self._building.values()), *self._compiling]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._seeds.stop(), return_exceptions=True)

    def _home(self, python: PythonEnvironment) -> Path:
        parts = [python.version or sys.version, *sorted(python.requirements)]
        if python.optional:
            parts += ["optional", *sorted(python.optional)]
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
                file = fresh / _file_name(name)
                file.write_text(script)
                file.chmod(0o755)
            fresh.rename(folder)
        return folder


def _file_name(program: str) -> str:
    return program.rpartition("/")[2]


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
    return _is_installed_in(requirement, tuple(map(_changed_at, sys.path)))


def _changed_at(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=1024)
def _is_installed_in(requirement: str, _: tuple[int, ...]) -> bool:
    """Asked for each container, so the answer counts until something is installed or removed."""
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
