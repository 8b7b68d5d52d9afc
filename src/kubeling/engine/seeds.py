"""Virtual environments with pip and its like only, one per interpreter, to begin others with.

uv takes some 300 ms to make one, most of it for asking which pip is the latest. Here that is done
once; all environments are copies, which share its files (hard links) as far as those do not name
the folder that they are in. A seed is an environment like others: it goes when nobody has used it
for long, and is made again where one is needed.
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

from kubeling.engine.envfolder import COMPLETE, mark_used, mark_whole, size_of, start_over
from kubeling.engine.uvcall import PullError, UvCall

__all__ = ["Seeds"]


class Seeds:
    """The seeds of one data directory, among its environments; each is made by one task."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._making: dict[str, asyncio.Task[None]] = {}

    async def plant(self, interpreter: str, home: Path, call: UvCall) -> None:
        """Makes a fresh environment of a Python at ``home``; raises :class:`PullError`."""
        seed = self._seed(interpreter)
        if (making := self._making.get(seed.name)) is not None:
            await asyncio.wait([making])  # its failure is not ours: perhaps it was to ask nobody
        if not _is_usable(seed):
            await asyncio.shield(self._make(interpreter, seed, call))
        await asyncio.to_thread(_copy, seed, home)

    async def make_ahead(self, interpreter: str, call: UvCall) -> None:
        """Makes the seed of a Python if all of it is at hand; the first to need it need not."""
        seed = self._seed(interpreter)
        if not _is_usable(seed):
            await asyncio.wait([self._make(interpreter, seed, call.offline())])

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
    await asyncio.to_thread(start_over, seed)
    try:
        # Nobody has asked for a version of pip: the one at hand will do.
        await call.offline().run(*arguments)
    except PullError:
        await asyncio.to_thread(start_over, seed)
        await call.run(*arguments)
    mark_whole(seed, await asyncio.to_thread(size_of, seed))


def _is_usable(seed: Path) -> bool:
    """Whether it is whole, and so is the Python that it was made of."""
    return (seed / "bin" / "python").exists() and mark_used(seed)


def _copy(seed: Path, home: Path) -> None:
    """All but the mark of being whole, which a pod that looks just then would believe."""
    start_over(home)
    _link(str(seed), str(home), but=COMPLETE)
    for script in (seed / "bin").iterdir():
        if not script.is_symlink() and os.fsencode(seed) in (data := script.read_bytes()):
            data = data.replace(os.fsencode(seed), os.fsencode(home))
            _replace(home / "bin" / script.name, data, script.stat().st_mode)
    for record in home.glob("lib/*/site-packages/*.dist-info/RECORD"):
        _replace(record, _corrected(record), record.stat().st_mode)


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
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    file.write_bytes(data)
    file.chmod(mode & 0o7777)


def _corrected(record: Path) -> bytes:
    """What a package says about its scripts, which name the folder they are in."""
    lines = []
    for line in record.read_text().splitlines():
        path = line.partition(",")[0]
        if path.startswith("../"):
            data = (record.parents[1] / path).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            line = f"{path},sha256={digest},{len(data)}"
        lines.append(f"{line}\n")
    return "".join(lines).encode()
