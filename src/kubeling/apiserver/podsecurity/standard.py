"""The standards by level and version: which rules hold, in the order they are told."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, Literal, NamedTuple

from kubeling.apiserver.podsecurity import baseline, restricted
from kubeling.apiserver.podsecurity.findings import (
    Check,
    Finding,
    unless_users_differ,
    unless_windows,
)
from kubeling.kube.objects import Obj

__all__ = ["LATEST", "LEVELS", "Level", "findings"]

Level = Literal["privileged", "baseline", "restricted"]
LEVELS: Final[tuple[Level, ...]] = ("privileged", "baseline", "restricted")
LATEST: Final = 35
"""The last minor version that changed a rule."""

_SYSCTLS: Final[Mapping[int, tuple[str, ...]]] = {
    0: (
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
    ),
    27: ("net.ipv4.ip_local_reserved_ports",),
    29: (
        "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    ),
    32: ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
}  # fmt: skip
_TYPES: Final = ("container_t", "container_init_t", "container_kvm_t")


class _Rule(NamedTuple):
    """A rule by the version from which on it is so; ``replaces`` one of the level below."""

    versions: Mapping[int, Check]
    replaces: str = ""


def _sysctls() -> dict[int, Check]:
    return {
        since: baseline.sysctls(
            [name for minor, names in _SYSCTLS.items() if minor <= since for name in names]
        )
        for since in _SYSCTLS
    }


_BASELINE: Final[Mapping[str, _Rule]] = {
    "appArmorProfile": _Rule({0: baseline.app_armor}),
    "capabilities_baseline": _Rule({0: baseline.capabilities}),
    "hostNamespaces": _Rule({0: baseline.host_namespaces}),
    "hostPathVolumes": _Rule({0: baseline.host_path_volumes}),
    "hostPorts": _Rule({0: baseline.host_ports}),
    "hostProbesAndHostLifecycle": _Rule({34: baseline.host_probes}),
    "privileged": _Rule({0: baseline.privileged}),
    "procMount": _Rule({0: baseline.proc_mount, 35: unless_users_differ(baseline.proc_mount)}),
    "seLinuxOptions": _Rule(
        {0: baseline.selinux(_TYPES), 31: baseline.selinux((*_TYPES, "container_engine_t"))}
    ),
    "seccompProfile_baseline": _Rule({0: baseline.seccomp_annotations, 19: baseline.seccomp}),
    "sysctls": _Rule(_sysctls()),
    "windowsHostProcess": _Rule({0: baseline.windows_host_process}),
}
_RESTRICTED: Final[Mapping[str, _Rule]] = {
    "allowPrivilegeEscalation": _Rule(
        {8: restricted.no_escalation, 25: unless_windows(restricted.no_escalation)}
    ),
    "capabilities_restricted": _Rule(
        {
            22: restricted.capabilities_dropped,
            25: unless_windows(restricted.capabilities_dropped),
        },
        replaces="capabilities_baseline",
    ),
    "procMount_restricted": _Rule({35: baseline.proc_mount}, replaces="procMount"),
    "restrictedVolumes": _Rule({0: restricted.volume_kinds}, replaces="hostPathVolumes"),
    "runAsNonRoot": _Rule({0: restricted.not_root, 35: unless_users_differ(restricted.not_root)}),
    "runAsUser": _Rule(
        {23: restricted.not_root_user, 35: unless_users_differ(restricted.not_root_user)}
    ),
    "seccompProfile_restricted": _Rule(
        {19: restricted.seccomp_set, 25: unless_windows(restricted.seccomp_set)},
        replaces="seccompProfile_baseline",
    ),
}


def findings(level: Level, minor: int, metadata: Obj, spec: Obj) -> list[Finding]:
    """What a pod breaks of a level, as it was in version ``v1.minor``."""
    found = (check(metadata, spec) for check in _checks(level, min(minor, LATEST)))
    return [finding for finding in found if finding is not None]


@cache
def _checks(level: Level, minor: int) -> list[Check]:
    if level == "privileged":
        return []
    lower, higher = _current(_BASELINE, minor), _current(_RESTRICTED, minor)
    if level == "baseline":
        return list(lower.values())
    replaced = {_RESTRICTED[name].replaces for name in higher}
    kept = [check for name, check in lower.items() if name not in replaced]
    return [*kept, *higher.values()]


def _current(rules: Mapping[str, _Rule], minor: int) -> dict[str, Check]:
    return {
        name: rule.versions[max(since for since in rule.versions if since <= minor)]
        for name, rule in rules.items()
        if min(rule.versions) <= minor
    }
