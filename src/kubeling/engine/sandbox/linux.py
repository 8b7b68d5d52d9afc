"""The few Linux system calls Python 3.11 has no function for.

Through ctypes rather than a compiled extension, so that the package stays pure Python. The calls
raise :class:`OSError` naming what failed. Importing this elsewhere than on Linux is harmless.
"""

from __future__ import annotations

import ctypes
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_NAMESPACES = (
    ("user", CLONE_NEWUSER),
    ("pid", CLONE_NEWPID),
    ("net", CLONE_NEWNET),
    ("uts", CLONE_NEWUTS),
    ("ipc", CLONE_NEWIPC),
    ("mnt", CLONE_NEWNS),
)

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000

MNT_DETACH = 2

_O_PATH = 0x200000
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_AT_FDCWD = -100

_MADV_POPULATE_WRITE = 23

_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_CLONE3 = 435
_CAPABILITIES_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
# Without giving up the interpreter's lock, as a fork must.
_libc_locked = ctypes.PyDLL(None, use_errno=True)
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120, "s390x": 120}


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def handle(path: str) -> int:
    """A descriptor that stands for what is at the path, without opening it."""
    return os.open(path, _O_PATH | os.O_CLOEXEC)


def fork_into(namespaces: int) -> int:
    """:func:`os.fork` whose child begins in new namespaces, as their first process."""
    if not namespaces:
        return os.fork()
    machine = os.uname().machine
    flags = [namespaces | signal.SIGCHLD, 0]
    if machine == "s390x":
        flags.reverse()
    return _clone(_CLONE[machine], *(ctypes.c_ulong(value) for value in (*flags, 0, 0, 0)))


def fork_as(pid: int) -> int:
    """:func:`os.fork` whose child has the given process id, if it can have that."""
    wanted = (ctypes.c_int * 1)(pid)
    # struct clone_args: but for the signal and the ids, nothing.
    fields = (0, 0, 0, 0, int(signal.SIGCHLD), 0, 0, 0, ctypes.addressof(wanted), 1, 0)
    arguments = (ctypes.c_uint64 * len(fields))(*fields)
    try:
        return _clone(_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
    except OSError:
        return os.fork()


def _clone(number: int, *arguments: Any) -> int:
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(_libc_locked.syscall(number, *arguments))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    code = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(code, f"clone: {os.strerror(code)}")
    return pid


def unshare(flags: int) -> None:
    """Moves the calling thread (its children, for process ids) into new namespaces."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int = 0) -> None:
    """Moves the calling thread into the namespace ``fd`` stands for."""
    _check(_libc.setns(fd, kind), "setns")


def enter(pid: int, namespaces: int) -> None:
    """Moves the calling thread (its children, for process ids) into those of another process."""
    wanted = [(name, flag) for name, flag in _NAMESPACES if namespaces & flag]
    opened = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), flag) for name, flag in wanted]
    for file, flag in opened:
        setns(file, flag)
        os.close(file)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()
    )
    _check(result, f"mount {kind or source} at {target}")


def copy_mount(path: str) -> int:
    """open_tree(2): the mount at a path once more, as a file that :func:`place_mount` takes."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    file = int(_libc.syscall(_OPEN_TREE, _AT_FDCWD, path.encode(), flags))
    _check(min(file, 0), f"open_tree {path}")
    return file


def place_mount(file: int, target: str) -> None:
    """move_mount(2): puts a mount at a place; may come from another mount namespace."""
    result = _libc.syscall(
        _MOVE_MOUNT, file, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH
    )
    _check(result, f"move_mount to {target}")


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(target.encode(), flags), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    number = _PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(number, new_root.encode(), put_old.encode()), "pivot_root")


def set_hostname(name: str) -> None:
    """sethostname(2)."""
    data = name.encode()
    _check(_libc.sethostname(data, len(data)), "sethostname")


def populate(address: int, size: int) -> bool:
    """madvise(2): copies pages that are shared with other processes until one writes to them."""
    start, length = ctypes.c_void_p(address), ctypes.c_size_t(size)
    return bool(_libc.madvise(start, length, _MADV_POPULATE_WRITE) == 0)


def become_subreaper() -> None:
    """Orphaned descendants become this process's children instead of pid 1's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_process_name(name: str) -> None:
    """The name that ``ps`` and ``/proc/PID/comm`` show, 15 bytes of it."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _libc.prctl(_PR_SET_NAME, ctypes.byref(buffer), 0, 0, 0)


def forbid_tracing() -> None:
    """Nobody without CAP_SYS_PTRACE may attach to this process or read its memory."""
    _prctl(_PR_SET_DUMPABLE, 0)


def allow_looking_in() -> None:
    """Makes ``/proc/self`` its user's own, as executing a program does."""
    _prctl(_PR_SET_DUMPABLE, 1)


def forbid_new_privileges() -> None:
    """Set-user-id programs gain nothing from here on."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def limit_capabilities(allowed: list[int]) -> None:
    """What is executed from here on can have these capabilities at most."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) < 0:
            break
        if capability not in allowed:
            _prctl(_PR_CAPBSET_DROP, capability)


def keep_capabilities_bounded() -> None:
    """Gives up at once what executing something would, by :func:`limit_capabilities`."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: the low halves first
    _check(_libc.capget(header, sets), "capget")
    bounds = capability = 0
    while (found := _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0)) >= 0:
        bounds |= found << capability
        capability += 1
    for half in (0, 1):
        bounded = bounds >> 32 * half & 0xFFFFFFFF & sets[3 * half + 1]
        sets[3 * half] = sets[3 * half + 1] = bounded
    _check(_libc.capset(header, sets), "capset")


def _prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")
