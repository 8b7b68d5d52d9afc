"""Limits on memory and CPU by control groups, one group for each container that has any.

Version 2 of the kernel's interface has one tree for everything, version 1 a tree for each resource;
a machine may have both, with each resource in one of them. The engine keeps a branch of its own,
named after the instance, so that what an earlier run left is found and removed. The group is made
here and entered by the container's command (see :mod:`.sandbox.limits`): the supervisor stays
outside, so it can tell of the end of a container that ran out of memory.

As in Kubernetes, requests for CPU become its share under contention, and swap does not count as
memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubeling.engine.sandbox.plan import Limits
from kubeling.kube.quantities import parse_quantity

__all__ = ["NO_CGROUPS", "Bounds", "Cgroups", "bounds_of", "find_cgroups"]

log = logging.getLogger(__name__)

_PERIOD: Final = 100_000
_LEAST_QUOTA: Final = 1_000
_LEAST_SHARES: Final = 2
_MOST_SHARES: Final = 262_144


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a container may use: memory in bytes, CPU in thousandths of a core; 0 is not bounded."""

    memory: int = 0
    cpu: int = 0
    cpu_request: int = 0

    def __bool__(self) -> bool:
        return bool(self.memory or self.cpu or self.cpu_request)


def bounds_of(container: Mapping[str, Any], pod: Mapping[str, Any] | None = None) -> Bounds:
    """The bounds a container's ``resources`` ask for, within those of its pod as a whole."""
    resources = container.get("resources") or {}
    whole = ((pod or {}).get("spec") or {}).get("resources") or {}
    limits = {**(whole.get("limits") or {}), **(resources.get("limits") or {})}
    requests = resources.get("requests") or {}
    return Bounds(
        memory=int(parse_quantity(limits.get("memory") or 0)),
        cpu=int(parse_quantity(limits.get("cpu") or 0) * 1000),
        cpu_request=int(parse_quantity(requests.get("cpu") or limits.get("cpu") or 0) * 1000),
    )


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The engine's branches by resource (``memory``, ``cpu``); all of version 2 if ``unified``."""

    branches: Mapping[str, Path]
    unified: bool

    def limit(self, name: str, bounds: Bounds) -> Limits:
        """Makes a container's group; what no group can bound is left to its supervisor."""
        made = Limits(join=[], events="", memory=0 if "memory" in self.branches else bounds.memory)
        if not bounds:
            return made
        for branch in dict.fromkeys(self.branches.values()):
            (branch / name).mkdir(exist_ok=True)
            made["join"].append(str(branch / name / "cgroup.procs"))
        _write(self._settings(name, bounds))
        if bounds.memory and "memory" in self.branches:
            events = "memory.events" if self.unified else "memory.oom_control"
            made["events"] = str(self.branches["memory"] / name / events)
        return made

    def change(self, name: str, bounds: Bounds) -> str:
        """Gives a running container other bounds; returns what is in the way of that."""
        if not self.branches or not all((b / name).is_dir() for b in self.branches.values()):
            return "this node cannot change the limits of a container that runs; restart it"
        if bounds.memory and self._memory_used(name) > bounds.memory:
            return "attempting to set a memory limit below what is used now"
        settings = list(self._settings(name, bounds))
        try:
            # Version 1 keeps memory below memory with swap: one of them has to be first.
            with contextlib.suppress(OSError):
                _write(settings)
                return ""
            _write(reversed(settings))
        except OSError as error:
            return f"the limits cannot be changed: {error.strerror}"
        return ""

    def _memory_used(self, name: str) -> int:
        if (branch := self.branches.get("memory")) is None:
            return 0
        file = "memory.current" if self.unified else "memory.usage_in_bytes"
        return int((branch / name / file).read_text())

    def release(self, name: str) -> None:
        """Removes an ended container's group."""
        for branch in dict.fromkeys(self.branches.values()):
            _remove(branch / name)

    def sweep(self) -> None:
        """Removes the groups in which nothing runs any more."""
        for branch in dict.fromkeys(self.branches.values()):
            for group in branch.iterdir():
                if group.is_dir():
                    _remove(group)

    def close(self) -> None:
        """Removes all that is not in use."""
        self.sweep()
        for branch in dict.fromkeys(self.branches.values()):
            _remove(branch)

    def _settings(self, name: str, bounds: Bounds) -> Iterator[tuple[Path, str]]:
        settings = _version_2 if self.unified else _version_1
        for file, value in settings(bounds).items():
            if (branch := self.branches.get(file.partition(".")[0])) is not None:
                yield branch / name / file, value


NO_CGROUPS: Final = Cgroups({}, unified=True)


def find_cgroups(identity: str) -> Cgroups:
    """The engine's branches for an instance, with none where this machine offers no control groups.

    ``identity`` tells instances on one machine apart.
    """
    branch = f"kubeling-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    try:
        mounts = _mounts(Path("/proc/self/mounts").read_text())
    except OSError:
        return NO_CGROUPS
    for unified in (True, False):
        with contextlib.suppress(OSError):
            found = _version_2_branches(mounts, branch) if unified else _own_trees(mounts, branch)
            if found:
                cgroups = Cgroups(found, unified)
                cgroups.sweep()
                return cgroups
    return NO_CGROUPS


def _mounts(text: str) -> dict[str, Path]:
    """The mount points of control groups: ``""`` of version 2, else by resource."""
    found: dict[str, Path] = {}
    for line in text.splitlines():
        _, point, kind, options, *_ = line.split()
        if kind == "cgroup2":
            found[""] = Path(point)
        elif kind == "cgroup":
            found.update({o: Path(point) for o in options.split(",") if o in ("memory", "cpu")})
    return found


def _version_2_branches(mounts: Mapping[str, Path], branch: str) -> dict[str, Path]:
    root = mounts.get("")
    if root is None:
        return {}
    offered = (root / "cgroup.controllers").read_text().split()
    wanted = [resource for resource in ("memory", "cpu") if resource in offered]
    if not wanted:
        return {}
    folder = root / branch
    folder.mkdir(exist_ok=True)
    try:
        for parent in (root, folder):
            for resource in wanted:
                (parent / "cgroup.subtree_control").write_text(f"+{resource}")
    except OSError:
        _remove(folder)
        raise
    return dict.fromkeys(wanted, folder)


def _own_trees(mounts: Mapping[str, Path], branch: str) -> dict[str, Path]:
    """Below this process' own groups, so that limits set on the platform as a whole still hold."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, resources, path = line.split(":", 2)
        own.update(dict.fromkeys(resources.split(","), path.lstrip("/")))
    branches = {r: mounts[r] / own.get(r, "") / branch for r in ("memory", "cpu") if r in mounts}
    for folder in branches.values():
        folder.mkdir(exist_ok=True)
    return branches


def _write(settings: Iterable[tuple[Path, str]]) -> None:
    for file, value in settings:
        # The kernel has no swap accounting, or no such knob in this version.
        with contextlib.suppress(FileNotFoundError):
            file.write_text(value)


def _version_2(bounds: Bounds) -> dict[str, str]:
    settings: dict[str, str] = {}
    if bounds.memory:
        settings |= {
            "memory.max": str(bounds.memory),
            "memory.swap.max": "0",
            "memory.oom.group": "1",
        }
    if bounds.cpu:
        settings["cpu.max"] = f"{_quota(bounds.cpu)} {_PERIOD}"
    if bounds.cpu_request:
        weight = 1 + (_shares(bounds.cpu_request) - _LEAST_SHARES) * 9999 // _MOST_SHARES
        settings["cpu.weight"] = str(weight)
    return settings


def _version_1(bounds: Bounds) -> dict[str, str]:
    settings: dict[str, str] = {}
    if bounds.memory:
        settings["memory.limit_in_bytes"] = str(bounds.memory)
        settings["memory.memsw.limit_in_bytes"] = str(bounds.memory)
    if bounds.cpu:
        settings["cpu.cfs_quota_us"] = str(_quota(bounds.cpu))
    if bounds.cpu_request:
        settings["cpu.shares"] = str(_shares(bounds.cpu_request))
    return settings


def _quota(milli: int) -> int:
    return max(milli * _PERIOD // 1000, _LEAST_QUOTA)


def _shares(milli: int) -> int:
    return min(max(milli * 1024 // 1000, _LEAST_SHARES), _MOST_SHARES)


def _remove(group: Path) -> None:
    try:
        group.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        log.debug("control group %s stays: %s", group, error)
