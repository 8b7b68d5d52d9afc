"""From a container's spec and all that was prepared for it to the plan the sandbox follows. Pure
but for creating the empty files and folders the plan mounts."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubeling.engine.environments import Environment
from kubeling.engine.fields import PodFacts
from kubeling.engine.hosts import hosts_file
from kubeling.engine.images import ImageEntry
from kubeling.engine.oci.images import ContainerImage
from kubeling.engine.paths import ContainerPaths
from kubeling.engine.podspec import spec
from kubeling.engine.resolvconf import pod_resolver, read_host_resolver
from kubeling.engine.rootfs import HostView, VolumeMount, mounts_for, root_folders
from kubeling.engine.sandbox import linux
from kubeling.engine.sandbox.plan import LaunchPlan, Limits, Mount, Root
from kubeling.engine.security import Identity, credentials, has_root, identity, security_of
from kubeling.engine.sharing import sharing_of
from kubeling.engine.sysctls import sysctls_of
from kubeling.engine.walls import Walls
from kubeling.kube.objects import Obj

__all__ = [
    "ContainerParts",
    "base_env",
    "etc_files",
    "launch_plan",
    "template_view",
    "working_folder",
]

_TERMINATION_LOG: Final = "/dev/termination-log"


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
    etc: Mapping[str, str]
    network: str
    hostname: str
    beside: int
    """The process whose ids the container shares, or 0."""
    devices: Sequence[str] = ()
    """Files below ``/dev`` of what the container was granted."""
    image: ContainerImage | None = None
    """The image to run it from as a container; ``None`` for a process."""

    @property
    def image_id(self) -> str:
        """What its status says it runs."""
        digest = self.environment.digest
        return self.image.reference if self.image else f"kubeling://sha256:{digest}"


def base_env(
    own: str, who: Identity, entry: ImageEntry, environment: Environment
) -> dict[str, str]:
    """The variables a container has before its own: the image's, ``HOME`` and ``HOSTNAME``."""
    home = os.environ.get("HOME") or "/" if who.is_root else "/tmp"
    return {"HOME": home, "HOSTNAME": own, **environment.variables, **entry.env}


def launch_plan(
    parts: ContainerParts,
    limits: Limits,
    paths: ContainerPaths,
    walls: Walls,
    host: HostView,
) -> LaunchPlan:
    """The plan for one attempt; makes its folder."""
    _make_folders(paths)
    security = security_of(parts.pod, parts.container)
    programs = _programs(parts.environment)
    is_root = identity(parts.pod, parts.container).is_root
    passing = [] if is_root else [str(folder) for folder in programs]
    sharing = sharing_of(parts.pod, walls, parts.beside)
    mounts = mounts_for(
        host,
        tmp=paths.tmp,
        etc=parts.etc,
        termination_log=paths.termination_log,
        termination_path=parts.container.get("terminationMessagePath") or _TERMINATION_LOG,
        volumes=parts.volumes,
        programs=programs,
        links=parts.environment.links,
        devices=parts.devices,
        privileged=bool(security.get("privileged")),
        unmasked=security.get("procMount") == "Unmasked",
        new_proc=sharing.new_processes,
        host_ipc=bool(spec(parts.pod).get("hostIPC")),
    )
    return LaunchPlan(
        directory=str(paths.root),
        argv=list(parts.argv),
        env=_terminal_env(parts.container) | dict(parts.env),
        cwd=working_folder(parts, walls, host),
        namespaces=sharing.own,
        joined=sharing.joined,
        beside=sharing.beside,
        network=parts.network,
        hostname=parts.hostname,
        root=walls.root(paths.files, passing, _sealed(parts, security, host, programs)),
        mounts=mounts if walls.files else [],
        credentials=credentials(parts.pod, parts.container, walls),
        stdin=bool(parts.container.get("stdin")),
        stdin_once=bool(parts.container.get("stdinOnce")),
        tty=bool(parts.container.get("tty")),
        stop_signal=_stop_signal(parts.container),
        limits=limits,
        sysctls=sysctls_of(
            parts.pod,
            network=bool(parts.network),
            ipc=has_root(walls) and bool(sharing.own & linux.CLONE_NEWIPC),
        ),
    )


def template_view(
    parts: ContainerParts, folder: Path, walls: Walls, host: HostView
) -> tuple[Root, list[Mount]]:
    """What a template sees (:mod:`.sandbox.warm`): what such a container would, but no volumes."""
    root = walls.root(folder / "files", [], [])
    assert root is not None
    nothing = Path(os.devnull)
    mounts = mounts_for(
        host,
        tmp=folder / "tmp",
        etc={},
        termination_log=nothing,
        termination_path=_TERMINATION_LOG,
        volumes=(),
        programs=_programs(parts.environment),
        links=(),
        devices=(),
        privileged=False,
        unmasked=True,
        new_proc=True,
        host_ipc=False,
    )
    return root, mounts


def _sealed(
    parts: ContainerParts, security: Obj, host: HostView, programs: Iterable[Path]
) -> list[str]:
    """The folders that the container may not write to."""
    if not security.get("readOnlyRootFilesystem"):
        return []
    mounted = {volume.target for volume in parts.volumes}
    return [folder for folder in root_folders(host, programs) if folder not in mounted]


def etc_files(facts: PodFacts, own: str, cluster_domain: str, dns_server: str) -> dict[str, str]:
    """The pod's hosts and ``own`` name, and resolv.conf where it is not the machine's."""
    pod = facts.pod
    machine = Path("/etc/hosts").read_text() if os.path.exists("/etc/hosts") else ""
    files = {
        "hosts": hosts_file(pod, facts.pod_ip, cluster_domain, machine),
        "hostname": own + "\n",
    }
    resolver = pod_resolver(pod, cluster_domain, dns_server, read_host_resolver())
    if resolver is not None:
        files["resolv.conf"] = str(resolver)
    return files


def _terminal_env(container: Mapping[str, Any]) -> dict[str, str]:
    return {"TERM": "xterm"} if container.get("tty") else {}


def _stop_signal(container: Mapping[str, Any]) -> int:
    """``lifecycle.stopSignal``: the API lets through what is a signal's name somewhere."""
    name = str((container.get("lifecycle") or {}).get("stopSignal") or "SIGTERM")
    if sys.platform == "linux":
        if name.startswith("SIGRTMIN+"):
            return int(signal.SIGRTMIN) + int(name.removeprefix("SIGRTMIN+"))
        if name.startswith("SIGRTMAX-"):
            return int(signal.SIGRTMAX) - int(name.removeprefix("SIGRTMAX-"))
    return int(signal.Signals.__members__.get(name, signal.SIGTERM))


def _make_folders(paths: ContainerPaths) -> None:
    os.mkdir(paths.root)
    message = os.open(paths.termination_log, os.O_CREAT | os.O_CLOEXEC, 0o666)
    os.fchmod(message, 0o666)
    os.close(message)


def working_folder(parts: ContainerParts, walls: Walls, host: HostView) -> str:
    """Where the command begins."""
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
