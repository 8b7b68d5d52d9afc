"""``securityContext.sysctls``: kernel settings of a pod's own network and IPC.

Only those that Kubernetes calls safe, because they are the pod's alone
(``pkg/kubelet/sysctl``); any other is refused, as it is by a kubelet that was not told to allow it.
"""

from __future__ import annotations

from typing import Final

from kubeling.engine.podspec import spec
from kubeling.kube.objects import Obj

__all__ = ["forbidden_sysctl", "sysctls_of"]

_IPC: Final = frozenset({"kernel.shm_rmid_forced"})
_NETWORK: Final = frozenset(
    {"net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
     "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports",
     "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
     "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
)  # fmt: skip


def sysctls_of(pod: Obj, *, network: bool, ipc: bool) -> dict[str, str]:
    """The settings to make, by their files below ``/proc/sys``, where they are the pod's own."""
    possible = (_NETWORK if network else frozenset()) | (_IPC if ipc else frozenset())
    wanted = _wanted(pod)
    return {n.replace(".", "/"): value for n, value in wanted.items() if n in possible}


def forbidden_sysctl(pod: Obj) -> str:
    """Why one of the pod's settings may not be made; empty if all may."""
    for name in _wanted(pod):
        if name not in _IPC | _NETWORK:
            return f'forbidden sysctl: "{name}" not allowlisted'
        if name in _NETWORK and spec(pod).get("hostNetwork"):
            return f'forbidden sysctl: "{name}" not allowed with host net enabled'
        if name in _IPC and spec(pod).get("hostIPC"):
            return f'forbidden sysctl: "{name}" not allowed with host ipc enabled'
    return ""


def _wanted(pod: Obj) -> dict[str, str]:
    listed = (spec(pod).get("securityContext") or {}).get("sysctls") or ()
    return {entry["name"].replace("/", "."): str(entry["value"]) for entry in listed}
