"""The rules of the level ``baseline``: nothing that is a known way out of a container.

Upstream: ``pod-security-admission/policy/check_*.go``, one function here for each file there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from kubeling.apiserver.podsecurity.findings import (
    Check,
    Finding,
    containers,
    context,
    counted,
    named,
    quoted,
    setters,
)
from kubeling.kube.objects import Obj

__all__ = [
    "app_armor",
    "capabilities",
    "host_namespaces",
    "host_path_volumes",
    "host_ports",
    "host_probes",
    "privileged",
    "proc_mount",
    "seccomp",
    "seccomp_annotations",
    "selinux",
    "sysctls",
    "windows_host_process",
]

_CAPABILITIES: Final = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
    "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
_PROFILES: Final = ("RuntimeDefault", "Localhost")
_APP_ARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER: Final = "container.seccomp.security.alpha.kubernetes.io/"


def app_armor(metadata: Obj, spec: Obj) -> Finding | None:
    """No AppArmor profile that turns protection off."""

    def bad(place: Obj) -> str:
        profile = context(place).get("appArmorProfile")
        kind: str = (profile or {}).get("type", "")
        return "" if profile is None or kind in _PROFILES else kind

    values = sorted({value for place in (spec, *containers(spec)) if (value := bad(place))})
    who = setters(bool(bad(spec)), named(spec, bad))
    annotations = sorted(
        f'{key}="{value}"'
        for key, value in (metadata.get("annotations") or {}).items()
        if key.startswith(_APP_ARMOR)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    if annotations:
        word = "annotation" if len(annotations) == 1 else "annotations"
        who = f"{who} and {word}" if who else word
    values += annotations
    if not who:
        return None
    reason = "forbidden AppArmor profile" + ("" if len(values) == 1 else "s")
    return Finding(reason, f"{who} must not set AppArmor profile type to {quoted(values)}")


def capabilities(metadata: Obj, spec: Obj) -> Finding | None:
    """No capabilities beyond those that runtimes give."""
    added = {c["name"]: set(_added(c)) - _CAPABILITIES for c in containers(spec)}
    names = [name for name, beyond in added.items() if beyond]
    if not names:
        return None
    beyond = sorted(set[str]().union(*added.values()))
    who = counted("container", names)
    return Finding(
        "non-default capabilities",
        f"{who} must not include {quoted(beyond)} in securityContext.capabilities.add",
    )


def host_namespaces(metadata: Obj, spec: Obj) -> Finding | None:
    """None of the host's namespaces."""
    shared = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return Finding("host namespaces", ", ".join(shared)) if shared else None


def host_path_volumes(metadata: Obj, spec: Obj) -> Finding | None:
    """No folders of the host."""
    names = [volume["name"] for volume in spec.get("volumes") or () if "hostPath" in volume]
    return Finding("hostPath volumes", counted("volume", names)) if names else None


def host_ports(metadata: Obj, spec: Obj) -> Finding | None:
    """No ports of the host."""
    ports = sorted({str(port) for container in containers(spec) for port in _host_ports(container)})
    names = named(spec, lambda container: any(_host_ports(container)))
    if not names:
        return None
    verb, word = _uses(names), "hostPort" if len(ports) == 1 else "hostPorts"
    return Finding("hostPort", f"{counted('container', names)} {verb} {word} {', '.join(ports)}")


def host_probes(metadata: Obj, spec: Obj) -> Finding | None:
    """No probes and hooks that call other hosts from the node's network."""
    hosts = sorted({host for container in containers(spec) for host in _hosts(container)})
    names = sorted(set(named(spec, lambda container: any(_hosts(container)))))
    if not names:
        return None
    reason = "probe or lifecycle host"
    found = f"{counted('container', names)} {_uses(names)} {counted(reason, hosts)}"
    return Finding(reason, found)


def privileged(metadata: Obj, spec: Obj) -> Finding | None:
    """No privileged containers."""
    names = named(spec, lambda container: context(container).get("privileged"))
    who = counted("container", names)
    detail = f"{who} must not set securityContext.privileged=true"
    return Finding("privileged", detail) if names else None


def proc_mount(metadata: Obj, spec: Obj) -> Finding | None:
    """``/proc`` as runtimes mask it."""

    def bad(container: Obj) -> str:
        kind: str = context(container).get("procMount") or "Default"
        return "" if kind == "Default" else kind

    names = named(spec, bad)
    if not names:
        return None
    kinds = sorted({kind for container in containers(spec) if (kind := bad(container))})
    who = counted("container", names)
    return Finding("procMount", f"{who} must not set securityContext.procMount to {quoted(kinds)}")


def selinux(types: Collection[str]) -> Check:
    """SELinux types for containers, users and roles of nobody's choice."""

    def check(metadata: Obj, spec: Obj) -> Finding | None:
        places = [_selinux(place) for place in (spec, *containers(spec))]
        who = setters(
            _beyond(_selinux(spec), types), named(spec, lambda c: _beyond(_selinux(c), types))
        )
        if not who:
            return None
        bad = sorted({kind for o in places if (kind := o.get("type") or "") and kind not in types})
        data = [counted("type", bad)] if bad else []
        data += [f"{field} may not be set" for field in ("user", "role") if _any(places, field)]
        text = f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"
        return Finding("seLinuxOptions", text)

    return check


def seccomp(metadata: Obj, spec: Obj) -> Finding | None:
    """No seccomp profile that turns filtering off."""

    def bad(place: Obj) -> str:
        profile = context(place).get("seccompProfile")
        kind: str = (profile or {}).get("type", "")
        return "" if profile is None or kind in _PROFILES else kind

    who = setters(bool(bad(spec)), named(spec, bad))
    if not who:
        return None
    kinds = sorted({kind for place in (spec, *containers(spec)) if (kind := bad(place))})
    what = "securityContext.seccompProfile.type"
    return Finding("seccompProfile", f"{who} must not set {what} to {quoted(kinds)}")


def seccomp_annotations(metadata: Obj, spec: Obj) -> Finding | None:
    """The same, as it was written before v1.19."""
    annotations = metadata.get("annotations") or {}
    keys = [_SECCOMP_POD, *(f"{_SECCOMP_CONTAINER}{c['name']}" for c in containers(spec))]
    bad = sorted(
        f'{key}="{value}"'
        for key in keys
        if (value := annotations.get(key, "runtime/default"))
        not in ("runtime/default", "docker/default")
        and not value.startswith("localhost/")
    )
    if not bad:
        return None
    word = "annotation" if len(bad) == 1 else "annotations"
    return Finding("seccompProfile", f"forbidden {word} {', '.join(bad)}")


def sysctls(allowed: Collection[str]) -> Check:
    """Kernel parameters that touch the pod alone."""

    def check(metadata: Obj, spec: Obj) -> Finding | None:
        found = [entry["name"] for entry in context(spec).get("sysctls") or ()]
        bad = [name for name in found if name not in allowed]
        return Finding("forbidden sysctls", ", ".join(bad)) if bad else None

    return check


def windows_host_process(metadata: Obj, spec: Obj) -> Finding | None:
    """No processes of a Windows host."""

    def bad(place: Obj) -> bool:
        return bool((context(place).get("windowsOptions") or {}).get("hostProcess"))

    who = setters(bad(spec), named(spec, bad))
    detail = f"{who} must not set securityContext.windowsOptions.hostProcess=true"
    return Finding("hostProcess", detail) if who else None


def _added(container: Obj) -> list[str]:
    found: list[str] = (context(container).get("capabilities") or {}).get("add") or []
    return found


def _host_ports(container: Obj) -> Iterator[int]:
    for port in container.get("ports") or ():
        if port.get("hostPort"):
            yield port["hostPort"]


def _hosts(container: Obj) -> Iterator[str]:
    hooks = container.get("lifecycle") or {}
    for handler in (
        *(container.get(f"{kind}Probe") for kind in ("liveness", "readiness", "startup")),
        *(hooks.get(kind) for kind in ("postStart", "preStop")),
    ):
        for action in ("httpGet", "tcpSocket"):
            if host := ((handler or {}).get(action) or {}).get("host"):
                yield host


def _uses(names: list[str]) -> str:
    return "uses" if len(names) == 1 else "use"


def _selinux(place: Obj) -> Obj:
    found: Obj = context(place).get("seLinuxOptions") or {}
    return found


def _beyond(options: Obj, types: Collection[str]) -> bool:
    return bool(
        (options.get("type") or "") not in ("", *types)
        or options.get("user")
        or options.get("role")
    )


def _any(places: list[Obj], field: str) -> bool:
    return any(place.get(field) for place in places)
