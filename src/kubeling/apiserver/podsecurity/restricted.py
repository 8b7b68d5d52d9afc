"""The rules that the level ``restricted`` adds: pods hardened as far as is usual.

Upstream: ``pod-security-admission/policy/check_*.go``, one function here for each file there.
"""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.podsecurity.findings import (
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
    "capabilities_dropped",
    "no_escalation",
    "not_root",
    "not_root_user",
    "seccomp_set",
    "volume_kinds",
]

_VOLUMES: Final = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim",
    "projected", "secret",
})  # fmt: skip
_PROFILES: Final = ("RuntimeDefault", "Localhost")


def no_escalation(metadata: Obj, spec: Obj) -> Finding | None:
    """Processes cannot get more rights than they began with."""
    names = named(
        spec, lambda container: context(container).get("allowPrivilegeEscalation") is not False
    )
    who = counted("container", names)
    detail = f"{who} must set securityContext.allowPrivilegeEscalation=false"
    return Finding("allowPrivilegeEscalation != false", detail) if names else None


def capabilities_dropped(metadata: Obj, spec: Obj) -> Finding | None:
    """All capabilities dropped, none added but one."""

    def capabilities(container: Obj, field: str) -> list[str]:
        found: list[str] = (context(container).get("capabilities") or {}).get(field) or []
        return found

    def beyond(container: Obj) -> set[str]:
        return set(capabilities(container, "add")) - {"NET_BIND_SERVICE"}

    keeping = named(spec, lambda container: "ALL" not in capabilities(container, "drop"))
    adding = named(spec, beyond)
    details = []
    if keeping:
        who = counted("container", keeping)
        details.append(f'{who} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        added = sorted(set[str]().union(*map(beyond, containers(spec))))
        what = f"{quoted(added)} in securityContext.capabilities.add"
        details.append(f"{counted('container', adding)} must not include {what}")
    return Finding("unrestricted capabilities", "; ".join(details)) if details else None


def volume_kinds(metadata: Obj, spec: Obj) -> Finding | None:
    """Volumes of kinds that lead to nothing outside."""
    bad = [
        volume
        for volume in spec.get("volumes") or ()
        if not _VOLUMES & {kind for kind, value in volume.items() if value is not None}
    ]
    if not bad:
        return None
    names = [volume["name"] for volume in bad]
    kinds = sorted({next((k for k in volume if k != "name"), "unknown") for volume in bad})
    verb = "uses" if len(names) == 1 else "use"
    what = counted("restricted volume type", kinds)
    return Finding("restricted volume types", f"{counted('volume', names)} {verb} {what}")


def not_root(metadata: Obj, spec: Obj) -> Finding | None:
    """Containers say that they do not run as root."""
    reason, pod = "runAsNonRoot != true", context(spec).get("runAsNonRoot")

    def says(container: Obj) -> bool | None:
        found: bool | None = context(container).get("runAsNonRoot")
        return found

    if who := setters(pod is False, named(spec, lambda c: says(c) is False)):
        return Finding(reason, f"{who} must not set securityContext.runAsNonRoot=false")
    silent = named(spec, lambda c: says(c) is None)
    if pod or not silent:
        return None
    who = f"pod or {counted('container', silent)}"
    return Finding(reason, f"{who} must set securityContext.runAsNonRoot=true")


def not_root_user(metadata: Obj, spec: Obj) -> Finding | None:
    """Nobody asks to be root by number."""

    def bad(place: Obj) -> bool:
        return context(place).get("runAsUser") == 0

    who = setters(bad(spec), named(spec, bad))
    return Finding("runAsUser=0", f"{who} must not set runAsUser=0") if who else None


def seccomp_set(metadata: Obj, spec: Obj) -> Finding | None:
    """A seccomp profile is chosen, and not the one that filters nothing."""
    what = "securityContext.seccompProfile.type"

    def kind(place: Obj) -> str | None:
        profile = context(place).get("seccompProfile")
        return None if profile is None else profile.get("type", "")

    def bad(place: Obj) -> bool:
        return kind(place) not in (None, *_PROFILES)

    if who := setters(bad(spec), named(spec, bad)):
        kinds = sorted({str(kind(place)) for place in (spec, *containers(spec)) if bad(place)})
        return Finding("seccompProfile", f"{who} must not set {what} to {quoted(kinds)}")
    silent = named(spec, lambda container: kind(container) is None)
    if kind(spec) is not None or not silent:
        return None
    who = f"pod or {counted('container', silent)}"
    allowed = '"RuntimeDefault" or "Localhost"'
    return Finding("seccompProfile", f"{who} must set {what} to {allowed}")
