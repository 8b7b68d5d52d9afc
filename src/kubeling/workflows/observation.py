"""What a pod says about its node: a pure reading of ``status``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.workflows.exchange import LOADER
from kubeling.workflows.pods import MAIN, NODE_ID
from kubeling.workflows.resources import Phase
from kubeling.workflows.wrapper import Report, parse_report

__all__ = ["PodObservation", "observe_pod"]

_STARTING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


@dataclass(slots=True)
class PodObservation:
    """A pod's news; ``report`` is what the container left in its termination message."""

    node_id: str
    pod: str
    phase: Phase
    message: str = ""
    exit_code: int | None = None
    report: Report = field(default_factory=Report)
    node_name: str = ""
    pod_ip: str = ""
    finished_at: str = ""


def observe_pod(pod: Obj, *, deleted: bool = False) -> PodObservation | None:
    """Reads a pod; ``None`` for a pod that belongs to no node."""
    metadata = pod["metadata"]
    node = (metadata.get("annotations") or {}).get(NODE_ID)
    if not node:
        return None
    status = pod.get("status") or {}
    seen = PodObservation(node, metadata["name"], "Pending")
    seen.node_name = (pod.get("spec") or {}).get("nodeName", "")
    seen.pod_ip = status.get("podIP", "")
    match status.get("phase"):
        case "Succeeded" | "Failed" as phase:
            _read_end(seen, pod, phase)
        case "Running":
            _read_running(seen, pod)
        case _:
            seen.message = _waiting_for(status)
    if deleted and seen.phase in ("Pending", "Running"):
        seen.phase, seen.message = "Error", "pod deleted"
    return seen


def _read_running(seen: PodObservation, pod: Obj) -> None:
    """A step ends with its main container, even where sidecars go on."""
    main = _main_state(pod).get("terminated")
    if main is not None and len(pod["spec"].get("containers") or ()) > 1:
        _read_end(seen, pod, "Succeeded" if main.get("exitCode") == 0 else "Failed")
    else:
        seen.phase = "Running"


def _read_end(seen: PodObservation, pod: Obj, phase: str) -> None:
    main = _main_state(pod).get("terminated") or {}
    seen.phase = "Succeeded" if phase == "Succeeded" else "Failed"
    seen.exit_code = main.get("exitCode")
    seen.finished_at = main.get("finishedAt") or ""
    seen.report = parse_report(main.get("message") or "")
    if seen.exit_code == 0 and not (pod.get("status") or {}).get("reason"):
        seen.phase = "Succeeded"
    if seen.phase == "Failed":
        seen.message = _why_failed(pod, main)
        if problem := _not_loaded(pod):
            seen.phase, seen.message = "Error", problem
    if seen.report.failure:
        seen.phase, seen.message = "Error", seen.report.failure


def _why_failed(pod: Obj, main: Obj) -> str:
    status = pod.get("status") or {}
    if status.get("message"):
        return str(status["message"])
    if main.get("exitCode"):
        message = str(main.get("message") or "")
        shown = f": {message}" if message and not _is_report(message) else ""
        return f"{main.get('reason') or 'Error'} (exit code {main['exitCode']}){shown}"
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            ended = (container.get("state") or {}).get("terminated") or {}
            if ended.get("exitCode"):
                why = ended.get("reason") or "Error"
                return f"{container.get('name')}: {why} (exit code {ended['exitCode']})"
    return str(status.get("reason") or "pod failed without saying why")


def _not_loaded(pod: Obj) -> str:
    """Why the inputs could not be had; as upstream, that is an error and no failure."""
    for container in (pod.get("status") or {}).get("initContainerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated") or {}
        if container.get("name") == LOADER and ended.get("exitCode"):
            lines = str(ended.get("message") or ended.get("reason") or "").strip().splitlines()
            return lines[-1] if lines else f"{LOADER}: exit code {ended['exitCode']}"
    return ""


def _is_report(message: str) -> bool:
    report = parse_report(message)
    return bool(
        report.parameters or report.stored or report.artifacts or report.missing
        or report.failure or report.result is not None
    )  # fmt: skip


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


def _main_state(pod: Obj) -> dict[str, Any]:
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        if container.get("name") == MAIN:
            state: dict[str, Any] = container.get("state") or {}
            return state
    return {}
