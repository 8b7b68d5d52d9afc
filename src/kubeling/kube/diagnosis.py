"""Why something went wrong: from an object down its owner tree to the first cause.

The answer is derived from what every Kubernetes kind reports — conditions, phases, container states
and Warning events — so it works for kinds nobody thought of. An object's own trouble is less of a
cause than its dependents' trouble, and among siblings the earliest comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube.objects import Obj, uid

__all__ = ["Cause", "Finding", "OwnerTree", "first_causes", "trouble"]

_GOOD_WHEN_FALSE: Final = frozenset(
    {"Failed", "Stopped", "Suspended", "DataDrift", "MemoryPressure", "DiskPressure",
     "PIDPressure", "NetworkUnavailable", "FailureTarget", "DisruptionTarget", "ReplicaFailure"}
)  # fmt: skip
_ENDED_WELL: Final = frozenset({"Succeeded", "Complete", "Completed", "SuccessCriteriaMet"})
_BAD_PHASES: Final = frozenset({"Failed", "Error", "Lost", "Unknown"})
_SIGNALS: Final = (137, 143)
"""Exit codes of SIGKILL and SIGTERM."""
_NORMAL_WAITING: Final = frozenset({"ContainerCreating", "PodInitializing", ""})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing an object says is wrong; ``when`` is its RFC 3339 time, if known."""

    reason: str
    message: str
    when: str = ""
    container: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """A finding on an object, with the chain of owners that leads to it."""

    path: tuple[Obj, ...]
    finding: Finding

    @property
    def object(self) -> Obj:
        return self.path[-1]


class OwnerTree:
    """Objects by the uid of each of their owners."""

    def __init__(self, objects: Iterable[Obj], events: Iterable[Obj] = ()) -> None:
        self._dependents: dict[str, list[Obj]] = {}
        self._warnings: dict[str, list[Obj]] = {}
        for obj in objects:
            for owner in obj["metadata"].get("ownerReferences") or ():
                self._dependents.setdefault(owner["uid"], []).append(obj)
        for event in events:
            if event.get("type") == "Warning":
                about = event.get("involvedObject", {}).get("uid", "")
                self._warnings.setdefault(about, []).append(event)

    def dependents(self, obj: Obj) -> list[Obj]:
        """What the object owns, oldest first."""
        found = self._dependents.get(uid(obj), [])
        return sorted(found, key=lambda o: str(o["metadata"].get("creationTimestamp", "")))

    def warnings(self, obj: Obj) -> list[Obj]:
        """The Warning events about the object, newest first."""
        found = self._warnings.get(uid(obj), [])
        return sorted(found, key=lambda e: str(e.get("lastTimestamp") or ""), reverse=True)


def first_causes(root: Obj, tree: OwnerTree) -> list[Cause]:
    """The deepest troubles below (or of) ``root``, earliest first; empty if all is well."""
    return sorted(_causes((root,), tree, set()), key=lambda cause: cause.finding.when or "~")


def _causes(path: tuple[Obj, ...], tree: OwnerTree, seen: set[str]) -> list[Cause]:
    obj = path[-1]
    if uid(obj) in seen:
        return []
    seen.add(uid(obj))
    if _ended_well(obj):
        return []
    below = [
        cause for child in tree.dependents(obj) for cause in _causes((*path, child), tree, seen)
    ]
    if below:
        return below
    findings = trouble(obj)
    if not findings and not _is_ready(obj):
        findings = [
            Finding(
                event.get("reason", ""), event.get("message", ""), event.get("lastTimestamp") or ""
            )
            for event in tree.warnings(obj)[:1]
        ]
    return [Cause(path, finding) for finding in _told_once(findings)]


def _told_once(findings: Iterable[Finding]) -> list[Finding]:
    """One of those that say the same: several conditions often carry one message."""
    return list({(f.container, f.reason, f.message): f for f in reversed(list(findings))}.values())[
        ::-1
    ]


def trouble(obj: Mapping[str, Any]) -> list[Finding]:
    """What an object's own status says is wrong, most specific first."""
    status = obj.get("status") or {}
    return _containers(status) or _conditions(status) or _phase(status)


def _containers(status: Mapping[str, Any]) -> list[Finding]:
    statuses = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    return [found for entry in statuses if (found := _container(entry)) is not None]


def _was_ended(end: Mapping[str, Any]) -> bool:
    """Whether a container was ended from outside, as with its node, and not for its memory."""
    return end.get("exitCode") in _SIGNALS and end.get("reason") != "OOMKilled"


def _container(entry: Mapping[str, Any]) -> Finding | None:
    state = entry.get("state") or {}
    ended = state.get("terminated") or (entry.get("lastState") or {}).get("terminated")
    waiting = state.get("waiting") or {}
    if entry.get("ready") and "running" in state and _was_ended(ended or {}):
        return None
    if ended and ended.get("exitCode", 0) != 0:
        code = int(ended["exitCode"])
        message = ended.get("message") or f"the container exited with code {code}"
        return Finding(
            ended.get("reason", "Error"),
            message,
            ended.get("finishedAt") or "",
            entry["name"],
            code,
        )
    if waiting and waiting.get("reason", "") not in _NORMAL_WAITING:
        return Finding(waiting["reason"], waiting.get("message", ""), "", entry["name"])
    return None


def _conditions(status: Mapping[str, Any]) -> list[Finding]:
    conditions: Sequence[Mapping[str, Any]] = status.get("conditions") or ()
    bad = [c for c in conditions if _is_bad(c) and (c.get("reason") or c.get("message"))]
    failed = [c for c in bad if c.get("type") == "Failed"]
    return [
        Finding(c.get("reason", ""), c.get("message", ""), c.get("lastTransitionTime") or "")
        for c in failed or bad
    ]


def _is_bad(condition: Mapping[str, Any]) -> bool:
    kind, value = condition.get("type"), condition.get("status")
    if kind == "Failed" or kind == "DataDrift":
        return value == "True"
    if kind in _GOOD_WHEN_FALSE or kind in _ENDED_WELL or kind in ("Running", "Restarting"):
        return False
    return value == "False" and condition.get("reason") not in (
        "PodCompleted",
        "ContainersNotReady",
    )


def _phase(status: Mapping[str, Any]) -> list[Finding]:
    phase = status.get("phase") or status.get("state")
    if not isinstance(phase, str) or phase not in _BAD_PHASES | {"FAILED"}:
        return []
    when = status.get("finishedAt") or ""
    return [Finding(status.get("reason") or phase, status.get("message") or "", when)]


def _ended_well(obj: Mapping[str, Any]) -> bool:
    status = obj.get("status") or {}
    if status.get("phase") == "Succeeded":
        return True
    if status.get("phase") in _BAD_PHASES:
        # A failed Workflow is Completed all the same.
        return False
    conditions = status.get("conditions") or ()
    ended = any(c.get("type") in _ENDED_WELL and c.get("status") == "True" for c in conditions)
    return ended and not _found_nothing(status)


def _found_nothing(status: Mapping[str, Any]) -> bool:
    """An Experiment succeeds when its search is over, though none of its trials may have."""
    ended_well = status.get("trialsSucceeded") or status.get("trialsEarlyStopped")
    return bool(status.get("trials")) and not ended_well


def _is_ready(obj: Mapping[str, Any]) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
