"""Keeps layers that take what containers change, mounted and empty, to be used again.

Making a copy-on-write view of the machine takes some ten new files on disk for each file system,
and as many are deleted with it: more than all the rest of a container's start, and the more the
more were deleted before. Most containers change nothing outside their volumes. So the views are
mounted here, in a process with mounts of its own; a container gets copies of the mounts, and when
it has ended and changed nothing, the layer is as good as new. A few files left in ``/tmp``, as many
programs leave them, are taken out first: ``/tmp`` is no view, so nothing of them stays behind.

A layer is ``<n>/`` with ``<view>.upper``, ``.work`` and ``.merged`` for each view, and ``tmp``. The
folders that volumes are mounted on are made with it, so that they do not count as changes. Whoever
uses it holds a lock on its folder, so what a crash left behind is told from what is in use.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import signal
import socket
import stat
import sys
import time

from kubeling.engine.sandbox import linux, root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeAlias

    Wanted: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
    """What the views show, the root first, and the folders to have in it."""
    Nature: TypeAlias = tuple[str, int, int, int, tuple[str, ...]]

_SPARE = 64
_IDLE_SECONDS = 60.0
_LARGEST = 65536
_TMP_MODE = 0o1777
_MOST_LEFT = 64
"""How many files in ``/tmp`` are taken out; with more, the whole layer goes, beside other work."""


class Layer:
    """One set of mounted views; making it raises :class:`OSError` where that is not possible."""

    def __init__(self, folder: str, wanted: Wanted) -> None:
        self.folder = folder
        self.wanted = wanted
        lowers, points = wanted
        os.mkdir(folder)
        self.lock = _lock(folder)
        self._views: list[str] = []
        try:
            for number, lower in enumerate(lowers):
                root.copy(folder, root.view_name(number), lower)
                self._views.append(f"{folder}/{root.view_name(number)}")
            os.mkdir(f"{folder}/tmp")
            os.chmod(f"{folder}/tmp", _TMP_MODE)
            _make_points(folder, f"{self._views[0]}.merged", points)
            self._as_made = list(self._content())
            self._made = frozenset(path for path, *_ in self._as_made)
        except OSError:
            self.remove()
            raise

    def lend(self) -> list[int]:
        """What a container needs of it: its lock, and copies of its mounts."""
        views = [linux.copy_mount(f"{view}.merged") for view in self._views]
        return [os.dup(self.lock), *views]

    def renew(self) -> bool:
        """Makes it ready to be lent again; returns ``False`` if a container has changed it."""
        try:
            self._clear(f"{self.folder}/tmp", _MOST_LEFT)
            found = self._content()
            if any(next(found, None) != made for made in self._as_made) or next(found, None):
                return False
            for view in self._views:
                # Forgets what was looked up: the machine's own files may change at any time.
                linux.mount("overlay", f"{view}.merged", "overlay", linux.MS_REMOUNT)
        except OSError:
            return False
        return True

    def _clear(self, folder: str, left: int) -> int:
        """Takes out what was not made with the layer; stops once that is more than ``left``."""
        for entry in list(os.scandir(folder)):
            if left <= 0:
                break
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder:
                left = self._clear(entry.path, left)
            if entry.path in self._made:
                continue
            left -= 1
            if not is_folder:
                os.unlink(entry.path)
            elif left >= 0:
                os.rmdir(entry.path)
        return left

    def _content(self) -> Iterator[Nature]:
        """All that a container could change."""
        yield from _natures(f"{self.folder}/tmp")
        for view in self._views:
            yield from _natures(f"{view}.upper")

    def remove(self) -> None:
        """Takes the mounts away and, beside the caller's work, the files."""
        for view in self._views:
            linux.umount(f"{view}.merged", linux.MNT_DETACH)
        os.close(self.lock)
        if os.fork() == 0:
            try:
                _remove_tree(self.folder)
            finally:
                os._exit(0)


class Keeper:
    """The layers of one platform, from its first container until nothing was asked for a while."""

    def __init__(self, folder: str) -> None:
        self._folder = f"{folder}/{os.getpid()}-{time.time_ns()}"
        os.mkdir(self._folder)
        self._count = 0
        self._spare: list[Layer] = []
        self._lent: dict[str, Layer] = {}

    def take(self, wanted: Wanted) -> Layer:
        """A layer that nobody uses."""
        found = next((one for one in reversed(self._spare) if one.wanted == wanted), None)
        if found is not None:
            self._spare.remove(found)
        else:
            self._count += 1
            found = Layer(f"{self._folder}/{self._count}", wanted)
        self._lent[found.folder] = found
        return found

    def give_back(self, folder: str, *, reuse: bool) -> None:
        """Takes a layer back whose container has ended."""
        layer = self._lent.pop(folder)
        if reuse and layer.renew():
            self._spare.append(layer)
        else:
            layer.remove()
        if len(self._spare) > _SPARE:
            self._spare.pop(0).remove()

    def close(self) -> None:
        """Removes the spare ones; those in use stay until somebody finds them unlocked."""
        for layer in self._spare:
            layer.remove()


def keep(connection: socket.socket, folder: str) -> None:
    """Lends layers until the other end closes, or asks for nothing for a minute."""
    linux.set_process_name("kubeling-layers")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    linux.unshare(linux.CLONE_NEWNS)
    # Hears of disks that are mounted and taken out, and tells nobody of its own mounts.
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_SLAVE)
    os.umask(0o022)
    os.makedirs(folder, exist_ok=True)
    earlier = [f"{folder}/{name}" for name in os.listdir(folder)]
    if os.fork() == 0:
        try:
            _remove_unused(earlier)
        finally:
            os._exit(0)
    keeper = Keeper(folder)
    connection.settimeout(_IDLE_SECONDS)
    try:
        while data := connection.recv(_LARGEST):
            _serve(keeper, connection, marshal.loads(data))
    except TimeoutError:
        connection.shutdown(socket.SHUT_RDWR)
    except ConnectionError:
        pass  # nobody listens any more
    keeper.close()


def _serve(keeper: Keeper, connection: socket.socket, request: tuple[str, Any]) -> None:
    kind, argument = request
    if kind == "give back":
        folder, reuse = argument
        keeper.give_back(folder, reuse=reuse)
        return
    try:
        layer = keeper.take(argument)
        files = layer.lend()
    except OSError as error:
        connection.send(marshal.dumps({"error": error.strerror or str(error)}))
        return
    socket.send_fds(connection, [marshal.dumps({"folder": layer.folder})], files)
    for file in files:
        os.close(file)


def _remove_unused(keepers: list[str]) -> None:
    """Removes the layers of earlier keepers that no container holds any more."""
    for folder in keepers:
        for name in os.listdir(folder):
            layer = f"{folder}/{name}"
            try:
                os.close(_lock(layer))
                _remove_tree(layer)
            except OSError:
                continue
        try:
            os.rmdir(folder)
        except OSError:
            continue


def _remove_tree(folder: str) -> None:
    """Removes a folder with all in it, as far as that is possible."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            _remove_tree(entry.path)
        else:
            os.unlink(entry.path)
    os.rmdir(folder)


def _lock(folder: str) -> int:
    """Raises :class:`OSError` if somebody holds it."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


def _make_points(folder: str, merged: str, points: tuple[str, ...]) -> None:
    """Makes folders as a container would see them: a link may lead anywhere but out."""
    for point in points:
        if point.startswith("/tmp/"):
            os.makedirs(f"{folder}{os.path.normpath(point)}", exist_ok=True)
    points = tuple(point for point in points if not point.startswith("/tmp/"))
    pid = os.fork()
    if pid == 0:
        try:
            os.chroot(merged)
            for point in points:
                os.makedirs(point, exist_ok=True)
            os._exit(0)
        finally:
            os._exit(1)
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return  # it has ended, and nobody keeps account of children here


def _natures(folder: str) -> Iterator[Nature]:
    """What a folder and all below it is, but for overlayfs' own notes and what files contain."""
    if sys.platform != "linux":
        raise OSError("Linux only")
    found = os.lstat(folder)
    names = os.listxattr(folder, follow_symlinks=False)
    notes = tuple(name for name in names if not name.startswith("trusted.overlay."))
    yield folder, found.st_mode, found.st_uid, found.st_gid, notes
    if stat.S_ISDIR(found.st_mode):
        for name in sorted(os.listdir(folder)):
            yield from _natures(f"{folder}/{name}")
