"""What a container finds in its private root: devices, kernel files, its folders and volumes.

Pure but for looking at the machine's mounts and devices; the sandbox carries the list out in order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kubeling.engine.sandbox.plan import Mount

__all__ = ["HostView", "VolumeMount", "bind", "machine_disks", "mounts_for", "root_folders"]

_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_DISKS: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "reiserfs"}
    | {"squashfs", "erofs", "virtiofs"}
)
_LINKS: Final = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
)
_NOT_DISKS: Final = ("/boot", "/run", "/snap", "/var/lib/snapd")
_KERNEL_SETTINGS: Final = ("/proc/sys", "/proc/irq", "/proc/bus", "/proc/sysrq-trigger")
_KERNEL_SECRETS: Final = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware")


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A volume at its place in the container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class HostView:
    """What of the machine every container sees, beside its root file system.

    ``disks`` are further file systems, which the root's overlay does not reach into. ``hidden``
    folders are covered: the platform's own.
    """

    workspace: Path
    hidden: tuple[Path, ...] = ()
    disks: tuple[str, ...] = ()
    devices: tuple[str, ...] = field(default_factory=lambda: _present(_DEVICES))


def machine_disks(mountinfo: str, excluded: Sequence[Path]) -> tuple[str, ...]:
    """The mount points of the machine's further disks (``/home``, ``/data`` …), outermost first.

    Images count, too: drivers may come in one. What is mounted below ``/run`` serves programs that
    run now (named network namespaces), what is below ``/snap`` comes in dozens and serves itself.
    """
    points = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        if after.split()[0] in _DISKS and point != "/":
            points.append(point)
    excluded = (*excluded, *map(Path, _NOT_DISKS))
    kept = {p for p in points if not any(Path(p).is_relative_to(e) for e in excluded)}
    return tuple(sorted(p for p in kept if os.path.isdir(p)))


def mounts_for(
    host: HostView,
    *,
    tmp: Path,
    etc: Mapping[str, str],
    termination_log: Path,
    termination_path: str,
    volumes: Iterable[VolumeMount],
    programs: Iterable[Path],
    links: Iterable[tuple[str, str]],
    devices: Iterable[str],
    privileged: bool,
    unmasked: bool,
    new_proc: bool,
    host_ipc: bool,
) -> list[Mount]:
    """All mounts of a container, in the order to make them.

    ``programs`` are the folders of the interpreter and the environment; where something covers
    them they are put back, as views that the container may change (``pip install``). ``links`` lead
    to programs from where the image has them.
    """
    proc = _mount("proc", "", "/proc") if new_proc else bind(Path("/proc"), "/proc")
    mounts = [proc, *_devices((*host.devices, *devices), privileged), _shared_memory(host_ipc)]
    mounts += _kernel(privileged, masked=not privileged and not unmasked)
    # A disk may have been taken away since they were listed.
    disks = (d for d in host.disks if os.path.isdir(d) and not d.startswith("/tmp/"))
    mounts += [_mount("copy", disk, disk) for disk in disks]
    mounts.append(bind(tmp, "/tmp"))
    mounts.append(bind(host.workspace, str(host.workspace)))
    mounts += [_mount("tmpfs", "", str(folder), "mode=755") for folder in host.hidden]
    covers = [Path("/tmp"), *host.hidden]
    mounts += [
        _mount("copy", str(folder), str(folder))
        for folder in programs
        if any(folder.is_relative_to(cover) for cover in covers)
    ]
    mounts += [_mount("symlink", source, target) for source, target in links]
    mounts += [_mount("file", "", f"/etc/{name}", text) for name, text in etc.items()]
    mounts += [
        bind(volume.source, volume.target, volume.read_only)
        for volume in sorted(volumes, key=lambda v: v.target.count("/"))
    ]
    mounts.append(bind(termination_log, termination_path))
    return mounts


def root_folders(host: HostView, programs: Iterable[Path]) -> list[str]:
    """Where a container sees what would be its image's files elsewhere."""
    return ["/", "/tmp", str(host.workspace), *host.disks, *map(str, programs)]


def bind(source: Path, target: str, read_only: bool = False) -> Mount:
    """A file or folder of the machine at a place in the container."""
    return Mount(kind="bind", source=str(source), target=target, read_only=read_only, data="")


def _kernel(privileged: bool, *, masked: bool) -> list[Mount]:
    mounts = [bind(Path("/sys"), "/sys", read_only=not privileged)]
    if masked:
        present = (path for path in _KERNEL_SETTINGS if os.path.exists(path))
        mounts += [bind(Path(path), path, read_only=True) for path in present]
        mounts += [_mount("mask", "", path) for path in _KERNEL_SECRETS]
    return mounts


def _devices(names: Iterable[str], privileged: bool) -> list[Mount]:
    if privileged:
        mounts = [bind(Path("/dev"), "/dev")]
    else:
        mounts = [_mount("tmpfs", "", "/dev", "mode=755,size=64k")]
        present = (name for name in names if os.path.exists(f"/dev/{name}"))
        mounts += [_mount("device", f"/dev/{name}", f"/dev/{name}") for name in present]
        mounts.append(_mount("devpts", "", "/dev/pts", "newinstance,ptmxmode=0666,mode=620"))
        mounts += [_mount("symlink", source, target) for source, target in _LINKS]
    return mounts


def _shared_memory(host_ipc: bool) -> Mount:
    if host_ipc and os.path.isdir("/dev/shm"):
        return bind(Path("/dev/shm"), "/dev/shm")
    return _mount("tmpfs", "", "/dev/shm", "mode=1777")


def _mount(kind: str, source: str, target: str, data: str = "") -> Mount:
    return Mount(kind=kind, source=source, target=target, read_only=False, data=data)  # type: ignore[typeddict-item]


def _present(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if os.path.exists(f"/dev/{name}"))
