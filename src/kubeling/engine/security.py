"""Whom a container's commands run as and what they may do: ``securityContext``, read in one place.

What a process can honour is honoured; what it cannot is either refused before the start
(:class:`SecurityError`, in the words of the kubelet or of the container runtime) or told in an
Event (:func:`missing_walls`).

An image here has no user of its own. A container that only says ``runAsNonRoot`` therefore runs as
user 1000, which is what images that can be run so are built for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.engine.podspec import all_containers, spec
from kubeling.engine.sandbox.plan import Credentials
from kubeling.engine.sysctls import forbidden_sysctl
from kubeling.engine.walls import Walls
from kubeling.kube.objects import Obj, name, namespace, uid

__all__ = [
    "Identity",
    "SecurityError",
    "check_security",
    "credentials",
    "has_root",
    "identity",
    "missing_walls",
    "security_of",
]

_CAPABILITIES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
# What container runtimes grant, less MKNOD: no device rules guard the machine's disks here.
_GRANTED: Final = frozenset(
    {"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
     "NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT", "AUDIT_WRITE", "SETFCAP"}
)  # fmt: skip
_NOBODY_IN_PARTICULAR: Final = 1000


class SecurityError(Exception):
    """A container that may not or cannot start as its securityContext is written.

    ``reason`` is the waiting reason that the kubelet gives.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Identity:
    """User and group as asked for; ``None`` where that is left to the node."""

    uid: int | None
    gid: int | None
    groups: tuple[int, ...]

    @property
    def is_root(self) -> bool:
        return not self.uid


def security_of(pod: Obj, container: Mapping[str, Any]) -> Obj:
    """The container's settings over the pod's."""
    return {**(spec(pod).get("securityContext") or {}), **(container.get("securityContext") or {})}


def identity(pod: Obj, container: Mapping[str, Any]) -> Identity:
    """Who a container's commands are to run as."""
    security = security_of(pod, container)
    user = security.get("runAsUser")
    if user is None and security.get("runAsNonRoot"):
        user = _NOBODY_IN_PARTICULAR
    groups = [*(security.get("supplementalGroups") or ())]
    if (group := security.get("fsGroup")) is not None:
        groups.append(group)
    primary = security.get("runAsGroup")
    return Identity(
        None if user is None else int(user),
        None if primary is None else int(primary),
        tuple(dict.fromkeys(int(g) for g in groups)),
    )


def has_root(walls: Walls) -> bool:
    """Whether this process may choose users and groups."""
    return os.geteuid() == 0 and not walls.users


def credentials(pod: Obj, container: Mapping[str, Any], walls: Walls) -> Credentials:
    """How the sandbox becomes who is asked for; in a user namespace, in name."""
    root = has_root(walls)
    security = security_of(pod, container)
    who = identity(pod, container)
    return Credentials(
        uid=who.uid if root else None,
        gid=(0 if who.gid is None and who.uid is not None else who.gid) if root else None,
        groups=list(who.groups) if root else [],
        mapped_uid=who.uid or 0,
        mapped_gid=who.gid or 0,
        capabilities=_capabilities(security) if walls.files else None,
        no_new_privileges=security.get("allowPrivilegeEscalation") is False,
    )


def check_security(pod: Obj, container: Mapping[str, Any]) -> None:
    """Raises :class:`SecurityError` for what must not start."""
    if forbidden := forbidden_sysctl(pod):
        raise SecurityError(forbidden, "SysctlForbidden")
    security = security_of(pod, container)
    if security.get("runAsNonRoot") and security.get("runAsUser") == 0:
        whole = f"{name(pod)}_{namespace(pod)}({uid(pod)})"
        raise SecurityError(
            f'container\'s runAsUser breaks non-root policy (pod: "{whole}", '
            f"container: {container['name']})",
            "CreateContainerConfigError",
        )
    for field in ("seccompProfile", "appArmorProfile"):
        profile = security.get(field) or {}
        if profile.get("type") == "Localhost":
            text = f'{field}: profile "{profile.get("localhostProfile", "")}" cannot be loaded: '
            text += "this node has no profiles of its own; use RuntimeDefault or Unconfined"
            raise SecurityError(text, "CreateContainerError")
    asked = security.get("capabilities") or {}
    for capability in (*(asked.get("add") or ()), *(asked.get("drop") or ())):
        if (plain := _plain(capability)) not in _CAPABILITIES and plain != "ALL":
            raise SecurityError(f'unknown capability "CAP_{plain}"', "CreateContainerError")


def missing_walls(pod: Obj, walls: Walls) -> list[str]:
    """What of the pod's security settings does not hold on this node, in words for an Event."""
    root = has_root(walls)
    found = [text for c in all_containers(pod) for text in _missing_of(pod, c, walls, root)]
    security = spec(pod).get("securityContext") or {}
    if not root and (security.get("fsGroup") or security.get("supplementalGroups")):
        found.append("fsGroup and supplementalGroups need the platform to run as root")
    if not root and security.get("sysctls"):
        found.append("sysctls need the platform to run as root")
    if spec(pod).get("hostUsers") is False and not walls.users:
        found.append("hostUsers: false is not honoured: users in the pod are the machine's")
    return list(dict.fromkeys(found))


def _missing_of(pod: Obj, container: Mapping[str, Any], walls: Walls, root: bool) -> Iterator[str]:
    security, who = security_of(pod, container), identity(pod, container)
    where = f"container {container['name']}"
    if not root and not walls.users and (who.uid is not None or who.gid is not None):
        yield f"{where} runs as the platform's user: runAsUser and runAsGroup need root"
    if walls.files:
        return
    if security.get("readOnlyRootFilesystem"):
        yield f"{where} may write to the machine's files: readOnlyRootFilesystem is not honoured"
    if security.get("capabilities") or security.get("privileged"):
        yield f"{where} has the platform's own capabilities and devices"


def _capabilities(security: Obj) -> list[int] | None:
    if security.get("privileged"):
        return None
    asked = security.get("capabilities") or {}
    dropped = {_plain(c) for c in asked.get("drop") or ()}
    added = {_plain(c) for c in asked.get("add") or ()}
    granted = (set() if "ALL" in dropped else _GRANTED - dropped) | added
    if "ALL" in added:
        granted = set(_CAPABILITIES) - dropped
    return [n for n, capability in enumerate(_CAPABILITIES) if capability in granted]


def _plain(capability: str) -> str:
    return str(capability).upper().removeprefix("CAP_")
