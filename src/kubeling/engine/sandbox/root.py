"""A container's private view of the machine: an overlay over ``/`` and what is mounted in it.

Everything is mounted after the root has changed, from descriptors opened before: a symbolic link
inside the container's root (``/var/run`` is one) can then never lead a mount out of it.
"""

from __future__ import annotations

import os
import stat

from kubeling.engine.sandbox import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from kubeling.engine.sandbox.plan import Mount, Root

_MADE_ANEW = ("proc", "sys", "dev", "tmp")
_OVERLAY_OPTIONS = ("volatile", "volatile,userxattr", "userxattr", "")


def enter(root: Root, mounts: list[Mount], cwd: str, views: list[int]) -> None:
    """Makes the overlay the calling process's root, with ``mounts`` in place.

    ``views`` are the mounts of a layer (:mod:`.layers`): of the root, and of each copy in order.
    Without, they are made here. ``cwd`` is made, too, before a root that is to be read-only becomes
    it.
    """
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    base = root["directory"]
    if root["in_memory"]:
        linux.mount("tmpfs", base, "tmpfs")
    copies = [number for number, entry in enumerate(mounts) if entry["kind"] == "copy"]
    given = dict(zip(copies, views[1:], strict=False))
    sources = [given.get(n, -1) for n in range(len(mounts))]
    if views:
        merged = f"{base}/{view_name(0)}.merged"
        linux.place_mount(views[0], merged)
        os.close(views[0])
    else:
        merged = copy(base, view_name(0), "/") if root["whole"] else _assemble(base)
    for number, entry in enumerate(mounts):
        if number not in given:
            sources[number] = _source(entry, base, view_name(number + 1))
    os.chdir(merged)
    _write_files(mounts, sources, base)
    linux.pivot_root(".", ".")
    # The old root now lies over the new one, reachable through "." only, until it is detached.
    over = linux.handle(".")
    for number, (entry, source) in enumerate(zip(mounts, sources, strict=True)):
        if number in given:
            _place(source, entry["target"])
        else:
            _mount(entry, source)
        if source >= 0:
            os.close(source)
    os.fchdir(over)
    os.close(over)
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")
    for folder in root["open"]:
        _let_pass(folder)
    if root["sealed"]:
        os.makedirs(cwd, exist_ok=True)
        _seal(root["sealed"], [entry["target"] for entry in mounts])


def view_name(number: int) -> str:
    """What the files of a view are called: the root's is the first."""
    return f"view{number}"


def _assemble(base: str) -> str:
    """A root put together from copies of the top folders.

    Inside a user namespace the machine's mounts may not be looked under, so its root cannot be
    copied as a whole. A top folder that has mounts in it is shared instead of copied.
    """
    view = f"{base}/root"
    os.mkdir(view)
    linux.mount("tmpfs", view, "tmpfs", data="mode=755")
    for entry in os.scandir("/"):
        target = f"{view}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), target)
        elif entry.is_dir():
            os.mkdir(target)
            if entry.name not in _MADE_ANEW:
                _show(base, entry.name, target)
    return view


def _show(base: str, name: str, target: str) -> None:
    source = f"/{name}"
    try:
        source = copy(base, f"top-{name}", source)
    except OSError:
        linux.mount(source, target, flags=linux.MS_BIND | linux.MS_REC)
    else:
        linux.mount(source, target, flags=linux.MS_BIND)


def copy(base: str, name: str, lower: str) -> str:
    """Mounts a copy-on-write view of a folder at ``<base>/<name>.merged``; returns that path."""
    upper, work, merged = (f"{base}/{name}.{part}" for part in ("upper", "work", "merged"))
    for folder in (upper, work, merged):
        os.mkdir(folder)
    failure: OSError | None = None
    # "volatile" spares a sync of the whole disk at the end; kernels before 5.10 do not know it, and
    # inside a user namespace the extended attributes have to be user ones.
    for option in _OVERLAY_OPTIONS:
        data = f"lowerdir={lower},upperdir={upper},workdir={work}"
        try:
            linux.mount("overlay", merged, "overlay", data=f"{data},{option}" if option else data)
            return merged
        except OSError as error:
            failure = failure or error
    raise failure or OSError("no overlay")


def _source(entry: Mount, base: str, name: str) -> int:
    """What will be bound later, opened while its path still means what the plan means.

    Inside a user namespace not everything can be copied (what has mounts in it, for one): such a
    folder is seen as it is, but cannot be written to.
    """
    path = entry["source"]
    if entry["kind"] not in ("bind", "copy", "device"):
        return -1
    if entry["kind"] == "copy":
        try:
            path = copy(base, name, path)
        except OSError:
            entry["read_only"] = True
    try:
        return linux.handle(path)
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from None


def _write_files(mounts: list[Mount], sources: list[int], base: str) -> None:
    """Files in memory, laid over the folder ``base``, which has served its purpose as a path."""
    linux.mount("tmpfs", base, "tmpfs", data="size=1m,mode=755")
    for number, entry in enumerate(mounts):
        if entry["kind"] == "file":
            flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC
            sources[number] = file = os.open(f"{base}/{number}", flags, 0o644)
            os.write(file, entry["data"].encode())
            os.fchmod(file, 0o644)


def _mount(entry: Mount, source: int) -> None:
    target = entry["target"]
    match entry["kind"]:
        case "bind" | "copy" | "file":
            _bind(source, target, entry["read_only"])
        case "device":
            _device(source, target)
        case "symlink":
            if not os.path.lexists(target):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.symlink(entry["source"], target)
        case "mask":
            _mask(target)
        case kind:
            _at(target, lambda: linux.mount(kind, target, kind, linux.MS_NOSUID, entry["data"]))


def _at(target: str, mount: Callable[[], None], *, is_file: bool = False) -> None:
    """Mounts; the target is nearly always there, so it is made only if it was missed."""
    try:
        mount()
        return
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target) if is_file else target, exist_ok=True)
    if is_file:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    mount()


def _place(view: int, target: str) -> None:
    _at(target, lambda: linux.place_mount(view, target))


def _bind(source: int, target: str, read_only: bool = False) -> None:
    path = f"/proc/self/fd/{source}"
    if target == "/proc":
        # Nothing can be named through what is not there yet.
        os.fchdir(source)
        path = "."
    is_file = not stat.S_ISDIR(os.fstat(source).st_mode)
    flags = linux.MS_BIND | linux.MS_REC
    _at(target, lambda: linux.mount(path, target, flags=flags), is_file=is_file)
    if read_only:
        _make_read_only(target)


def _device(source: int, target: str) -> None:
    """A node of its own, or the machine's where a user namespace may not make any."""
    found = os.fstat(source)
    if not stat.S_ISCHR(found.st_mode):
        _bind(source, target)
        return
    try:
        os.mknod(target, found.st_mode, found.st_rdev)
        os.chmod(target, found.st_mode & 0o7777)
    except (PermissionError, FileNotFoundError):
        _bind(source, target)


def _make_read_only(target: str) -> None:
    flags = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY
    # A user namespace may not clear restrictions the machine put on a mount: keep them.
    kept = os.statvfs(target).f_flag & (linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    linux.mount("", target, flags=flags | kept)


def _seal(sealed: list[str], targets: list[str]) -> None:
    """Makes folders read-only, and all mounts in them that the plan does not name."""
    with open("/proc/self/mountinfo") as file:
        points = [line.split()[4].encode().decode("unicode_escape") for line in file]
    for point in points:
        nearest = max((p for p in (*targets, *sealed) if _holds(p, point)), key=len, default="")
        if nearest in sealed and os.path.lexists(point):  # else it is hidden under another
            _make_read_only(point)


def _holds(folder: str, path: str) -> bool:
    return folder == "/" or f"{path}/".startswith(f"{folder}/")


def _mask(target: str) -> None:
    try:
        linux.mount("/dev/null", target, flags=linux.MS_BIND)
    except NotADirectoryError:
        linux.mount("tmpfs", target, "tmpfs", linux.MS_RDONLY, "size=0,mode=755")
    except FileNotFoundError:
        return


def _let_pass(folder: str) -> None:
    """Lets every user go through ``folder`` and those above it (in this view only)."""
    while folder not in ("", "/"):
        mode = os.stat(folder).st_mode
        if mode & 0o011 != 0o011:  # without a group of its own, a user is in root's
            os.chmod(folder, mode & 0o7777 | 0o011)
        folder = os.path.dirname(folder)
