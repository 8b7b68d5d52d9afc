"""From a container's spec and all that was prepared for it to the arguments of ``create``. Pure but
for asking this process for its own limits."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from kubeling.engine.assembly import ContainerParts
from kubeling.engine.cgroups import Bounds, bounds_of
from kubeling.engine.oci.client import ContainerEngine, client_env
from kubeling.engine.oci.images import ContainerImage
from kubeling.engine.podspec import spec
from kubeling.engine.rootfs import VolumeMount
from kubeling.engine.runtime import Attempt
from kubeling.engine.security import security_of
from kubeling.engine.sysctls import sysctls_of
from kubeling.kube.objects import Obj, name, namespace, uid

__all__ = ["container_name", "create_arguments", "limit_arguments", "variables_by_name"]

_TERMINATION_LOG: Final = "/dev/termination-log"
_PERIOD: Final = 100_000
_READ_BY_CLIENTS: Final = ("LD_", "GO", "NOTIFY_", "LISTEN_", "BUILDAH_", "PODMAN_", "_")
_NAME_LENGTH: Final = 63


def container_name(attempt: Attempt) -> str:
    """The engine's name for an attempt; there is never another of that name."""
    pod, paths = attempt.parts.pod, attempt.paths
    own = name(pod)[:_NAME_LENGTH].rstrip("-.")
    return f"kubeling_{own}_{paths.container}_{uid(pod)}_{paths.attempt}"


def create_arguments(engine: ContainerEngine, image: ContainerImage, attempt: Attempt) -> list[str]:
    """All arguments of ``podman create`` or ``docker create``."""
    parts = attempt.parts
    program, *rest = parts.argv
    return [
        "create",
        *("--name", container_name(attempt)),
        *_labels(parts.pod, parts.container["name"]),
        *_place(engine, parts),
        *_identity(image, security_of(parts.pod, parts.container)),
        *_walls(engine, parts, security_of(parts.pod, parts.container)),
        *(_bounded(parts) if engine.limits else ()),
        *_ulimits(engine),
        *_streams(parts.container),
        *_environment(parts.env),
        *(part for mount in _mounts(attempt) for part in ("--mount", mount)),
        *("--entrypoint", program, image.id, *rest),
    ]


def variables_by_name(env: Mapping[str, str]) -> dict[str, str]:
    """Those that the client hands on from its own environment, where nobody else can read them."""
    return {key: value for key, value in env.items() if _is_free(key)}


def _environment(env: Mapping[str, str]) -> Iterator[str]:
    for key, value in env.items():
        yield from ("--env", key if _is_free(key) else f"{key}={value}")


def _is_free(key: str) -> bool:
    """Whether the client itself makes nothing of a variable."""
    return key not in client_env() and not key.startswith(_READ_BY_CLIENTS) and "=" not in key


def _labels(pod: Obj, container: str) -> Iterator[str]:
    for key, value in (
        ("io.kubernetes.pod.name", name(pod)),
        ("io.kubernetes.pod.namespace", namespace(pod)),
        ("io.kubernetes.pod.uid", uid(pod)),
        ("io.kubernetes.container.name", container),
    ):
        yield from ("--label", f"{key}={value}")


def _place(engine: ContainerEngine, parts: ContainerParts) -> Iterator[str]:
    if parts.network:
        yield from ("--network", f"ns:{parts.network}", "--hostname", parts.hostname)
    else:
        yield from ("--network", "host")
    if engine.name == "podman":
        yield "--no-hosts"
    if spec(parts.pod).get("hostPID"):
        yield from ("--pid", "host")
    elif parts.beside and engine.joins_namespaces:
        yield from ("--pid", f"ns:/proc/{parts.beside}/ns/pid")
    if spec(parts.pod).get("hostIPC"):
        yield from ("--ipc", "host")
    own_ipc = not spec(parts.pod).get("hostIPC")
    for file, value in sysctls_of(parts.pod, network=bool(parts.network), ipc=own_ipc).items():
        yield from ("--sysctl", f"{file.replace('/', '.')}={value}")
    if folder := parts.container.get("workingDir"):
        yield from ("--workdir", folder)


def _identity(image: ContainerImage, security: Obj) -> Iterator[str]:
    user, group = security.get("runAsUser"), security.get("runAsGroup")
    if user is not None or group is not None:
        who = str(user if user is not None else image.user.partition(":")[0] or 0)
        yield from ("--user", f"{who}:{group or 0}" if user is not None else f"{who}:{group}")
    groups = [*(security.get("supplementalGroups") or ()), security.get("fsGroup")]
    for extra in groups:
        if extra is not None:
            yield from ("--group-add", str(extra))


def _walls(engine: ContainerEngine, parts: ContainerParts, security: Obj) -> Iterator[str]:
    # Volumes are folders of the machine, which SELinux would keep from a container.
    yield from ("--security-opt", "label=disable")
    if security.get("privileged"):
        yield "--privileged"
    capabilities = security.get("capabilities") or {}
    for option, listed in (("--cap-add", "add"), ("--cap-drop", "drop")):
        for capability in capabilities.get(listed) or ():
            yield from (option, str(capability))
    if security.get("allowPrivilegeEscalation") is False:
        yield from ("--security-opt", "no-new-privileges")
    if (security.get("seccompProfile") or {}).get("type") == "Unconfined":
        yield from ("--security-opt", "seccomp=unconfined")
    if security.get("readOnlyRootFilesystem"):
        yield "--read-only"
        if engine.name == "podman":
            yield "--read-only-tmpfs=false"
    yield from _devices(engine, parts)


def _devices(engine: ContainerEngine, parts: ContainerParts) -> Iterator[str]:
    """NVIDIA's come with their driver's libraries; variables choose among them."""
    if any(device.startswith("nvidia") for device in parts.devices):
        yield from (
            ("--gpus", "all") if engine.name == "docker" else ("--device", "nvidia.com/gpu=all")
        )
        return
    for device in parts.devices:
        yield from ("--device", f"/dev/{device}")


def _bounded(parts: ContainerParts) -> Iterator[str]:
    yield "--pids-limit=-1"
    yield from limit_arguments(bounds_of(parts.container, parts.pod))


def limit_arguments(bounds: Bounds) -> Iterator[str]:
    """What ``create`` and ``update`` are told about memory and CPU."""
    if bounds.memory:
        yield from ("--memory", str(bounds.memory), "--memory-swap", str(bounds.memory))
    if bounds.cpu:
        yield from ("--cpu-period", str(_PERIOD))
        yield from ("--cpu-quota", str(max(bounds.cpu * _PERIOD // 1000, 1000)))
    if bounds.cpu_request:
        yield from ("--cpu-shares", str(max(bounds.cpu_request * 1024 // 1000, 2)))


def _ulimits(engine: ContainerEngine) -> Iterator[str]:
    """The platform's own: podman's defaults are more than some platforms may give."""
    if engine.name == "docker" or engine.rootless:
        return
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, processes = resource.getrlimit(resource.RLIMIT_NPROC)
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    for limit, value, bound in (("nofile", files, files), ("nproc", processes, most)):
        if value != resource.RLIM_INFINITY:
            yield from ("--ulimit", f"{limit}={min(value, bound)}:{min(value, bound)}")


def _streams(container: Mapping[str, Any]) -> Iterator[str]:
    yield from ("--log-driver", "none", "--no-healthcheck")
    if container.get("tty"):
        yield "--tty"
    # What is typed reaches a terminal only through a client that takes part in its input.
    if container.get("stdin") or container.get("tty"):
        yield "--interactive"


def _mounts(attempt: Attempt) -> Iterator[str]:
    parts, etc = attempt.parts, attempt.paths.etc
    for file in parts.etc:
        yield _mount(VolumeMount(etc / file, f"/etc/{file}"))
    for volume in sorted(parts.volumes, key=lambda v: v.target.count("/")):
        yield _mount(volume)
    target = parts.container.get("terminationMessagePath") or _TERMINATION_LOG
    yield _mount(VolumeMount(attempt.paths.termination_log, target))


def _mount(volume: VolumeMount) -> str:
    fields = ["type=bind", f"source={volume.source}", f"destination={volume.target}"]
    if volume.read_only:
        fields.append("readonly")
    return ",".join(map(_quoted, fields))


def _quoted(field: str) -> str:
    """As in CSV, which is what the option is read as."""
    return '"' + field.replace('"', '""') + '"' if set(field) & set(',"\n') else field
