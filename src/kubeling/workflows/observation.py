"""What a pod says about its node: a pure reading of ``status``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.kube.logtail import last_line
from kubeling.kube.objects import Obj
from kubeling.workflows.containers import MAIN
from kubeling.workflows.durations import pod_duration
from kubeling.workflows.exchange import LOADER
from kubeling.workflows.pods import MAINS, NODE_ID
from kubeling.workflows.resources import Phase
from kubeling.workflows.wrapper import Report, parse_report

__all__ = ["ContainerNews", "PodObservation", "observe_pod"]

_STARTING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class ContainerNews:
    """How far one container of a set is."""

    phase: Phase
    message: str = ""


@dataclass(slots=True)
class PodObservation:
    """A pod's news; ``report`` is what the container left in its termination message.

    ``ready`` says that every container is; ``leftover`` that the step is over while other
    containers, its sidecars, still run; ``over`` has the pod's own phase once nothing of it does.
    ``containers`` has the members of a container set.
    """

    node_id: str
    pod: str
    phase: Phase
    message: str = ""
    exit_code: int | None = None
    report: Report = field(default_factory=Report)
    node_name: str = ""
    pod_ip: str = ""
    finished_at: str = ""
    ready: bool = False
    over: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    resources: dict[str, int] = field(default_factory=dict)
    leftover: bool = False
    containers: dict[str, ContainerNews] = field(default_factory=dict)


def observe_pod(pod: Obj, *, deleted: bool = False) -> PodObservation | None:
    """Reads a pod; ``None`` for a pod that belongs to no node."""
    metadata = pod["metadata"]
    marks = metadata.get("annotations") or {}
    node = marks.get(NODE_ID)
    if not node:
        return None
    mains = marks[MAINS].split(",") if marks.get(MAINS) else [MAIN]
    status = pod.get("status") or {}
    seen = PodObservation(node, metadata["name"], "Pending")
    seen.node_name = (pod.get("spec") or {}).get("nodeName", "")
    seen.pod_ip = status.get("podIP", "")
    match status.get("phase"):
        case "Succeeded" | "Failed":
            _read_end(seen, status, mains)
        case "Running":
            _read_running(seen, status, mains)
        case _ if _are_over(status, mains):
            _read_running(seen, status, mains)
        case _:
            seen.message = _waiting_for(status)
    if deleted and seen.phase in ("Pending", "Running"):
        seen.phase, seen.message = "Error", "pod deleted"
    if status.get("phase") in ("Succeeded", "Failed"):
        seen.over = status["phase"]
        seen.labels = metadata.get("labels") or {}
    if seen.phase not in ("Pending", "Running"):
        seen.resources = pod_duration(pod)
    if MAINS in marks:
        seen.containers = {name: _news(name, status) for name in mains}
    return seen


def _read_running(seen: PodObservation, status: Obj, mains: list[str]) -> None:
    """A step ends with its main containers, even where sidecars go on."""
    states = _states(status)
    others = [name for name in states if name not in mains]
    seen.ready = all(c.get("ready") for c in status.get("containerStatuses") or ())
    if others and _are_over(status, mains):
        _read_end(seen, status, mains)
        seen.leftover = any("terminated" not in states[name] for name in others)
    else:
        seen.phase = "Running"


def _are_over(status: Obj, mains: list[str]) -> bool:
    states = _states(status)
    return all("terminated" in states.get(name, {}) for name in mains)


def _read_end(seen: PodObservation, status: Obj, mains: list[str]) -> None:
    states = _states(status)
    main = states.get(MAIN, {}).get("terminated") or {}
    seen.exit_code = main.get("exitCode")
    seen.finished_at = main.get("finishedAt") or ""
    seen.report = parse_report(main.get("message") or "")
    seen.phase, seen.message = _verdict(status, states, mains)
    if seen.phase == "Failed" and (problem := _not_loaded(status)):
        seen.phase, seen.message = "Error", problem
    if seen.report.failure:
        seen.phase, seen.message = "Error", seen.report.failure


def _verdict(status: Obj, states: dict[str, Obj], mains: list[str]) -> tuple[Phase, str]:
    """Whether the step failed, and why: upstream's ``inferFailedReason``."""
    if status.get("phase") == "Succeeded":
        return "Succeeded", ""
    if status.get("message"):
        return "Failed", str(status["message"])
    init = _states(status, "initContainerStatuses")
    ordered = [*init, *(n for n in states if n in mains), *(n for n in states if n not in mains)]
    for name in ordered:
        state = init.get(name) or states[name]
        waiting = state.get("waiting")
        if waiting is not None and status.get("phase") == "Failed":
            why = f"{waiting.get('reason', '')}: {waiting.get('message', '')}"
            return "Error", f"Pod failed before {name} container starts due to {why}"
        ended = state.get("terminated")
        if ended is None or not ended.get("exitCode"):
            continue
        # A sidecar is ended by a signal; that is no failure.
        if name in init or name in mains or ended["exitCode"] not in (137, 143):
            return "Failed", _why_failed(name, ended)
    succeeded = all((states.get(n, {}).get("terminated") or {}).get("exitCode") == 0 for n in mains)
    if succeeded and not status.get("reason"):
        return "Succeeded", ""
    return "Failed", str(status.get("reason") or "pod failed without saying why")


def _why_failed(name: str, ended: Obj) -> str:
    message = str(ended.get("message") or "")
    if (report := parse_report(message)).failure:
        message = report.failure
    elif _is_report(report):
        message = ""
    shown = f": {message}" if message else ""
    return f"{name}: {ended.get('reason') or 'Error'} (exit code {ended['exitCode']}){shown}"


def _not_loaded(status: Obj) -> str:
    """Why the inputs could not be had; as upstream, that is an error and no failure."""
    for container in status.get("initContainerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated") or {}
        if container.get("name") == LOADER and ended.get("exitCode"):
            said = last_line(str(ended.get("message") or ended.get("reason") or ""))
            return said or f"{LOADER}: exit code {ended['exitCode']}"
    return ""


def _is_report(report: Report) -> bool:
    return bool(
        report.parameters or report.stored or report.artifacts or report.missing
        or report.result is not None
    )  # fmt: skip


def _news(name: str, status: Obj) -> ContainerNews:
    """The phase of one container of a set (``assessNodeStatus``)."""
    state = _states(status).get(name, {})
    ended = state.get("terminated")
    if ended is not None:
        match ended.get("exitCode"):
            case 0:
                return ContainerNews("Succeeded")
            case 64:
                return ContainerNews("Error", _why_failed(name, ended))
            case _:
                return ContainerNews("Failed", _why_failed(name, ended))
    if status.get("phase") == "Failed":
        return ContainerNews("Failed", "Pod Failed whilst container running")
    return ContainerNews("Running" if "running" in state else "Pending")


def _waiting_for(status: Obj) -> str:
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason", "") not in _STARTING:
                return _joined(waiting)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _joined(condition)
    return ""


def _joined(part: Obj) -> str:
    return ": ".join(text for text in (part.get("reason"), part.get("message")) if text)


def _states(status: Obj, kind: str = "containerStatuses") -> dict[str, dict[str, Any]]:
    """The state of each container by its name."""
    return {str(c.get("name")): c.get("state") or {} for c in status.get(kind) or ()}
