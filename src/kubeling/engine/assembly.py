"""From a container's spec and all that was prepared for it to the plan the sandbox follows. Pure
but for creating the empty files and folders the plan mounts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubeling.engine.environments import Environment
from kubeling.engine.fields import PodFacts
from kubeling.engine.images import ImageEntry
from kubeling.engine.paths import ContainerPaths, PodPaths
from kubeling.engine.podspec import spec
from kubeling.engine.rootfs import HostView, VolumeMount, mounts_for
from kubeling.engine.sandbox.plan import Credentials, LaunchPlan, Limits
from kubeling.engine.walls import Walls
from kubeling.kube.objects import Obj, name, namespace

__all__ = ["ContainerParts", "base_env", "launch_plan", "write_etc"]

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
_TERMINATION_LOG: Final = "/dev/termination-log"
_MAX_HOSTNAME: Final = 63


@dataclass(frozen=True, slots=True)
class ContainerParts:
    """All that was prepared for one attempt at a container."""

    pod: Obj
    container: Obj
    argv: Sequence[str]
    env: Mapping[str, str]
    entry: ImageEntry
    environment: Environment
    volumes: Sequence[VolumeMount]
    network: str


def base_env(facts: PodFacts, entry: ImageEntry, environment: Environment) -> dict[str, str]:
    """The variables a container has before its own: the image's, ``HOME`` and ``HOSTNAME``."""
    run_as = _security(facts.pod, {}).get("runAsUser")
    home = "/tmp" if run_as else os.environ.get("HOME") or "/"
    return {"HOME": home, "HOSTNAME": hostname(facts.pod), **environment.variables, **entry.env}


def hostname(pod: Obj) -> str:
    return str(spec(pod).get("hostname") or name(pod))[:_MAX_HOSTNAME].rstrip("-.")


def launch_plan(
    parts: ContainerParts,
    limits: Limits,
    paths: ContainerPaths,
    pod_paths: PodPaths,
    walls: Walls,
    host: HostView,
) -> LaunchPlan:
    """The plan for one attempt; makes its folder."""
    _make_folders(paths)
    security = _security(parts.pod, parts.container)
    privileged = bool(security.get("privileged"))
    programs = _programs(parts.environment)
    passing = [str(folder) for folder in programs] if security.get("runAsUser") else []
    mounts = mounts_for(
        host,
        tmp=paths.tmp,
        etc=pod_paths.etc,
        termination_log=paths.termination_log,
        termination_path=parts.container.get("terminationMessagePath") or _TERMINATION_LOG,
        volumes=parts.volumes,
        programs=programs,
        gpu=_wants_gpu(parts.container),
        privileged=privileged,
        new_proc=walls.processes,
    )
    return LaunchPlan(
        directory=str(paths.root),
        argv=list(parts.argv),
        env=_terminal_env(parts.container) | dict(parts.env),
        cwd=_folder(parts, walls, host),
        namespaces=walls.namespaces,
        network=parts.network,
        hostname=hostname(parts.pod),
        root=walls.root(paths.files, passing),
        mounts=mounts if walls.files else [],
        credentials=credentials(parts.pod, parts.container, walls),
        stdin=bool(parts.container.get("stdin")),
        stdin_once=bool(parts.container.get("stdinOnce")),
        tty=bool(parts.container.get("tty")),
        limits=limits,
    )


def credentials(pod: Obj, container: Mapping[str, Any], walls: Walls) -> Credentials:
    """Who a container's commands run as, where this process may decide that."""
    security = _security(pod, container)
    root = os.geteuid() == 0
    groups = [*(security.get("supplementalGroups") or ())]
    if (group := security.get("fsGroup")) is not None:
        groups.append(group)
    return Credentials(
        uid=security.get("runAsUser") if root else None,
        gid=security.get("runAsGroup") if root else None,
        groups=[int(g) for g in groups] if root else [],
        capabilities=_capabilities(security) if walls.files else None,
        no_new_privileges=security.get("allowPrivilegeEscalation") is False,
    )


def write_etc(facts: PodFacts, paths: PodPaths, cluster_domain: str, dns_server: str) -> None:
    """The pod's hosts and hostname, and resolv.conf where it is not the machine's."""
    paths.etc.mkdir(parents=True, exist_ok=True)
    pod = facts.pod
    own = hostname(pod)
    names = [own]
    if subdomain := spec(pod).get("subdomain"):
        names.insert(0, f"{own}.{subdomain}.{namespace(pod)}.svc.{cluster_domain}")
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    if facts.pod_ip:
        lines.append("\t".join([facts.pod_ip, *names]))
    for alias in spec(pod).get("hostAliases") or ():
        lines.append("\t".join([alias["ip"], *alias.get("hostnames", ())]))
    (paths.etc / "hosts").write_text("\n".join(lines) + "\n")
    (paths.etc / "hostname").write_text(own + "\n")
    if dns_server and spec(pod).get("dnsPolicy") != "Default":
        resolver = _resolv_conf(pod, cluster_domain, dns_server)
        (paths.etc / "resolv.conf").write_text(resolver)


def _resolv_conf(pod: Obj, cluster_domain: str, dns_server: str) -> str:
    search = f"{namespace(pod)}.svc.{cluster_domain} svc.{cluster_domain} {cluster_domain}"
    # Names are asked for again until a platform that was started anew answers.
    return f"nameserver {dns_server}\nsearch {search}\noptions ndots:5 timeout:3 attempts:5\n"


def _terminal_env(container: Mapping[str, Any]) -> dict[str, str]:
    return {"TERM": "xterm"} if container.get("tty") else {}


def _make_folders(paths: ContainerPaths) -> None:
    paths.root.mkdir(parents=True)
    paths.files.mkdir()
    paths.tmp.mkdir()
    paths.tmp.chmod(0o1777)
    paths.termination_log.touch()
    paths.termination_log.chmod(0o666)


def _folder(parts: ContainerParts, walls: Walls, host: HostView) -> str:
    wanted = parts.container.get("workingDir") or parts.entry.workdir
    if not wanted or (not walls.files and not Path(wanted).is_dir()):
        return str(host.workspace)
    return str(wanted)


def _programs(environment: Environment) -> list[Path]:
    folders = [folder.parent for folder in environment.path]
    own = [Path(sys.prefix), Path(sys.base_prefix)]
    # An editable install's sources lie outside the interpreter's folders.
    sources = Path(__file__).parents[2]
    if not any(sources.is_relative_to(folder) for folder in own):
        own.append(sources)
    return [*folders, *own]


def _security(pod: Obj, container: Mapping[str, Any]) -> Obj:
    return {**(spec(pod).get("securityContext") or {}), **(container.get("securityContext") or {})}


def _capabilities(security: Obj) -> list[int] | None:
    if security.get("privileged"):
        return None
    asked = security.get("capabilities") or {}
    dropped = {str(c).removeprefix("CAP_") for c in asked.get("drop") or ()}
    granted = set() if "ALL" in dropped else _GRANTED - dropped
    granted |= {str(c).removeprefix("CAP_") for c in asked.get("add") or ()}
    everything = "ALL" in granted
    return [n for n, name in enumerate(_CAPABILITIES) if everything or name in granted]


def _wants_gpu(container: Mapping[str, Any]) -> bool:
    resources = container.get("resources") or {}
    named = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    return any(str(resource).endswith("/gpu") for resource in named)
