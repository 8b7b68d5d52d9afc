"""Rules of ``securityContext``: what contradicts itself is refused before anything starts."""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.validation.rules import Errors, between, choice
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["container_security", "pod_security"]

_MOST: Final = 2**31 - 1
_PROFILES: Final = ("Localhost", "RuntimeDefault", "Unconfined")


def container_security(found: Obj, path: str) -> Errors:
    """A container's."""
    yield from _common(found, path)
    yield from choice(found, path, "procMount", ("Default", "Unmasked"))
    if found.get("allowPrivilegeEscalation") is not False:
        return
    if found.get("privileged"):
        message = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        yield FieldError(path, "Invalid value", message, "")
    if {"CAP_SYS_ADMIN", "SYS_ADMIN"} & set((found.get("capabilities") or {}).get("add") or ()):
        message = (
            "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
        )
        yield FieldError(path, "Invalid value", message, "")


def pod_security(spec: Obj, path: str) -> Errors:
    """A pod's, with what it shares with the machine."""
    found = spec.get("securityContext") or {}
    where = f"{path}.securityContext"
    yield from _common(found, where)
    yield from between(found, where, "fsGroup", 0, _MOST)
    yield from choice(found, where, "fsGroupChangePolicy", ("Always", "OnRootMismatch"))
    yield from choice(found, where, "supplementalGroupsPolicy", ("Merge", "Strict"))
    for index, group in enumerate(found.get("supplementalGroups") or ()):
        item = {f"supplementalGroups[{index}]": group}
        yield from between(item, where, f"supplementalGroups[{index}]", 0, _MOST)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        message = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield FieldError(f"{path}.shareProcessNamespace", "Invalid value", message, True)
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get("hostUsers") is False and spec.get(field):
            message = "when `hostUsers` is false, this may not be true"
            yield FieldError(f"{path}.{field}", "Forbidden", message)


def _common(found: Obj, path: str) -> Errors:
    yield from between(found, path, "runAsUser", 0, _MOST)
    yield from between(found, path, "runAsGroup", 0, _MOST)
    for field in ("seccompProfile", "appArmorProfile"):
        if field in found:
            yield from _profile(found[field] or {}, f"{path}.{field}")


def _profile(profile: Obj, path: str) -> Errors:
    yield from choice(profile, path, "type", _PROFILES)
    is_local, named = profile.get("type") == "Localhost", bool(profile.get("localhostProfile"))
    if is_local and not named:
        message = "must be set when type is Localhost"
        yield FieldError(f"{path}.localhostProfile", "Required value", message)
    if named and not is_local:
        message = "can only be set when type is Localhost"
        value = profile["localhostProfile"]
        yield FieldError(f"{path}.localhostProfile", "Invalid value", message, value)
