"""What a pod's status says about the attempt it runs. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.logtail import last_line
from kubeling.kube.objects import Obj, name, parse_time
from kubeling.pipelines.nodes import TaskError
from kubeling.pipelines.pods import ATTEMPT, EPOCH, MAIN, TASK_PATH
from kubeling.pipelines.sightings import PodSeen

__all__ = ["deleted_pod", "observe_pod"]

_UNREMARKABLE: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_MAX_TAIL: Final = 2000


def observe_pod(pod: Obj) -> PodSeen | None:
    """How a pod is doing; ``None`` for pods that are not of a task."""
    notes = objects.annotations(pod)
    if TASK_PATH not in notes:
        return None
    status = pod.get("status") or {}
    seen = PodSeen(
        notes[TASK_PATH],
        int(notes.get(ATTEMPT, "0")),
        int(notes.get(EPOCH, "0")),
        "Pending",
        name(pod),
        started_at=_time(status.get("startTime")),
    )
    main = _main(status)
    match status.get("phase"):
        case "Running":
            running = (main.get("state") or {}).get("running") or {}
            return replace(seen, phase="Running", started_at=_time(running.get("startedAt")))
        case "Succeeded":
            return _ended(replace(seen, phase="Succeeded"), main)
        case "Failed":
            error = _failure(status, main)
            return replace(_ended(seen, main), phase="Failed", error=error)
        case _:
            return replace(seen, waiting=_waiting(status, main))


def deleted_pod(pod: Obj) -> PodSeen | None:
    """What the disappearance of a pod means for its attempt."""
    seen = observe_pod(pod)
    if seen is None or seen.phase in ("Succeeded", "Failed"):
        return seen
    return replace(seen, phase="Failed", error=TaskError(f"pod {seen.pod} was deleted", 10))


def _ended(seen: PodSeen, main: Obj) -> PodSeen:
    terminated = (main.get("state") or {}).get("terminated") or {}
    return replace(
        seen,
        started_at=_time(terminated.get("startedAt")) or seen.started_at,
        finished_at=_time(terminated.get("finishedAt")),
    )


def _failure(status: Obj, main: Obj) -> TaskError:
    terminated = (main.get("state") or {}).get("terminated") or {}
    code = terminated.get("exitCode")
    said = str(terminated.get("message") or "").strip()[-_MAX_TAIL:]
    reason = status.get("reason") or terminated.get("reason") or ""
    if reason in ("", "Error") and code is not None:
        text = f"exited with code {code}"
    else:
        text = f"{reason}: {status.get('message') or ''}".rstrip(": ")
    return TaskError(_with_log(text, said), exit_code=code)


def _with_log(text: str, said: str) -> str:
    """The cause in one line, which is the log's last, and below it the end of the log."""
    lines = said.splitlines()
    if not lines:
        return text
    summary = f"{text}: {last_line(said)}"
    return summary if len(lines) == 1 else f"{summary}\n\n{said}"


def _waiting(status: Obj, main: Obj) -> str:
    waiting = (main.get("state") or {}).get("waiting") or {}
    if waiting.get("reason", "") not in _UNREMARKABLE:
        return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "")
    return ""


def _main(status: Obj) -> Obj:
    found: Obj = next(
        (c for c in status.get("containerStatuses") or () if c.get("name") == MAIN), {}
    )
    return found


def _time(text: Any) -> dt.datetime | None:
    return parse_time(text) if text else None
