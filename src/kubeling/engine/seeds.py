"""Virtual environments with pip and its like only, one per interpreter, to begin others with.

uv takes some 300 ms to make one, most of it for asking which pip is the latest. Here that is done
once; all environments are copies, which share its files (hard links) as far as those do not name
the folder that they are in. uv installs into a copy with the seed's interpreter, of which it knows
all it wants to; a new one it would have to start and ask. What names the seed is corrected
afterwards (:func:`settle`). A seed is an environment like others: it goes when nobody has used it
for long, and is made again where one is needed. One copy is made ahead.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from kubeling.engine.envfolder import (
    COMPLETE,
    built_size,
    mark_used,
    mark_whole,
    start_over,
    survey,
)
from kubeling.engine.uvcall import PullError, UvCall

__all__ = ["Seeds", "settle"]


_PACKAGES: Final = "lib/*/site-packages/*"


class Seeds:
    """The seeds of one data directory, among its environments; each is made by one task."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._making: dict[str, asyncio.Task[None]] = {}
        self._copying = asyncio.Lock()

    async def plant(self, interpreter: str, home: Path, call: UvCall) -> Path:
        """Makes a fresh environment of a Python at ``home``, which is to be settled.

        Returns the seed, whose interpreter packages are to be installed with. Raises
        :class:`PullError`.
        """
        seed = self._seed(interpreter)
        if (making := self._making.get(seed.name)) is not None:
            await asyncio.wait([making])  # its failure is not ours: perhaps it was to ask nobody
        if not _is_usable(seed):
            await asyncio.shield(self._make(interpreter, seed, call))
        await asyncio.to_thread(_copy, seed, home)
        return seed

    async def make_ahead(self, interpreter: str, call: UvCall) -> None:
        """Makes the seed of a Python if all of it is at hand; the first to need it need not."""
        seed = self._seed(interpreter)
        if not _is_usable(seed):
            await asyncio.wait([self._make(interpreter, seed, call.offline())])
        with contextlib.suppress(PullError, OSError):  # whoever needs it is told
            await call.offline().run("pip", "list", "--python", str(seed / "bin" / "python"))
        await self.copy_ahead(interpreter)

    async def copy_ahead(self, interpreter: str) -> None:
        """Makes the copy that the next environment of a Python begins as, if there is a seed."""
        seed = self._seed(interpreter)
        if (seed / COMPLETE).exists():
            async with self._copying:
                with contextlib.suppress(OSError):  # no room, say: it is made when it is needed
                    await asyncio.to_thread(_copy_ahead, seed)

    def is_making(self, name: str) -> bool:
        return name in self._making

    async def stop(self) -> None:
        """Gives up what is being made."""
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _seed(self, interpreter: str) -> Path:
        text = f"seed\n{interpreter}\n{sys.version if interpreter == sys.executable else ''}"
        return self._folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def _make(self, interpreter: str, seed: Path, call: UvCall) -> asyncio.Task[None]:
        task = self._making.get(seed.name)
        if task is None:
            work = _make(interpreter, seed, call)
            task = self._making[seed.name] = asyncio.create_task(work, name=f"seed {seed.name}")
            task.add_done_callback(lambda done: self._made(seed.name, done))
        return task

    def _made(self, name: str, done: asyncio.Task[None]) -> None:
        del self._making[name]
        if not done.cancelled():
            done.exception()  # told to whoever waits, if anybody does


async def _make(interpreter: str, seed: Path, call: UvCall) -> None:
    arguments = ("venv", "--seed", "--python", interpreter, str(seed))
    await asyncio.to_thread(shutil.rmtree, _spare(seed), ignore_errors=True)
    await asyncio.to_thread(start_over, seed)
    try:
        # Nobody has asked for a version of pip: the one at hand will do.
        await call.offline().run(*arguments)
    except PullError:
        await asyncio.to_thread(start_over, seed)
        await call.run(*arguments)
    mark_whole(seed, await asyncio.to_thread(_size_of_packages, seed))


def _size_of_packages(seed: Path) -> int:
    """What is noted of a seed: its copies need not find that out again."""
    packages = list(seed.glob(_PACKAGES))
    return survey(seed) - survey(seed, packages)


def _is_usable(seed: Path) -> bool:
    """Whether it is whole, and so is the Python that it was made of."""
    return (seed / "bin" / "python").exists() and mark_used(seed)


def _copy(seed: Path, home: Path) -> None:
    start_over(home)
    try:
        _spare(seed).rename(home)
    except OSError:  # there is none, or it was made a moment ago
        _link_all(seed, home)


def _copy_ahead(seed: Path) -> None:
    spare = _spare(seed)
    if not spare.exists():
        fresh = spare.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        _link_all(seed, fresh)
        fresh.rename(spare)


def _spare(seed: Path) -> Path:
    return seed.with_name(f".{seed.name}.copy")


def _link_all(seed: Path, target: Path) -> None:
    """All but the mark of being whole, which a pod that looks just then would believe."""
    _link(str(seed), str(target), but=COMPLETE)


def settle(seed: Path, home: Path) -> int:
    """Has nothing in a copy name the seed any more, and finds out its size (blocking)."""
    for script in (home / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        if os.fsencode(seed) in (data := script.read_bytes()):
            data = data.replace(os.fsencode(seed), os.fsencode(home))
            _replace(script, data, script.stat().st_mode)
    for record in home.glob("lib/*/site-packages/*.dist-info/RECORD"):
        if (data := _corrected(record)) != record.read_bytes():
            _replace(record, data, record.stat().st_mode)
    packages = [path.relative_to(seed) for path in seed.glob(_PACKAGES)]
    if not all((home / path).exists() for path in packages):
        return survey(home)  # another version of one was asked for
    return built_size(seed) + survey(home, [home / path for path in packages])


def _link(source: str, target: str, but: str = "") -> None:
    os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            place = f"{target}/{entry.name}"
            if entry.name == but:
                continue
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), place)
            elif entry.is_dir():
                _link(entry.path, place)
            else:
                try:
                    os.link(entry.path, place)
                except OSError:  # not on every disk
                    shutil.copy2(entry.path, place)


def _replace(file: Path, data: bytes, mode: int) -> None:
    """Writes a file anew, so that the one it was linked to stays as it is."""
    file.unlink()
    file.write_bytes(data)
    file.chmod(mode & 0o7777)


def _corrected(record: Path) -> bytes:
    """What a package says about its scripts, which name the folder they are in."""
    lines = []
    for line in record.read_text(encoding="utf-8").splitlines():
        path = line.partition(",")[0]
        # Another package may have had the same file, and have been replaced with it.
        if path.startswith("../") and (file := record.parents[1] / path).is_file():
            data = file.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            line = f"{path},sha256={digest},{len(data)}"
        lines.append(f"{line}\n")
    return "".join(lines).encode()
