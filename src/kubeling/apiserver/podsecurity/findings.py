"""What checks of pods share: the containers of a pod, and the words for what is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from kubeling.kube.objects import Obj

__all__ = [
    "Check",
    "Finding",
    "containers",
    "context",
    "counted",
    "named",
    "quoted",
    "setters",
    "unless_users_differ",
    "unless_windows",
]


class Finding(NamedTuple):
    """Why a pod breaks a rule, shortly and with the containers."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Check = Callable[[Obj, Obj], Finding | None]
"""A rule, asked with a pod's metadata and its spec."""


def containers(spec: Obj) -> Iterator[Obj]:
    """Every container of a pod, whatever its kind."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def context(place: Obj) -> Obj:
    """The security context of a pod's spec or of a container; an empty one where there is none."""
    found: Obj = place.get("securityContext") or {}
    return found


def named(spec: Obj, holds: Callable[[Obj], Any]) -> list[str]:
    """The names of the containers of which something holds."""
    return [container["name"] for container in containers(spec) if holds(container)]


def quoted(values: Iterable[str]) -> str:
    """``"a", "b"``"""
    return ", ".join(f'"{value}"' for value in values)


def counted(word: str, values: list[str]) -> str:
    """``container "a"`` or ``containers "a", "b"``."""
    return f"{word if len(values) == 1 else word + 's'} {quoted(values)}"


def setters(pod: bool, names: list[str]) -> str:
    """Who sets something: the pod, some of its containers, or both."""
    parts = ["pod"] if pod else []
    if names:
        parts.append(counted("container", names))
    return " and ".join(parts)


def unless_windows(check: Check) -> Check:
    """A rule that Windows has no means to follow."""

    def checked(metadata: Obj, spec: Obj) -> Finding | None:
        windows = (spec.get("os") or {}).get("name") == "windows"
        return None if windows else check(metadata, spec)

    return checked


def unless_users_differ(check: Check) -> Check:
    """A rule that need not hold of pods whose users are not the host's."""

    def checked(metadata: Obj, spec: Obj) -> Finding | None:
        return None if spec.get("hostUsers") is False else check(metadata, spec)

    return checked
